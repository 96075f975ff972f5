"""Made-up defects with masks, pasted into normal seeds to teach an anomaly map where to look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Float = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]

REFERENCE = 24.0  # cells per edge at which the sizes below are meant


def depth_map(mask: Mask) -> Float:
    """Distance of each inner cell to the surface, as a share of the deepest one: (z, y, x), 0 outside."""
    depth = np.asarray(distance_transform_edt(np.pad(mask, 1)), np.float32)[1:-1, 1:-1, 1:-1]
    return depth / max(float(depth.max()), 1.0)


def _random_rotation(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A rotation matrix, uniform over all poses (QR of a Gaussian matrix)."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    return np.asarray(q * np.sign(np.diag(r)))


def _local(rng: np.random.Generator, mask: Mask) -> npt.NDArray[np.float32]:
    """Coordinates (3, z, y, x) in a randomly turned frame around a random inner cell, in reference cells."""
    cells = np.argwhere(mask)
    centre = cells[rng.integers(len(cells))] if len(cells) else np.array(mask.shape) / 2
    axes = [np.arange(n, dtype=np.float32) - c for n, c in zip(mask.shape, centre, strict=True)]
    turn = _random_rotation(rng).astype(np.float32) * (REFERENCE / mask.shape[0])
    z, y, x = axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
    return np.stack([t[0] * z + t[1] * y + t[2] * x for t in turn])


def _ellipsoid(rng: np.random.Generator, mask: Mask, depth: Float) -> Mask:
    half = rng.uniform(1.5, 4.5, 3).astype(np.float32)[:, None, None, None]
    return np.asarray(((_local(rng, mask) / half) ** 2).sum(0) <= 1)


def _box(rng: np.random.Generator, mask: Mask, depth: Float) -> Mask:
    half = rng.uniform(1.5, 4.0, 3).astype(np.float32)[:, None, None, None]
    return np.asarray((np.abs(_local(rng, mask)) <= half).all(0))


def _plate(rng: np.random.Generator, mask: Mask, depth: Float) -> Mask:
    """A crack: thin and wide."""
    half = np.array([rng.uniform(0.4, 0.8), *rng.uniform(3, 10, 2)], np.float32)[:, None, None, None]
    return np.asarray((np.abs(_local(rng, mask)) <= half).all(0))


def _tube(rng: np.random.Generator, mask: Mask, depth: Float) -> Mask:
    """A tunnel: long and round."""
    u, v, w = _local(rng, mask)
    return np.asarray((u * u + v * v <= rng.uniform(0.7, 1.8) ** 2) & (np.abs(w) <= rng.uniform(3, 11)))


def _shell(rng: np.random.Generator, mask: Mask, depth: Float) -> Mask:
    """A gap under the coat, all round or on one side."""
    top = rng.uniform(0.1, 0.3)
    shell = (depth > top) & (depth < top + rng.uniform(0.12, 0.35))
    if rng.random() < 0.6:
        shell &= _local(rng, mask)[0] > rng.uniform(-6, 2)
    return np.asarray(shell)


def _interior(rng: np.random.Generator, mask: Mask, depth: Float) -> Mask:
    return np.asarray(depth > rng.uniform(0.15, 0.45))


_SHAPES: tuple[tuple[float, Callable[..., Mask]], ...] = (
    (0.25, _ellipsoid),
    (0.2, _box),
    (0.2, _plate),
    (0.15, _tube),
    (0.2, _shell),
)


def paste(rng: np.random.Generator, crop: Float, mask: Mask, depth: Float) -> tuple[Float, Mask]:
    """Paste one to three defects into a normal seed.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the draws come from.
    crop : (z, y, x) float32
        Grey values in units of the seed's median, so that 1 is usual and 0 is air.
    mask : (z, y, x) bool
        The seed.
    depth : (z, y, x) float32
        :func:`depth_map` of the mask.

    Returns
    -------
    crop : (z, y, x) float32
        A changed copy.
    defect : (z, y, x) bool
        Cells that were changed, inside the seed.
    """
    if rng.random() < 0.2:
        return _whole(rng, crop, mask, depth)
    out, defect = crop.copy(), np.zeros(mask.shape, bool)
    chances = np.array([c for c, _ in _SHAPES])
    for _ in range(rng.integers(1, 4)):
        shape = _SHAPES[rng.choice(len(_SHAPES), p=chances / chances.sum())][1]
        region = shape(rng, mask, depth) & mask
        is_thin = shape in (_plate, _tube, _shell)
        sign = -1.0 if is_thin or rng.random() < 0.5 else 1.0
        soft = gaussian_filter(region.astype(np.float32), rng.uniform(0.3, 0.8))
        out += np.float32(sign * rng.uniform(0.35, 0.8)) * soft
        defect |= region
    return np.where(mask, np.maximum(out, 0), crop).astype(np.float32), defect


def _whole(rng: np.random.Generator, crop: Float, mask: Mask, depth: Float) -> tuple[Float, Mask]:
    """The interior as a whole: hollow, dense, or without structure."""
    region = _interior(rng, mask, depth) & mask
    soft = gaussian_filter(region.astype(np.float32), 0.6)
    kind = rng.integers(3)
    if kind == 0:
        changed = crop * (1 - np.float32(rng.uniform(0.35, 0.9)) * soft)
    elif kind == 1:
        changed = crop + np.float32(rng.uniform(0.2, 0.8)) * soft
    else:
        level = np.float32(rng.uniform(0.6, 1.3))
        keep = np.float32(rng.uniform(0.0, 0.4))
        changed = crop * (1 - soft) + soft * (level + keep * (crop - 1))
    return np.where(mask, changed, crop).astype(np.float32), region
