"""Grains as they lie under a camera, for learning tests: random pose, size, brightness, light and texture.

What is benign (shade, crease, germ, speckles, gloss) is drawn alike for nominal and odd grains; a defect
changes as many cells darker as brighter, so that neither brightness nor contrast of a grain is a cue.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

KINDS = ("spot", "crack", "mould")
TEST_KINDS = ("", "spot", "", "crack", "", "mould")
TINT = np.array([1.0, 0.8, 0.55])  # of a grain under white light
BACKGROUND = np.array([0.35, 0.45, 0.6])


def grain(rng: np.random.Generator, kind: str = "", n_channels: int = 1, edge: int = 48):
    """(c, edge, edge) float32 grey values, bool mask and bool defect mask of one grain; "" is nominal."""
    centre = (edge - 1) / 2 + rng.normal(0, 0.8, 2)
    axes = edge * rng.uniform(0.38, 0.45) * np.array([1.0, rng.uniform(0.55, 0.75)])
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    grid = np.stack(np.meshgrid(*[np.arange(edge)] * 2, indexing="ij"), -1) - centre
    body = grid @ turn  # (y, x, 2) in the grain's own frame
    radius = np.sqrt(((body / axes) ** 2).sum(-1))
    mask = radius <= 1
    light = rng.normal(size=2)
    shade = 1 + rng.uniform(0.1, 0.6) * (grid @ light / np.linalg.norm(light)) / (edge / 2) - 0.2 * radius**2
    texture = gaussian_filter(rng.normal(size=mask.shape), rng.uniform(1.0, 2.0))
    grey = shade * (1 + 0.06 * texture / texture.std())
    crease = (np.abs(body[..., 1] - rng.uniform(-0.1, 0.1) * axes[1]) < rng.uniform(0.8, 1.3)) & (
        radius < 0.8
    )
    grey[crease] *= rng.uniform(0.72, 0.88)
    germ = np.hypot(body[..., 0] - 0.7 * axes[0], body[..., 1]) < 0.28 * axes[1]
    grey[germ] *= rng.uniform(1.15, 1.35)
    gloss = np.hypot(*np.moveaxis(body - rng.uniform(-0.3, 0.3, 2) * axes, -1, 0)) < rng.uniform(1.0, 1.8)
    grey[gloss] *= 1.2
    defect = _defect(rng, kind, body, axes, radius) & mask
    sign = rng.choice([-1.0, 1.0])
    grey = np.where(defect, grey * (1 + sign * rng.uniform(0.4, 0.65)), grey)
    tint = TINT[:n_channels] if n_channels > 1 else np.ones(1)
    around = BACKGROUND[:n_channels] if n_channels > 1 else np.full(1, 0.3)
    colours = np.where(mask, tint[:, None, None] * grey, around[:, None, None])
    colours = gaussian_filter(colours, (0, 0.6, 0.6)) * rng.uniform(0.75, 1.25)
    return (colours + rng.normal(0, 0.03, colours.shape)).astype(np.float32), mask, defect


def _defect(rng, kind, body, axes, radius):
    if kind == "":
        return np.zeros(radius.shape, bool)
    at = rng.uniform(0.15, 0.6) * axes * np.array([np.cos(t := rng.uniform(0, 2 * np.pi)), np.sin(t)])
    along = rng.uniform(0, np.pi)
    u = (body - at) @ np.array([np.cos(along), np.sin(along)])
    v = (body - at) @ np.array([-np.sin(along), np.cos(along)])
    if kind == "spot":
        return (u / rng.uniform(2.4, 4.2)) ** 2 + (v / rng.uniform(2.4, 4.2)) ** 2 <= 1
    if kind == "crack":  # across or slanted, never the crease
        return (np.abs(v - 1.5 * np.sin(u / 3)) < rng.uniform(1.0, 1.5)) & (np.abs(u) < rng.uniform(6, 10))
    dots = gaussian_filter(rng.normal(size=radius.shape), 1.2)
    return (dots > 0.3 * dots.std()) & (np.hypot(u, v) < rng.uniform(5, 8))


def grains(n: int, random_state: int, kinds: tuple[str, ...] = ("",), n_channels: int = 1):
    """`n` grains that go through `kinds` in turn: crops (n, c, y, x), masks, defects, kinds.

    Each channel is in units of a usual grain.
    """
    rng = np.random.default_rng(random_state)
    names = [kinds[i % len(kinds)] for i in range(n)]
    crops, masks, defects = zip(*(grain(rng, k, n_channels) for k in names), strict=True)
    tint = TINT[:n_channels, None, None] if n_channels > 1 else 1
    return (np.stack(crops) / tint).astype(np.float32), np.stack(masks), np.stack(defects), np.array(names)


def sheet(crops, masks):
    """Grains side by side as one plane (c, y, x) float32, and regions (1, y, x) int32 from 1."""
    plane = np.concatenate(list(crops), axis=2)
    regions = np.concatenate([np.where(m, i + 1, 0) for i, m in enumerate(masks)], axis=1)[None]
    return np.ascontiguousarray(plane, np.float32), np.ascontiguousarray(regions, np.int32)
