"""Made-up defects with masks, pasted into normal seeds to teach an anomaly map where to look.

Shapes and sizes are drawn alike in volumes (z, y, x) and planes (y, x), here *cells*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Float = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]

WHOLE = 0.2  # chance that the whole interior changes; its heat no longer shows where
REFERENCE = 24.0  # cells per edge at which the sizes below are meant
FINEST = 3.0  # times smaller than these sizes is the smallest defect of a plane, where finer ones are seen
COLOURED = 0.25  # share of the seeds whose defects are more than lighter or darker
HUE = 0.4  # standard deviation of what a colour's contrast differs by from that of brightness


def depth_map(mask: Mask) -> Float:
    """Distance of each inner cell to the surface, as a share of the deepest one: (*cells), 0 outside."""
    padded = np.asarray(distance_transform_edt(np.pad(mask, 1)), np.float32)
    depth = padded[(slice(1, -1),) * mask.ndim]
    return depth / max(float(depth.max()), 1.0)


def _random_rotation(rng: np.random.Generator, n_dims: int) -> npt.NDArray[np.float64]:
    """A rotation matrix, uniform over all poses (QR of a Gaussian matrix)."""
    q, r = np.linalg.qr(rng.normal(size=(n_dims, n_dims)))
    return np.asarray(q * np.sign(np.diag(r)))


def _local(rng: np.random.Generator, mask: Mask) -> npt.NDArray[np.float32]:
    """Coordinates (axes, *cells) in a frame turned at random around an inner cell, in reference cells."""
    cells = np.argwhere(mask)
    centre = cells[rng.integers(len(cells))] if len(cells) else np.array(mask.shape) / 2
    axes = [np.arange(n, dtype=np.float32) - c for n, c in zip(mask.shape, centre, strict=True)]
    turn = _random_rotation(rng, mask.ndim).astype(np.float32) * (REFERENCE / mask.shape[0])
    if mask.ndim == 2:
        turn *= np.float32(np.exp(rng.uniform(0, np.log(FINEST))))
    grid = np.ix_(*axes)
    return np.stack([sum(weight * along for weight, along in zip(t, grid, strict=True)) for t in turn])


def _lengths(values: npt.ArrayLike) -> Float:
    """One length per axis, (axes, 1, …) to be compared with :func:`_local`."""
    lengths = np.asarray(values, np.float32)
    return lengths.reshape(-1, *(1,) * len(lengths))


def _ellipsoid(rng: np.random.Generator, mask: Mask, depth: Float) -> Mask:
    half = _lengths(rng.uniform(1.5, 4.5, mask.ndim))
    return np.asarray(((_local(rng, mask) / half) ** 2).sum(0) <= 1)


def _box(rng: np.random.Generator, mask: Mask, depth: Float) -> Mask:
    half = _lengths(rng.uniform(1.5, 4.0, mask.ndim))
    return np.asarray((np.abs(_local(rng, mask)) <= half).all(0))


def _plate(rng: np.random.Generator, mask: Mask, depth: Float) -> Mask:
    """A crack: thin and wide."""
    half = _lengths([rng.uniform(0.4, 0.8), *rng.uniform(3, 10, mask.ndim - 1)])
    return np.asarray((np.abs(_local(rng, mask)) <= half).all(0))


def _tube(rng: np.random.Generator, mask: Mask, depth: Float) -> Mask:
    """A tunnel: long and round."""
    *across, w = _local(rng, mask)
    is_near = sum(u * u for u in across) <= rng.uniform(0.7, 1.8) ** 2
    return np.asarray(is_near & (np.abs(w) <= rng.uniform(3, 11)))


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


def draw_shape(rng: np.random.Generator, mask: Mask, depth: Float) -> tuple[Mask, bool]:
    """Cells (*cells) of a made-up defect inside the seed, and whether it is thin."""
    chances = np.array([c for c, _ in _SHAPES])
    shape = _SHAPES[rng.choice(len(_SHAPES), p=chances / chances.sum())][1]
    return shape(rng, mask, depth) & mask, shape in (_plate, _tube, _shell)


def paste(rng: np.random.Generator, crop: Float, mask: Mask, depth: Float) -> tuple[Float, Mask]:
    """Paste one to three defects into a normal seed.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the draws come from.
    crop : (c, *cells) float32
        Grey values in units of the seed's median, so that 1 is usual; in a volume 0 is air.
    mask : (*cells) bool
        The seed.
    depth : (*cells) float32
        :func:`depth_map` of the mask.

    Returns
    -------
    crop : (c, *cells) float32
        A changed copy.
    defect : (*cells) bool
        Cells that were changed, inside the seed.
    """
    hue = _hue(rng, len(crop), mask.ndim)
    if rng.random() < WHOLE:
        return _whole(rng, crop, mask, depth, hue)
    out, defect, is_volume = crop.copy(), np.zeros(mask.shape, bool), mask.ndim == 3
    for _ in range(rng.integers(1, 4)):
        region, is_thin = draw_shape(rng, mask, depth)
        sign = -1.0 if (is_thin and is_volume) or rng.random() < 0.5 else 1.0  # a gap is full of air
        soft = gaussian_filter(region.astype(np.float32), rng.uniform(0.3, 0.8))
        out += np.float32(sign * rng.uniform(0.35 if is_volume else 0.2, 0.8)) * hue * soft
        defect |= region
    if is_volume:
        out = np.maximum(out, 0)
    return np.where(mask, out, crop).astype(np.float32), defect


def _hue(rng: np.random.Generator, n_channels: int, n_dims: int) -> Float:
    """How much of a contrast each channel gets, (c, 1, …): mostly brightness, of mean square 1."""
    hue = np.ones(n_channels, np.float32)
    if n_channels > 1 and rng.random() < COLOURED:
        hue += rng.normal(0, HUE, n_channels).astype(np.float32)
        hue /= np.sqrt(np.mean(hue**2))
    return hue.reshape(-1, *(1,) * n_dims)


def _whole(rng: np.random.Generator, crop: Float, mask: Mask, depth: Float, hue: Float) -> tuple[Float, Mask]:
    """The interior as a whole: hollow, dense, or without structure."""
    region = _interior(rng, mask, depth) & mask
    soft = gaussian_filter(region.astype(np.float32), 0.6)
    kind = rng.integers(3)
    if kind == 0:
        changed = crop * (1 - np.float32(rng.uniform(0.35, 0.9)) * hue * soft)
    elif kind == 1:
        changed = crop + np.float32(rng.uniform(0.2, 0.8)) * hue * soft
    else:
        level = 1 + (np.float32(rng.uniform(0.6, 1.3)) - 1) * hue
        keep = np.float32(rng.uniform(0.0, 0.4))
        changed = crop * (1 - soft) + soft * (level + keep * (crop - 1))
    return np.where(mask, changed, crop).astype(np.float32), region
