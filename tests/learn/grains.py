"""Single grains of 24³ voxels for learning tests: random pose, size and brightness, cleft and radicle.

Brightness and benign structure are drawn alike for nominal and anomalous grains, so that neither is a cue.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

KINDS = ("cavity", "dense", "gap")
TEST_KINDS = ("", "cavity", "", "dense", "", "gap")


@pytest.fixture(autouse=True)
def one_thread():
    """Torch on one thread: sums then do not depend on the machine. For modules that import it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def grain(rng: np.random.Generator, kind: str = "", edge: int = 24):
    """(edge,)³ float32 grey values, bool mask and bool defect mask of one grain; `kind` "" is nominal."""
    centre = (edge - 1) / 2 + rng.normal(0, 0.5, 3)
    axes = edge * rng.uniform(0.33, 0.42) * np.array([1.0, rng.uniform(0.85, 1), rng.uniform(0.75, 0.9)])
    turn = Rotation.random(rng=rng).as_matrix()
    grid = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), -1) - centre
    body = grid @ turn  # (z, y, x, 3) in the grain's own frame
    radius = np.sqrt(((body / axes) ** 2).sum(-1))
    mask = radius <= 1
    brightness = rng.uniform(0.7, 1.3)
    grey = np.where(mask, 1.0, 0.1)
    grey[mask & (radius > 0.88)] *= 1.08  # coat
    cleft = (np.abs(body[..., 2]) < rng.uniform(0.5, 0.8)) & (radius < 0.75) & (body[..., 0] > -0.4 * axes[0])
    grey[cleft] *= rng.uniform(0.5, 0.7)
    radicle = (np.hypot(body[..., 1] - 0.55 * axes[1], body[..., 2]) < 0.2 * axes[1]) & (radius < 0.85)
    grey[radicle] *= 1.12
    defect = _defect(rng, kind, body, axes, radius) & mask
    factor = {"": 1.0, "cavity": rng.uniform(0.3, 0.65), "dense": rng.uniform(1.35, 1.7), "gap": 0.35}[kind]
    grey = np.where(defect, grey * factor, grey)
    grey = gaussian_filter(grey, 0.7) * brightness + rng.normal(0, 0.04, grey.shape)
    return grey.astype(np.float32), mask, defect


def _defect(rng, kind, body, axes, radius):
    if kind == "":
        return np.zeros(radius.shape, bool)
    if kind == "gap":  # dead: the embryo shrank from the coat
        return (radius > rng.uniform(0.7, 0.78)) & (radius < 0.88)
    at = rng.normal(size=3)
    at *= rng.uniform(0.15, 0.6) / np.linalg.norm(at) * axes
    half = rng.uniform(1.6, 3.2, 3)
    return (((body - at) / half) ** 2).sum(-1) <= 1


def grains(n: int, random_state: int, kinds: tuple[str, ...] = ("",)):
    """`n` grains that go through `kinds` in turn: crops (n, 1, z, y, x), masks, defects, kinds."""
    rng = np.random.default_rng(random_state)
    names = [kinds[i % len(kinds)] for i in range(n)]
    crops, masks, defects = zip(*(grain(rng, k) for k in names), strict=True)
    return np.stack(crops)[:, None], np.stack(masks), np.stack(defects), np.array(names)
