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
DEFECTS = ("cavity", "crack", "shrunken", "collapsed", "dense", "tunnel")  # what dirty pools hold
FACTORS = {"": 1.0, "gap": 0.35, "crack": 0.35, "shrunken": 0.35, "collapsed": 0.5, "tunnel": 0.25}


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
    factors = {**FACTORS, "cavity": rng.uniform(0.3, 0.65), "dense": rng.uniform(1.35, 1.7)}
    grey = np.where(defect, grey * factors[kind], grey)
    grey = gaussian_filter(grey, 0.7) * brightness + rng.normal(0, 0.04, grey.shape)
    return grey.astype(np.float32), mask, defect


def _defect(rng, kind, body, axes, radius):
    if kind == "":
        return np.zeros(radius.shape, bool)
    if kind == "gap":  # dead: the embryo shrank from the coat
        return (radius > rng.uniform(0.7, 0.78)) & (radius < 0.88)
    if kind in _DRAWN:
        return _DRAWN[kind](rng, body, axes, radius)
    at = rng.normal(size=3)
    at *= rng.uniform(0.15, 0.6) / np.linalg.norm(at) * axes
    half = rng.uniform(1.6, 3.2, 3)
    return (((body - at) / half) ** 2).sum(-1) <= 1


def _directions(rng):
    """Three random unit vectors at right angles."""
    return np.linalg.qr(rng.normal(size=(3, 3)))[0].T


def _crack(rng, body, axes, radius):
    """A thin plane of air through coat and flesh, open to one side."""
    across, along, _ = _directions(rng)
    offset, half = rng.uniform(-0.3, 0.3) * axes[1], rng.uniform(0.5, 0.9)
    return (np.abs(body @ across - offset) < half) & (body @ along > -rng.uniform(0.2, 0.5) * axes[1])


def _tunnel(rng, body, axes, radius):
    """A round hole from the surface past the middle."""
    u, v, along = _directions(rng)
    aside = rng.uniform(-0.3, 0.3, 2) * axes[1]
    near = np.hypot(body @ u - aside[0], body @ v - aside[1]) < rng.uniform(0.9, 1.4)
    return near & (body @ along > -0.35 * axes[1])


def _shrunken(rng, body, axes, radius):
    """The embryo fills 45 to 75 % of the coat and lies to one side."""
    scale = rng.uniform(0.45, 0.75) ** (1 / 3)
    aside = _directions(rng)[0] * (1 - scale) * 0.7
    embryo = np.sqrt(((body / (0.88 * axes) - aside) ** 2).sum(-1)) <= scale
    return (radius < 0.88) & ~embryo


def _collapsed(rng, body, axes, radius):
    """Shrivelled flesh with wide gaps all through."""
    waves, phases = rng.normal(0, 3.5, (3, 5)), rng.uniform(0, 2 * np.pi, 5)
    flakes = np.cos((body / axes) @ waves + phases).sum(-1) * (2 / 5) ** 0.5
    return (radius < 0.88) & (flakes < -0.3)


_DRAWN = {"crack": _crack, "tunnel": _tunnel, "shrunken": _shrunken, "collapsed": _collapsed}


def grains(n: int, random_state: int, kinds: tuple[str, ...] = ("",)):
    """`n` grains that go through `kinds` in turn: crops (n, 1, z, y, x), masks, defects, kinds."""
    rng = np.random.default_rng(random_state)
    names = [kinds[i % len(kinds)] for i in range(n)]
    crops, masks, defects = zip(*(grain(rng, k) for k in names), strict=True)
    return np.stack(crops)[:, None], np.stack(masks), np.stack(defects), np.array(names)


def leave_out_a_crack(crops, masks, i):
    """Crack grain `i` where its region leaves the crack out; the crack (y, x) bool."""
    y, x = np.ogrid[:24, :24]
    crack = masks[i] & (np.abs(y - 12) < 2) & (x > 12)
    crops[i, 0][crack] = 0.1
    masks[i][crack] = False
    return crack
