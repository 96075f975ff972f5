"""Seeds as pictures for networks that know photographs: cuts of volumes, planes as they are, false colour."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_seedlab.learn.encoders import SeedImage

    Float = npt.NDArray[np.float32]
    Axes = npt.NDArray[np.float64]

VERSION = 1  # of the arithmetic
MARGIN = 1.05  # of the reach of a seed: what a picture shows
USUAL = 0.5  # brightness of the typical seed; air is 0
MANY = 8192  # voxels that are enough to find the axes of a seed
CUTS = ((0, 1), (0, 2), (1, 2))  # axes of each cut, the longest is 0
VISIBLE = ((620.0, 680.0), (530.0, 580.0), (450.0, 490.0))  # nm of red, green and blue
INFRARED = ((1400.0, 1500.0), (1150.0, 1250.0), (950.0, 1050.0))  # nm: water, fat, neither


def pictures_of(seed: SeedImage, size: int) -> torch.Tensor:
    """A seed as colour pictures in which nothing of its surroundings is left.

    Of a volume three cuts through the middle, across the principal axes; of anything else its own plane.

    Parameters
    ----------
    seed : SeedImage
        Without NaN.
    size : int
        Pixels per edge.

    Returns
    -------
    (k, 3, size, size) float32 tensor in 0–1
        k = 3 for volumes, else 1. All 0 for an empty mask.
    """
    if not seed.mask.any():
        return torch.zeros(3 if seed.mask.shape[0] > 1 else 1, 3, size, size)
    if seed.modality != "hsi" and seed.mask.shape[0] > 1:
        return _cuts(seed, size)
    return _plane(_colours(seed), seed, size)


def _relative(values: npt.NDArray[np.generic], seed: SeedImage) -> Float:
    """Grey values on a scale where air is 0 and the typical seed is ``USUAL``, within 0–1."""
    grey = (np.asarray(values, np.float32) - np.float32(seed.levels.air)) / np.float32(seed.levels.range)
    return np.asarray(np.clip(grey * np.float32(USUAL), 0, 1), np.float32)


def _colours(seed: SeedImage) -> tuple[Float, float]:
    """Channels (1 or 3, y, x) in 0–1 and the brightness of what is no seed."""
    if seed.modality == "hsi":
        return _relative(false_colour(seed.image, seed.wavelengths_nm), seed), 0.0
    if seed.image.dtype == np.uint8:  # a photograph: shown as it is
        return np.asarray(seed.image / np.float32(255), np.float32), float(
            np.clip(seed.levels.air / 255, 0, 1)
        )
    return _relative(seed.image, seed), 0.0


def false_colour(cube: npt.NDArray[np.generic], wavelengths_nm: tuple[float, ...] = ()) -> Float:
    """Three means of bands (3, y, x): red, green and blue light, or infrared where there is none.

    Where wavelengths are unknown, or cover neither, the last, middle and first third of the bands.
    """
    nm = np.asarray(wavelengths_nm, np.float64)
    for windows in (VISIBLE, INFRARED):
        if len(nm) == len(cube) and all(((nm >= low) & (nm <= high)).any() for low, high in windows):
            chosen = [(nm >= low) & (nm <= high) for low, high in windows]
            return np.stack([cube[which].mean(0, dtype=np.float32) for which in chosen])
    edges = np.linspace(0, len(cube), 4).round().astype(int)
    thirds = [slice(min(a, len(cube) - 1), max(b, a + 1)) for a, b in itertools.pairwise(edges.tolist())]
    return np.stack([cube[third].mean(0, dtype=np.float32) for third in reversed(thirds)])


def _plane(colours: tuple[Float, float], seed: SeedImage, size: int) -> torch.Tensor:
    """The box of a flat seed in the middle of a square, what is no seed in one shade."""
    channels, shade = colours
    shown = torch.from_numpy(np.where(seed.mask[0], channels, np.float32(shade)) - np.float32(shade))
    scale = np.asarray(seed.scale_um[1:], np.float64)
    extent = np.asarray(shown.shape[1:]) * scale
    shown, scale = _coarser(shown, scale, float(extent.max()) / size)
    reach = MARGIN * float(extent.max()) / 2
    picture = _sampled(shown, extent / 2, np.eye(2) * reach, scale, size)[0]
    return (picture + shade).expand(3, -1, -1)[None]


def _cuts(seed: SeedImage, size: int) -> torch.Tensor:
    grey = _relative(seed.image, seed) * seed.mask
    shown = torch.from_numpy(grey)[None]
    scale = np.asarray(seed.scale_um, np.float64)
    centre, axes, reach = _pose(seed.mask, grey, scale)
    shown, scale = _coarser(shown, scale, 2 * reach / size)
    planes = [axes[list(cut)] * (MARGIN * reach) for cut in CUTS]
    return torch.cat([_sampled(shown, centre, plane, scale, size) for plane in planes]).expand(-1, 3, -1, -1)


def _pose(mask: npt.NDArray[np.bool_], grey: Float, scale: Axes) -> tuple[Axes, Axes, float]:
    """Centre (3,) in µm from the corner, axes (3, 3) in rows, longest first, and the reach in µm.

    An axis points where the grey reaches farther, so that a turned seed gives the same cuts.
    """
    places = np.flatnonzero(mask)
    places = places[:: max(1, len(places) // MANY)]
    offsets = (np.stack(np.unravel_index(places, mask.shape), 1) + 0.5) * scale
    centre = offsets.mean(0)
    offsets -= centre
    _, vectors = np.linalg.eigh(offsets.T @ offsets / len(offsets) + np.diag(scale**2) / 12)
    axes = vectors.T[::-1]
    along = offsets @ axes.T
    axes = axes * np.where(grey.ravel()[places] @ along**3 < 0, -1.0, 1.0)[:, None]
    return centre, axes, float(np.abs(along).max() + scale.max() / 2)


def _coarser(shown: torch.Tensor, scale: Axes, pixel: float) -> tuple[torch.Tensor, Axes]:
    """Whole voxels averaged where they are less than half as large as a pixel, in µm."""
    steps = [max(1, int(pixel / s)) for s in scale]
    if max(steps) == 1:
        return shown, scale
    pool = functional.avg_pool3d if shown.ndim == 4 else functional.avg_pool2d
    return pool(shown[None], steps, ceil_mode=True, count_include_pad=False)[0], scale * steps


def _sampled(shown: torch.Tensor, centre: Axes, plane: Axes, scale: Axes, size: int) -> torch.Tensor:
    """A plane (1, c, size, size) through `centre`, spanned by two vectors in µm; 0 outside the box."""
    steps = torch.linspace(-1, 1, size + 1)
    steps = (steps[:-1] + steps[1:]) / 2
    extent = np.asarray(shown.shape[1:]) * scale
    # grid_sample counts -1..1 over the array from edge to edge, x first
    middle = torch.from_numpy((2 * centre / extent - 1)[::-1].astype(np.float32))
    down, right = (torch.from_numpy((2 * v / extent)[::-1].astype(np.float32)) for v in plane)
    grid = middle + steps[:, None, None] * down + steps[None, :, None] * right
    if shown.ndim == 4:
        grid = grid[None]
    return functional.grid_sample(shown[None], grid[None], align_corners=False).reshape(1, -1, size, size)
