"""Five-channel planes of four phenotypes that differ in texture and in which channels share their spots.

The mean of each channel is drawn alike for all classes: no linear model on channel means can tell them.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

EDGE, N_CHANNELS = 64, 5
CLASSES = ((1.0, True), (1.0, False), (2.4, True), (2.4, False))  # grain of the texture, shared spots


def _pattern(rng: np.random.Generator, mask: np.ndarray, grain: float) -> np.ndarray:
    """Smooth noise of mean 0 and standard deviation 1 inside the mask."""
    noise = gaussian_filter(rng.normal(size=mask.shape), grain)
    inside = noise[mask]
    return (noise - inside.mean()) / inside.std()


def phenotype(rng: np.random.Generator, kind: int):
    """(5, 64, 64) float32 and its mask: channels 0 and 1 share spots or not, 2 and 3 are fine or coarse."""
    grain, is_shared = CLASSES[kind]
    grid = np.stack(np.meshgrid(*[np.arange(EDGE)] * 2, indexing="ij"), -1) - (EDGE - 1) / 2
    axes = EDGE * rng.uniform(0.36, 0.46, 2)
    mask = ((grid / axes) ** 2).sum(-1) <= 1
    spots = [_pattern(rng, mask, 1.8) for _ in range(2)]
    second = spots[0] if is_shared else spots[1]
    layers = [spots[0], second, _pattern(rng, mask, grain), _pattern(rng, mask, grain)]
    layers.append(_pattern(rng, mask, 3.0))
    level = rng.uniform(0.8, 1.2, N_CHANNELS)  # how strongly each channel is stained
    planes = level[:, None, None] * (1 + 0.15 * np.stack(layers)) + rng.normal(0, 0.03, (5, EDGE, EDGE))
    return np.where(mask, planes, rng.normal(0.2, 0.02, planes.shape)).astype(np.float32), mask


def phenotypes(n: int, random_state: int):
    """`n` planes that go through the classes in turn: crops (n, 5, y, x), masks (n, y, x), kinds (n,)."""
    rng = np.random.default_rng(random_state)
    kinds = np.arange(n) % len(CLASSES)
    crops, masks = zip(*(phenotype(rng, k) for k in kinds.tolist()), strict=True)
    return np.stack(crops), np.stack(masks), kinds
