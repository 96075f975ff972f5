"""Beds of touching ellipsoids with the truth beside them, and the score of a split."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi


def grain_bed(n=90, count=40, random_state=0, cavity=0.15, spacing=(1.0, 1.0, 1.0), radius=10.0):
    """(uint8 image, int32 truth) of `count` ellipsoids of about `radius`, pushed until they touch."""
    rng = np.random.default_rng(random_state)
    shape = tuple(int(n / s) for s in spacing)
    centres = rng.uniform(radius, n - radius, (count, 3))
    for _ in range(200):
        gap = centres[:, None] - centres[None]
        far = np.linalg.norm(gap, axis=-1) + np.eye(count) * 1e9
        push = np.maximum(2 * radius * 0.97 - far, 0) / far
        centres += 0.25 * (push[..., None] * gap).sum(1) + 0.002 * (n / 2 - centres)
        centres = np.clip(centres, radius * 0.9, n - radius * 0.9)
    grid = np.stack(
        np.meshgrid(*[np.arange(k) * s for k, s in zip(shape, spacing, strict=True)], indexing="ij"), -1
    )
    truth, nearest = np.zeros(shape, np.int32), np.full(shape, 1.0)
    image = np.full(shape, 25.0)
    for k, centre in enumerate(centres, 1):
        axes = radius * rng.uniform(0.9, 1.1, 3)
        d = np.square((grid - centre) / axes).sum(-1)
        won = d < nearest
        truth[won], nearest[won] = k, d[won]
        image[won] = 150
        if rng.random() < cavity:
            image[d < rng.uniform(0.1, 0.5)] = 25
    image = ndi.gaussian_filter(image, 0.8) + rng.normal(0, 4, shape)
    return np.clip(image, 0, 255).astype(np.uint8), truth


def instance_f1(truth, found, least_iou=0.5):
    """F1 over instances: a pair counts when its intersection over union is more than `least_iou`."""
    pairs, counts = np.unique(
        np.stack([truth.reshape(-1), found.reshape(-1)]).astype(np.int64), axis=1, return_counts=True
    )
    size_t, size_f = np.bincount(truth.reshape(-1)), np.bincount(found.reshape(-1))
    t, f = pairs
    iou = counts / (size_t[t] + size_f[f] - counts)
    hits = np.count_nonzero((t > 0) & (f > 0) & (iou > least_iou))
    return 2 * hits / (np.count_nonzero(size_t[1:]) + np.count_nonzero(size_f[1:]))
