"""Descriptors of one region: shape, grey values, layers, voids, texture and symmetry as one vector.

Everything is computed from the region's box alone, does not depend on how the seed lies, and is of
order one, so that a linear model can use it. Grey values are counted in units in which air is 0 and
the typical seed of the scan is 1 (:class:`GreyLevels`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    Grey = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]

VERSION = 1  # of the arithmetic; vectors of different versions are never mixed
MAX_DIAMETER = 48  # voxels; larger seeds are averaged down to it
CLOSING = 2  # voxels; gaps of the mask up to twice this width belong to the seed
RIM = 1.5  # voxels of partial volume at the surface that grey statistics leave out
DARK, BRIGHT = 0.6, 1.25  # of the seed's median grey: voids and dense spots
N_LAYERS = 8
N_BINS = 6  # of a gradient histogram
GRID = 12  # edge of the grid along the principal axes
SIGMAS = (0.8, 1.6, 3.2)  # voxels
N_BANDS = 32
N_COARSE = 8

QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
SHARES = (-0.4, -0.6, -0.8, 1.1, 1.25, 1.5)  # below |x| where negative, above x elsewhere; of the median

SHAPE = (
    "log_diameter_um",
    "axis_2_of_1",
    "axis_3_of_1",
    "ellipsoid_fill",
    "surface",
    "depth",
    "open",
    "holes",
)
SPOT = ("largest", "total", "number", "depth", "grey", "flat", "span", "reach")
SCALES = ("noise", "small", "large")


@dataclass(frozen=True)
class GreyLevels:
    """Grey value of air and of the typical seed of a scan."""

    air: float
    solid: float

    @property
    def range(self) -> float:
        """Difference solid − air, kept away from zero; negative where seeds are darker than air."""
        gap = self.solid - self.air
        return gap if abs(gap) > 1e-6 else 1.0


@dataclass(frozen=True)
class _Body:
    """One seed on its working grid: (z, y, x), or (y, x) for a flat image.

    `mask` is the region; `body` has gaps and holes filled; `depth` is the distance to the outside
    of the body in voxels; `grey` has air 0 and the typical seed 1; `core` leaves out the rim;
    `median` is the grey of the core; `edge_um` is the edge of a voxel.
    """

    mask: Mask
    body: Mask
    depth: Grey
    grey: Grey
    core: Mask
    median: float
    edge_um: float


def grey_levels(samples: Iterable[tuple[float, float]]) -> GreyLevels:
    """Levels of a scan from some of its regions.

    Parameters
    ----------
    samples : iterable of (air, solid)
        From :func:`sample_levels`, some of the scan's regions; NaN is left out.

    Returns
    -------
    GreyLevels
        Medians over the samples.
    """
    pairs = np.asarray([p for p in samples if np.isfinite(p).all()], np.float64).reshape(-1, 2)
    if len(pairs) == 0:
        return GreyLevels(0.0, 1.0)
    air, solid = np.median(pairs, axis=0)
    return GreyLevels(float(air), float(solid))


def sample_levels(image: Any, raster: Any, region: int) -> tuple[float, float]:
    """Grey of air (lowest fifth outside all regions) and of `region` (median); NaN where there is none."""
    inside, outside = image[raster == region], image[raster == 0]
    return (
        float(np.percentile(outside, 20)) if outside.size else float("nan"),
        float(np.median(inside)) if inside.size else float("nan"),
    )


def descriptor_names(modality: str) -> tuple[str, ...]:
    """Names of the entries of the descriptor vectors of a modality: ``ct``, ``image`` or ``hsi``."""
    if modality == "hsi":
        return _spectral_names()
    names = [f"shape.{n}" for n in SHAPE]
    names += [f"grey.{n}" for n in ("mean", "sd", "skew", "kurtosis", "rim")]
    names += [f"grey.q{round(100 * q):02d}" for q in QUANTILES]
    names += [f"share.{'below' if s < 0 else 'above'}_{round(100 * abs(s))}" for s in SHARES]
    for layer in ("layer_mean", "layer_sd", "layer_low"):
        names += [f"{layer}.{i}" for i in range(N_LAYERS)]
    names += ["layer_mean.lowest", "layer_mean.drop", "layer_mean.rise"]
    names += [f"{kind}.{n}" for kind in ("dark", "bright") for n in SPOT]
    names += [f"texture.{s}_{n}" for s in SCALES for n in ("q01", "q10", "q90", "q99", "sd")]
    names += [f"symmetry.{n}" for n in ("octants", "flip_1", "flip_2", "flip_3", "ends")]
    names += [f"edges.cut_{c}_{b}" for c in (1, 2, 3) for b in range(N_BINS)]
    names += [f"edges.cut_{c}_strength" for c in (1, 2, 3)]
    if modality == "image":
        names += [f"colour.{kind}_{n}" for kind in ("share", "spread") for n in ("red", "green", "blue")]
    return tuple(names)


def describe_seed(
    image: Any, mask: Mask, levels: GreyLevels, scale_um: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> npt.NDArray[np.float32]:
    """Descriptor vector of one region of a grey volume (or of one plane: z = 1).

    Parameters
    ----------
    image : (z, y, x) of any real dtype
        The region's box.
    mask : (z, y, x) bool
        The region in it.
    levels : GreyLevels
        Of the scan.
    scale_um : tuple of float
        Voxel edges in µm; unequal ones are honoured by resampling to the longest edge.

    Returns
    -------
    (d,) float32
        Finite; entries as in ``descriptor_names("ct")``. Zeros for an empty mask.

    Examples
    --------
    >>> ball = (np.indices((9, 9, 9)) - 4).__pow__(2).sum(0) <= 16
    >>> len(describe_seed(ball * 9, ball, GreyLevels(0, 9))) == len(descriptor_names("ct"))
    True
    """
    names = descriptor_names("ct")
    if not np.any(mask):
        return np.zeros(len(names), np.float32)
    seed = _prepare(np.asarray(image, np.float32), np.asarray(mask, bool), levels, scale_um)
    axes, lengths, centre = _principal(seed.body)
    values = [
        *_shape(seed, lengths),
        *_greys(seed),
        *_layers(seed),
        *_spots(seed, dark=True),
        *_spots(seed, dark=False),
        *_texture(seed),
        *_symmetry(seed, axes, lengths, centre),
    ]
    vector = np.nan_to_num(np.asarray(values, np.float32), nan=0.0, posinf=10.0, neginf=-10.0)
    return np.clip(vector, -50.0, 50.0)


def describe_picture(
    image: Any, mask: Mask, levels: GreyLevels, scale_um: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> npt.NDArray[np.float32]:
    """Descriptor vector of one region of a grey or colour picture.

    That of :func:`describe_seed` for the mean of the colours, then the mean share of red, green and blue
    in the light of the region and their spread over its pixels. Grey has the share of a colourless one.

    Parameters
    ----------
    image : (1, y, x) or (3, y, x) of any real dtype
        The region's box; three bands are red, green and blue.
    mask : (1, y, x) bool
        The region in it.
    levels : GreyLevels
        Of the mean over the bands.
    scale_um : tuple of float
        Pixel edges; the first is not used.

    Returns
    -------
    (d,) float32
        Entries as in ``descriptor_names("image")``.
    """
    bands = np.asarray(image, np.float32)
    grey = describe_seed(bands.mean(axis=0, keepdims=True), mask, levels, scale_um)
    flat = np.asarray(mask, bool).reshape(bands.shape[-2:])
    if len(bands) != 3 or not flat.any():
        return np.concatenate([grey, np.zeros(6, np.float32)])
    pixels = bands[:, flat]
    shares = pixels / np.maximum(pixels.sum(axis=0), 1.0)
    mean = 10 * (pixels.sum(axis=1) / max(float(pixels.sum()), 1.0) - 1 / 3)
    return np.concatenate([grey, mean, 10 * shares.std(axis=1)]).astype(np.float32)


def _prepare(image: Grey, mask: Mask, levels: GreyLevels, scale_um: tuple[float, float, float]) -> _Body:
    import edt
    import fill_voids
    from scipy import ndimage

    edge = float(max(scale_um))
    if image.shape[0] == 1:
        image, mask, scale_um = image[0], mask[0], (edge, *scale_um[1:])
    image, mask, edge = _working_grid(image, mask, scale_um[-image.ndim :], edge)
    pad = CLOSING + 1
    mask = np.pad(mask, pad)
    image = np.pad(image, pad, mode="edge")
    cross = ndimage.generate_binary_structure(mask.ndim, 1)
    closed = ndimage.binary_closing(mask, cross, iterations=CLOSING)
    body = np.ascontiguousarray(fill_voids.fill(closed | mask))
    depth = np.ascontiguousarray(edt.edt(body.astype(np.uint8), parallel=1))
    grey = (image - np.float32(levels.air)) / np.float32(levels.range)
    core = depth > RIM
    core = core if core.sum() >= 8 else body
    tissue = core & mask
    median = float(np.median(grey[tissue if tissue.any() else core]))
    return _Body(mask, body, depth, grey, core, max(median, 0.05), edge)


def _working_grid(
    image: Grey, mask: Mask, scale_um: tuple[float, ...], edge: float
) -> tuple[Grey, Mask, float]:
    """The box on cubic voxels, the seed at most ``MAX_DIAMETER`` across; the new edge in µm."""
    from scipy import ndimage

    uneven = max(scale_um) > 1.05 * min(scale_um)
    n = float(mask.sum()) * float(np.prod([s / edge for s in scale_um]))
    diameter = 2 * (3 * n / (4 * np.pi)) ** (1 / 3) if mask.ndim == 3 else 2 * (n / np.pi) ** 0.5
    shrink = max(1.0, diameter / MAX_DIAMETER)
    if not uneven and shrink == 1.0:
        return image, mask, edge
    zoom = [s / edge / shrink for s in scale_um]
    smooth = ndimage.gaussian_filter(image, [max(0.0, 0.4 * (1 / z - 1)) for z in zoom])
    image = ndimage.zoom(smooth, zoom, order=1, grid_mode=True, mode="nearest")
    soft = ndimage.zoom(mask.astype(np.float32), zoom, order=1, grid_mode=True, mode="grid-constant")
    mask = soft >= 0.5 if (soft >= 0.5).any() else soft == soft.max()
    return image, mask, edge * shrink


def _principal(body: Mask) -> tuple[Any, Any, Any]:
    """Axes (columns, longest first), semi-axis lengths in voxels, and the centre."""
    points = np.argwhere(body).astype(np.float64)
    centre = points.mean(axis=0)
    points -= centre
    covariance = points.T @ points / len(points) + np.eye(body.ndim) / 12
    variance, axes = np.linalg.eigh(covariance)
    order = np.argsort(-variance, kind="stable")
    return axes[:, order], np.sqrt((body.ndim + 2) * variance[order]), centre


def _shape(seed: _Body, lengths: Any) -> list[float]:
    n, n_body, ndim = float(seed.mask.sum()), float(seed.body.sum()), seed.mask.ndim
    radius = (3 * n_body / (4 * np.pi)) ** (1 / 3) if ndim == 3 else (n_body / np.pi) ** 0.5
    ball = 4 / 3 * np.pi if ndim == 3 else np.pi
    faces = sum(float(np.count_nonzero(np.diff(seed.body, axis=a))) for a in range(ndim))
    surface = 4 * np.pi * radius**2 if ndim == 3 else 2 * np.pi * radius
    missing = seed.body & ~seed.mask
    deep = float((missing & (seed.depth > RIM)).sum())
    third = lengths[2] / lengths[0] if ndim == 3 else 0.0
    return [
        4 * float(np.log10(2 * radius * seed.edge_um)),
        2 * float(lengths[1] / lengths[0]),
        2 * float(third),
        4 * n_body / float(ball * np.prod(lengths)),
        faces / surface,
        2 * float(seed.depth.max()) / radius,
        (n_body - n) / n_body * 10,
        deep / n_body * 20,
    ]


def _greys(seed: _Body) -> list[float]:
    """Moments, quantiles and shares; quantiles in units of the scan, shares of the seed's own median."""
    v = np.sort(seed.grey[seed.core])
    mean, sd = float(v.mean()), float(v.std())
    z = np.clip((v - mean) / max(sd, 1e-6), -6, 6)
    rim = seed.grey[seed.body & ~seed.core]
    at = (np.asarray(QUANTILES) * (len(v) - 1)).round().astype(int)
    edges = np.searchsorted(v, [abs(s) * seed.median for s in SHARES]) / len(v)
    shares = [e if s < 0 else 1 - e for e, s in zip(edges, SHARES, strict=True)]
    return [
        4 * mean,
        10 * sd,
        float((z * z * z).mean()),
        float(np.square(z * z).mean()) / 4,
        4 * float(rim.mean()) if rim.size else 0.0,
        *(4 * v[at]).tolist(),
        *[_log_share(s) for s in shares],
    ]


def _log_share(share: float) -> float:
    """A share of the seed on a scale where 0.3 % and 3 % are as far apart as 3 % and 30 %."""
    return float(np.log10(share + 1e-3)) + 3.0


def _layers(seed: _Body) -> list[float]:
    """Grey over the distance to the surface, in units of the seed's median: mean, sd and lowest tenth."""
    inside = seed.depth > 0
    depth, v = seed.depth[inside], seed.grey[inside] / seed.median
    layer = np.minimum((N_LAYERS * depth / (depth.max() * 1.0001)).astype(np.int64), N_LAYERS - 1)
    n = np.maximum(np.bincount(layer, minlength=N_LAYERS), 1)
    mean = np.bincount(layer, v, N_LAYERS) / n
    sd = np.sqrt(np.maximum(np.bincount(layer, v * v, N_LAYERS) / n - mean**2, 0))
    low = np.bincount(layer, v < 0.7, N_LAYERS) / n
    steps = np.diff(mean[1:])
    return [
        *(4 * mean).tolist(),
        *(10 * sd).tolist(),
        *(5 * low).tolist(),
        4 * float(mean[1:].min()),
        10 * float(steps.min()),
        10 * float(steps.max()),
    ]


def _spots(seed: _Body, dark: bool) -> list[float]:
    """The connected dark (or bright) parts under the surface: how large, how deep, of what form."""
    import cc3d

    relative = seed.grey / seed.median
    found = (relative < DARK if dark else relative > BRIGHT) & (seed.depth > RIM)
    n_body, deepest = float(seed.body.sum()), float(seed.depth.max())
    if not found.any():
        return [0.0] * len(SPOT)
    parts = cc3d.connected_components(found, connectivity=26 if found.ndim == 3 else 8)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    largest = parts == sizes.argmax()
    _, lengths, _ = _principal(largest)
    depth = seed.depth[largest]
    radius = (3 * n_body / (4 * np.pi)) ** (1 / 3) if found.ndim == 3 else (n_body / np.pi) ** 0.5
    return [
        _log_share(float(sizes.max()) / n_body),
        _log_share(float(sizes.sum()) / n_body),
        float(np.log10(1 + (sizes > 2).sum())),
        2 * float(depth.mean()) / deepest,
        2 * abs(1 - float(relative[largest].mean())),
        2 * float(lengths[-1] / lengths[0]),
        2 * float(lengths[0]) / radius,
        2 * (float(depth.max()) - float(depth.min())) / deepest,
    ]


def _texture(seed: _Body) -> list[float]:
    """Contrast between neighbouring scales inside the core: noise, small spots, large spots."""
    from scipy import ndimage

    flat = np.where(seed.core, seed.grey / np.float32(seed.median), np.float32(1.0)).astype(np.float32)
    inner = seed.depth > 2 * RIM
    inner = inner if inner.sum() >= 8 else seed.core
    smooth = [flat, *(ndimage.gaussian_filter(flat, s, truncate=2.0) for s in SIGMAS)]
    values: list[float] = []
    for fine, coarse in itertools.pairwise(smooth):
        band = np.sort((fine - coarse)[inner])
        at = (np.asarray((0.01, 0.1, 0.9, 0.99)) * (len(band) - 1)).round().astype(int)
        values += [*(10 * band[at]).tolist(), 20 * float(band.std())]
    return values


def _symmetry(seed: _Body, axes: Any, lengths: Any, centre: Any) -> list[float]:
    """Likeness of halves across the principal planes, and gradients on three cuts along them."""
    from scipy import ndimage

    ndim = seed.body.ndim
    steps = (np.arange(GRID) + 0.5) / GRID * 2 - 1
    unit = np.stack(np.meshgrid(*[steps] * ndim, indexing="ij")).reshape(ndim, -1)
    places = centre[:, None] + axes @ (unit * np.asarray(lengths)[:, None])
    relative = np.where(seed.body, seed.grey / seed.median, 1.0).astype(np.float32)
    grid = ndimage.map_coordinates(relative, places, order=1, mode="nearest").reshape((GRID,) * ndim)
    inside = (np.square(unit).sum(0) < 0.85**2).reshape(grid.shape)
    flips = [10 * float(np.abs(grid - np.flip(grid, a))[inside].mean()) for a in range(ndim)]
    halves = np.where(inside, grid - 1.0, 0.0).reshape((2, GRID // 2) * ndim)
    octants = halves.mean(axis=tuple(range(1, 2 * ndim, 2)))
    ends = abs(float(octants[0].mean() - octants[1].mean()))
    values = [30 * float(octants.std()), *(flips + [0.0] * (3 - ndim)), 30 * ends]
    middle = (GRID // 2 - 1, GRID // 2)
    cuts = [grid.take(middle, axis=a).mean(axis=a) for a in range(3)] if ndim == 3 else [grid] * 3
    keep = [inside.take(GRID // 2, axis=a) for a in range(3)] if ndim == 3 else [inside] * 3
    found = [_gradients(cut, mask) for cut, mask in zip(cuts, keep, strict=True)]
    return values + [b for bins, _ in found for b in bins] + [strength for _, strength in found]


def _gradients(cut: Grey, keep: Mask) -> tuple[list[float], float]:
    """Share of the gradient per direction (a half-turn, folded so that mirror images agree), and its mean."""
    gy, gx = np.gradient(cut)
    size = np.hypot(gy, gx)[keep]
    angle = np.abs(np.arctan2(gy, gx)[keep])
    angle = np.minimum(angle, np.pi - angle)  # 0 along the longer axis of the cut … π/2 across
    bins = np.minimum((angle / (np.pi / 2) * N_BINS).astype(int), N_BINS - 1)
    share = np.bincount(bins, size, N_BINS) / max(float(size.sum()), 1e-6)
    return (4 * share).tolist(), 10 * float(size.mean())


# ---- spectra --------------------------------------------------------------------------------


def _spectral_names() -> tuple[str, ...]:
    pairs = [(a, b) for a in range(N_COARSE) for b in range(a + 1, N_COARSE)]
    return (
        *(f"spectrum.{i}" for i in range(N_BANDS)),
        *(f"spread.{i}" for i in range(N_BANDS)),
        *(f"ratio.{a}_{b}" for a, b in pairs),
        *(f"light.{n}" for n in ("mean", "sd", "q05", "q95")),
        *(f"shape.{n}" for n in ("log_diameter_um", "axis_2_of_1", "ellipse_fill", "outline")),
    )


def describe_spectrum(
    cube: Any, mask: Mask, levels: GreyLevels, scale_um: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> npt.NDArray[np.float32]:
    """Descriptor vector of one region of a hyperspectral cube.

    Mean spectrum after the standard normal variate (Barnes et al. 1989), the spread over pixels,
    normalised differences of eight coarse bands, brightness, and the outline.

    Parameters
    ----------
    cube : (band, y, x) of any real dtype
        The region's box, all bands; averaged into ``N_BANDS`` equal groups of bands.
    mask : (1, y, x) or (y, x) bool
        The region.
    levels : GreyLevels
        Of the mean over bands.
    scale_um : tuple of float
        Pixel edges; the first (band) is not used.

    Returns
    -------
    (d,) float32
        Entries as in ``descriptor_names("hsi")``.
    """
    flat = np.asarray(mask, bool).reshape(np.shape(cube)[-2:])
    if not flat.any():
        return np.zeros(len(_spectral_names()), np.float32)
    pixels = np.asarray(cube[:, flat], np.float32)
    bands = _grouped(pixels, N_BANDS)
    light = (bands.mean(axis=0) - levels.air) / levels.range
    mean = bands.mean(axis=1)
    snv = (mean - mean.mean()) / max(float(mean.std()), 1e-6)
    each = (bands - bands.mean(axis=0)) / np.maximum(bands.std(axis=0), 1e-6)
    coarse = np.maximum(_grouped(mean[:, None], N_COARSE)[:, 0], 1e-6)
    first, second = np.triu_indices(N_COARSE, 1)
    ratio = (coarse[first] - coarse[second]) / (coarse[first] + coarse[second])
    brightness = [light.mean(), 5 * light.std(), *np.quantile(light, (0.05, 0.95))]
    values = [*(2 * snv), *(5 * each.std(axis=1)), *(5 * ratio), *brightness, *_outline(flat, scale_um[-1])]
    vector = np.nan_to_num(np.asarray(values, np.float32), nan=0.0, posinf=10.0, neginf=-10.0)
    return np.clip(vector, -50.0, 50.0)


def _grouped(spectra: Grey, n: int) -> Grey:
    """Bands (b, m) averaged into `n` groups (n, m); repeated where there are fewer bands."""
    edges = np.linspace(0, len(spectra), n + 1)
    low = np.minimum(edges[:-1].astype(int), len(spectra) - 1)
    high = np.maximum(low + 1, edges[1:].astype(int))
    sums = np.concatenate([np.zeros((1, spectra.shape[1]), np.float64), np.cumsum(spectra, 0, np.float64)])
    return np.asarray((sums[high] - sums[low]) / (high - low)[:, None], np.float32)


def _outline(mask: Mask, edge_um: float) -> list[float]:
    padded = np.pad(mask, 1)
    n = float(padded.sum())
    _, lengths, _ = _principal(padded)
    radius = (n / np.pi) ** 0.5
    faces = sum(float(np.count_nonzero(np.diff(padded, axis=a))) for a in (0, 1))
    return [
        4 * float(np.log10(2 * radius * edge_um)),
        2 * float(lengths[1] / lengths[0]),
        4 * n / float(np.pi * np.prod(lengths)),
        faces / (2 * np.pi * radius),
    ]
