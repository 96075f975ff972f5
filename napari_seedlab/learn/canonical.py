"""Seeds as the bundled encoders see them: in their own axes, on cells of one size, in units of the scan."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_seedlab.learn.encoders import SeedImage

    Float = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]

VERSION = 1  # of the arithmetic
MARGIN = 1.5  # cells between the longest axis of a seed and the faces of its crop
SPREAD = 0.25  # of grey values inside a usual seed, in units of its scan
LIMIT = 6.0  # of channels
N_BANDS = 32  # that spectra are averaged into
SIZES = {"volume": 32, "picture": 64, "cube": 32}  # cells per edge
CHANNELS = {"volume": 1, "picture": 3, "cube": N_BANDS + 1}
N_FORM = 6  # numbers that tell size and outline
POSE_CELLS = 24  # a seed is measured on a grid about so fine


class Canonical(NamedTuple):
    """One seed in its own axes.

    Attributes
    ----------
    crop : (c, *cells) float32
        0 outside the seed.
    mask : (1, *cells) float32
        Share of each cell that is seed.
    form : (6,) float32
        Size and outline, which a crop of one size cannot show.
    """

    crop: Float
    mask: Float
    form: Float


@dataclass(frozen=True)
class Wobble:
    """A small change of how a seed is cut, for training.

    Attributes
    ----------
    turn : (3,) float64
        Rotation vector in radians; planes turn by its last entry.
    zoom : float
        Factor of the size of a cell.
    """

    turn: npt.NDArray[np.float64]
    zoom: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Wobble:
        """A random one; every fourth is turned anyhow, as round seeds are."""
        spread = 1.5 if rng.random() < 0.25 else 0.15
        return cls(rng.normal(0.0, spread, 3), float(rng.uniform(0.97, 1.12)))


def kind_of(seed: SeedImage) -> str:
    """``cube``, ``volume`` or ``picture``: which of the networks sees a seed."""
    if seed.modality == "hsi":
        return "cube"
    return "volume" if seed.mask.shape[0] > 1 else "picture"


def canonical(seed: SeedImage, kind: str, wobble: Wobble | None = None) -> Canonical:
    """Turn a seed into its principal axes, longest last, and scale its longest axis to the crop.

    Parameters
    ----------
    seed : SeedImage
        Voxels that are not finite belong to no seed.
    kind : str
        As :func:`kind_of` says.
    wobble : Wobble, optional
        Changes the cut.
    """
    size = SIZES[kind]
    n_dims = 3 if kind == "volume" else 2
    channels, mask = _channels(seed, kind)
    scale = np.asarray(seed.scale_um, np.float64)[-n_dims:]
    channels, mask, scale = _averaged(channels, mask, scale, size)
    if not mask.any():
        empty = (size,) * n_dims
        nothing = np.zeros((CHANNELS[kind], *empty), np.float32)
        return Canonical(nothing, np.zeros((1, *empty), np.float32), np.zeros(N_FORM, np.float32))
    centre, axes, reach, form = _pose(mask, scale)
    cell = 2 * reach / (size - 2 * MARGIN)  # µm
    if wobble is not None:
        axes, cell = _turned(axes, wobble.turn), cell * wobble.zoom
    sampled = _sampled(np.concatenate([channels * mask, mask[None]]), centre, axes, scale, cell, size)
    inside = sampled[-1:]
    crop = np.asarray(sampled[:-1] / np.maximum(inside, 0.25) * (inside > 0.25), np.float32)
    return Canonical(crop, inside, form)


def _channels(seed: SeedImage, kind: str) -> tuple[Float, npt.NDArray[np.float32]]:
    """Channels (c, *voxels) in units of the scan and the mask (*voxels) as 0 and 1, both float32."""
    image = np.asarray(seed.image, np.float32)
    mask = np.asarray(seed.mask, np.bool_)
    if kind == "volume":
        known = mask & np.isfinite(image)
        grey = np.where(known, image, np.float32(seed.levels.solid))[None]
        return _bounded((grey - seed.levels.air) / seed.levels.range), known.astype(np.float32)
    is_known = np.isfinite(image.sum(0))  # ten times as fast as to look at each band
    flat = mask[0] & is_known
    if not is_known.all():
        image = np.where(flat, image, np.float32(seed.levels.solid))
    shown = _spectral(image, seed) if kind == "cube" else _coloured(image, seed)
    return shown, flat.astype(np.float32)


def _bounded(relative: npt.NDArray[Any]) -> Float:
    """Values of which 1 is the typical seed, as deviations from it in usual spreads."""
    return np.asarray(np.clip((relative - 1) / SPREAD, -LIMIT, LIMIT), np.float32)


def _coloured(image: Float, seed: SeedImage) -> Float:
    """Brightness, red less blue and green less the others (3, y, x); the latter are 0 for grey pictures."""
    light = _bounded((image.mean(0) - seed.levels.air) / seed.levels.range)
    if len(image) != 3:
        return np.stack([light, np.zeros_like(light), np.zeros_like(light)])
    red, green, blue = image / np.maximum(image.sum(0), 1.0)
    return np.stack([light, 4 * (red - blue), 8 * (green - 1 / 3)])


def _spectral(image: Float, seed: SeedImage) -> Float:
    """Brightness and the standard normal variate of each pixel's spectrum in 32 groups (33, y, x)."""
    bands = _grouped(image)
    middle = bands.mean(0)
    light = _bounded((middle - seed.levels.air) / seed.levels.range)
    spectra = (bands - middle) / np.maximum(bands.std(0), 1e-6)
    return np.concatenate([light[None], spectra])


def _grouped(image: Float) -> Float:
    """Bands (b, y, x) averaged into ``N_BANDS`` equal groups; repeated where there are fewer."""
    edges = np.linspace(0, len(image), N_BANDS + 1)
    low = np.minimum(edges[:-1].astype(int), len(image) - 1)
    high = np.maximum(low + 1, edges[1:].astype(int))
    return np.asarray(np.add.reduceat(image, low) / (high - low)[:, None, None], np.float32)


def _averaged(
    channels: Float, mask: Float, scale: npt.NDArray[np.float64], size: int
) -> tuple[Float, Float, npt.NDArray[np.float64]]:
    """Blocks of whole voxels averaged where they are finer than the cells of the crop."""
    edge = (np.asarray(mask.shape) * scale).max() / size  # µm of a cell, about
    steps = [max(1, int(edge / s)) for s in scale]
    if max(steps) == 1:
        return channels, mask, scale
    weight = _blocks(mask[None], steps)
    values = np.asarray(_blocks(channels * mask, steps) / np.maximum(weight, 1e-6), np.float32)
    return values, weight[0], scale * steps


def _blocks(values: Float, steps: list[int]) -> Float:
    pads = [(0, 0), *((0, -n % s) for n, s in zip(values.shape[1:], steps, strict=True))]
    values = np.pad(values, pads)
    for axis, step in enumerate(steps, 1):
        if step > 1:
            shape = values.shape
            split = (*shape[:axis], shape[axis] // step, step, *shape[axis + 1 :])
            values = values.reshape(split).mean(axis + 1)
    return values


def _pose(
    mask: Float, scale: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float, Float]:
    """Centre (d,) and axes (d, d) in rows, shortest first, reach of the longest in µm, and the form."""
    places = np.argwhere(mask > 0.5)
    places = places if len(places) else np.argwhere(mask > 0)
    offsets = places * scale
    centre = offsets.mean(0)
    offsets -= centre
    variance, vectors = np.linalg.eigh(offsets.T @ offsets / len(offsets) + np.diag(scale**2) / 12)
    axes = vectors.T  # ascending: the shortest first
    along = np.abs(offsets @ axes.T).max(0) + scale.max() / 2  # (d,) µm
    return centre, axes, float(along.max()), _form(variance, along, len(offsets) * float(scale.prod()))


def _form(variance: npt.NDArray[np.float64], along: npt.NDArray[np.float64], volume: float) -> Float:
    """Logarithm of the diameter, ratios of axes, how full the ellipsoid and the box are."""
    n = len(variance)
    half = np.sqrt((n + 2) * variance)  # of the ellipsoid with the same moments
    ball = 4 / 3 * np.pi if n == 3 else np.pi
    radius = (volume / ball) ** (1 / n)
    return np.asarray(
        [
            4 * np.log10(2 * radius),
            2 * half[-2] / half[-1],
            2 * half[0] / half[-1],
            4 * volume / (ball * half.prod()),
            2 * volume / (ball * along.prod()),
            2 * along.max() / radius,
        ],
        np.float32,
    )


def _turned(axes: npt.NDArray[np.float64], turn: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Axes (d, d) in rows, turned by a rotation vector."""
    from scipy.spatial.transform import Rotation

    if len(axes) == 3:
        return np.asarray(axes @ Rotation.from_rotvec(turn).as_matrix())
    cos, sin = np.cos(turn[-1]), np.sin(turn[-1])
    return np.asarray([[cos, -sin], [sin, cos]] @ axes)


def _sampled(
    values: Float,
    centre: npt.NDArray[np.float64],
    axes: npt.NDArray[np.float64],
    scale: npt.NDArray[np.float64],
    cell: float,
    size: int,
) -> Float:
    """Values (c, *voxels) on a grid of `size` cells per edge in the seed's own axes, linear in between."""
    n = len(scale)
    shape = np.asarray(values.shape[1:])
    # voxel = (centre + axesᵀ · (u · cell · size / 2)) / scale, with u in −1..1 along each own axis
    matrix = (axes.T * (cell * size / 2)) / scale[:, None]
    # grid_sample counts −1..1 over the array from edge to edge, x first
    matrix = matrix * 2 / shape[:, None]
    shift = (centre / scale + 0.5) * 2 / shape - 1
    turned = torch.from_numpy(np.ascontiguousarray(matrix[::-1, ::-1].T, np.float32))
    grid = _cells(size, n) @ turned + torch.from_numpy(np.ascontiguousarray(shift[::-1], np.float32))
    grid = grid.view(1, *[size] * n, n)
    source = torch.from_numpy(np.ascontiguousarray(values, np.float32))[None]
    return np.asarray(functional.grid_sample(source, grid, align_corners=False)[0].numpy())


@cache
def _cells(size: int, n_dims: int) -> torch.Tensor:
    """Centres of all cells of a crop (size ** n_dims, n_dims) in -1..1, x first."""
    steps = (torch.arange(size) + 0.5) * (2 / size) - 1
    axes = torch.meshgrid(*[steps] * n_dims, indexing="ij")
    return torch.stack([axis.reshape(-1) for axis in reversed(axes)], 1)
