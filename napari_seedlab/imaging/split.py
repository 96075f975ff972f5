"""Find the seeds of a scan: threshold, fill, distance, flood.

The markers decide, not the flood: enclosed voids are filled, the distance is smoothed in proportion to the
seeds' radius, and a top counts as a seed only when it rises far enough above the pass to the next one.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import InputError, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

Array = npt.NDArray[Any]
BINS = 512
BINS_THREE = 256
FILL_VOLUME, FILL_PLANE = 0.9, 0.002  # of a seed
LEAST_SHELL = 0.05  # of a seed: smaller hollows of a faint shell are gaps between seeds
TWO_LEVELS = 0.8  # share of variance from which a histogram counts as two levels
SAMPLE = 1 << 22  # voxels looked at for the histogram
MAX_VOXELS = 2**31 - 2


class Volume(Protocol):
    """An array in memory or on disk that gives its planes as numpy arrays."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(z, y, x)."""

    def __getitem__(self, key: Any, /) -> Any:
        """Return voxels."""


@dataclass(frozen=True)
class SplitRecipe:
    """How the seeds of a scan are told apart.

    Attributes
    ----------
    threshold : float, optional
        Grey value that parts seed from surroundings; None = found from the histogram (Otsu 1979).
    n_levels : int
        Grey levels that the histogram is cut into when the threshold is found: 2 = air and seed; 3 = air,
        husk or holder, seed, of which the outermost counts; 0 = decide by the histogram.
    dark_objects : bool
        The objects are darker than their surroundings.
    clip_percentile : float
        Grey values beyond this percentile count as equal to it when the threshold is found, so that a few
        stones or metal parts do not shift it.
    sigma_px : float
        Gaussian on the image before the threshold, in voxels.
    seed_radius : float, optional
        Expected inner radius of a seed, in units of the shortest voxel edge; None = estimated.
    smooth : float
        Gaussian on the distance, as a share of the seed radius.
    h : float
        Least rise of a seed's centre above the pass to its neighbour, as a share of the seed radius.
    h_share : float
        The same as a share of the centre's own distance to the surface.
    fill_voids_fraction : float, optional
        Enclosed voids up to this share of a seed's volume are filled. None = ``FILL_VOLUME`` in a volume,
        where gaps between seeds are hardly ever closed, and ``FILL_PLANE`` in a single plane, where they
        often are.
    shell : float
        Shells of empty seeds in a volume may be fainter than the threshold: what they enclose is looked for
        at this share of the threshold's height above the surroundings; 1 = not looked for.
    min_voxels : int, optional
        Smaller pieces are dropped, or join the neighbour that they touch; None = a share of the expected
        seed.
    spacing : tuple of float
        Voxel edges along z, y, x relative to the shortest.
    """

    threshold: float | None = None
    n_levels: int = 0
    dark_objects: bool = False
    clip_percentile: float = 99.5
    sigma_px: float = 0.0
    seed_radius: float | None = None
    smooth: float = 0.08
    h: float = 0.05
    h_share: float = 0.0
    fill_voids_fraction: float | None = None
    shell: float = 0.6
    min_voxels: int | None = None
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if not 50 < self.clip_percentile <= 100:
            raise InputError(
                "split recipe", f"clip_percentile is {self.clip_percentile}", "Use over 50 to 100"
            )
        if self.n_levels not in (0, 2, 3):
            raise InputError("split recipe", f"n_levels is {self.n_levels}", "Use 0, 2 or 3")
        for name in ("sigma_px", "smooth", "h", "h_share", "fill_voids_fraction", "shell"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1000:
                raise InputError("split recipe", f"{name} is {value}", "Use 0 or more")
        if self.seed_radius is not None and not self.seed_radius > 0:
            raise InputError("split recipe", f"seed_radius is {self.seed_radius}", "Use more than 0, or none")
        if len(self.spacing) != 3 or not all(0 < s < 1e6 for s in self.spacing):
            raise InputError("split recipe", f"spacing is {self.spacing}", "Use three lengths over 0")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON dict."""
        return {**asdict(self), "spacing": list(self.spacing)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SplitRecipe:
        """The recipe of :meth:`to_json`; what is not given keeps its default."""
        unknown = sorted(set(value) - set(cls.__dataclass_fields__))
        if unknown:
            raise InputError("split recipe", f"unknown field {unknown[0]!r}", "Remove it")
        known = dict(value)
        for name, entry in value.items():
            _require_kind(name, entry)
        if "spacing" in known:
            known["spacing"] = tuple(float(s) for s in known["spacing"])
        return cls(**known)


WHOLE, OPTIONAL = (
    ("n_levels", "min_voxels"),
    ("threshold", "seed_radius", "fill_voids_fraction", "min_voxels"),
)


def _require_kind(name: str, value: object) -> None:
    """Raise InputError unless a field of a recipe has the kind of value that it needs."""
    if value is None and name in OPTIONAL:
        return
    if name == "dark_objects":
        fits, wanted = isinstance(value, bool), "true or false"
    elif name == "spacing":
        fits, wanted = isinstance(value, list | tuple) and all(map(_is_number, value)), "a list of numbers"
    elif name in WHOLE:
        fits, wanted = _is_number(value) and isinstance(value, int), "a whole number"
    else:
        fits, wanted = _is_number(value), "a number"
    if not fits:
        remedy = f"Use {wanted}" + (" or null" if name in OPTIONAL else "")
        raise InputError("split recipe", f"{name} is {str(value)[:40]!r}", remedy)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Split:
    """Result of :func:`split_steps`.

    Attributes
    ----------
    labels : (z, y, x) int32
        0 = none, 1..n by position.
    n : int
    threshold : float
        Grey value that was used.
    seed_radius : float
        Expected seed radius that was used, in units of the shortest voxel edge.
    """

    labels: npt.NDArray[np.int32]
    n: int
    threshold: float
    seed_radius: float


def foreground_threshold(volume: Volume, recipe: SplitRecipe) -> float:
    """Grey value that parts seeds from surroundings.

    Parameters
    ----------
    volume : (z, y, x) array
        Any number type, grey values in its own unit; up to 4 M voxels of it are looked at.
    recipe : SplitRecipe
        Its threshold, levels and clip count.

    Returns
    -------
    float
        ``recipe.threshold`` if given. Otherwise Otsu's threshold (two or three levels) of the clipped
        histogram. Seeds are what lies above it (below it for dark objects).
    """
    if recipe.threshold is not None:
        return float(recipe.threshold)
    values = _sample(volume)
    if recipe.dark_objects:
        values = -values
    t = _threshold_of(values, recipe)
    return -t if recipe.dark_objects else t


def _threshold_of(values: npt.NDArray[np.float32], recipe: SplitRecipe) -> float:
    low, high = float(values.min()), float(values.max())
    if not low < high:
        raise InputError("image", f"every voxel is {low:g}", "Choose another scan, or give a threshold")
    inside = values[values > low]
    if recipe.n_levels == 0 and _is_masked(values, inside):
        t, parted = _two_levels(np.minimum(inside, np.percentile(inside, recipe.clip_percentile)))
        return t if parted >= TWO_LEVELS else _two_levels(values)[0]
    clipped = np.minimum(values, np.percentile(values, recipe.clip_percentile))
    if recipe.n_levels == 3:
        counts, edges = np.histogram(clipped, BINS_THREE)
        return float(edges[_otsu_three(counts / counts.sum())[1] + 1])
    t, parted = _two_levels(clipped)
    whole, parted_whole = _two_levels(values)
    return t if parted >= min(TWO_LEVELS, parted_whole) else whole


def _is_masked(values: Array, inside: Array) -> bool:
    """Whether the background was set to one value: many voxels have it, and next to none lies just above."""
    low, high = float(values.min()), float(np.percentile(inside, 99))
    near = np.count_nonzero(inside < low + 0.02 * (high - low))
    n_low = values.size - inside.size
    return bool(n_low > 0.05 * values.size and near < 0.001 * n_low)


def _sample(volume: Volume) -> npt.NDArray[np.float32]:
    n_z, n_y, n_x = volume.shape
    step = max(1, round((n_z * n_y * n_x / SAMPLE) ** (1 / 3)))
    zs = range(0, n_z, step)
    values = np.concatenate(
        [np.asarray(volume[z])[::step, ::step].astype(np.float32).reshape(-1) for z in zs]
    )
    finite: npt.NDArray[np.float32] = values[np.isfinite(values)]
    if not finite.size:
        raise InputError("image", "holds no finite value", "Choose another scan")
    return finite


def _two_levels(values: Array) -> tuple[float, float]:
    """Otsu's threshold, and the share of variance that it explains (0.64 for one normal mode, 1 for two)."""
    if not float(values.min()) < float(values.max()):
        return float(values.min()), 0.0
    counts, edges = np.histogram(values, BINS)
    p, bins = counts / counts.sum(), np.arange(BINS)
    w, m = np.cumsum(p)[:-1], np.cumsum(p * bins)[:-1]
    mean = float((p * bins).sum())
    side = w * (1 - w)
    between = np.divide(np.square(mean * w - m), side, out=np.zeros_like(w), where=side > 1e-12)
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    k = int(best[best.size // 2])  # amid an empty stretch of the histogram
    return float(edges[k + 1]), float(between[k] / (p * np.square(bins - mean)).sum())


def _otsu_three(p: Array) -> tuple[int, int]:
    # Liao, Chen & Chung 2001: sum of squared first moments over masses, for all pairs of cuts.
    w = np.concatenate([[0.0], np.cumsum(p)])
    m = np.concatenate([[0.0], np.cumsum(p * np.arange(p.size))])
    a, b = np.triu_indices(p.size - 1, 1)
    score = np.zeros(a.size)
    for lo, hi in ((np.zeros_like(a), a + 1), (a + 1, b + 1), (b + 1, np.full_like(b, p.size))):
        mass, moment = w[hi] - w[lo], m[hi] - m[lo]
        score += np.divide(np.square(moment), mass, out=np.zeros_like(score), where=mass > 1e-12)
    best = int(np.argmax(score))
    return int(a[best]), int(b[best])


def split_steps(volume: Volume, recipe: SplitRecipe) -> Generator[Progress, None, Split]:
    """Split `volume` into seeds; see :func:`split`. Yields between steps; closing it cancels."""
    n_z, n_y, n_x = volume.shape
    if n_z * n_y * n_x > MAX_VOXELS:
        raise InputError(
            "image", f"has {n_z * n_y * n_x:,} voxels", f"Use at most {MAX_VOXELS:,}: a coarser level"
        )
    if min(volume.shape) < 1:
        raise InputError("image", f"has shape {tuple(volume.shape)}", "Choose another scan")
    from napari_seedlab.imaging import flood

    threshold = foreground_threshold(volume, recipe)
    yield Progress(5, 100, f"threshold {threshold:g}")
    mask = yield from _counted(_foreground(volume, threshold, recipe), 5, 20, "foreground")
    radius = recipe.seed_radius or (yield from _counted(_coarse_radius(mask, recipe), 20, 25, "seed size"))
    ball = _ball_voxels(radius, recipe, n_z == 1)
    largest = _fill_share(recipe, n_z == 1) * ball
    yield from _counted(flood.fill_voids(mask, (0, largest)), 25, 30, "voids")
    if recipe.shell < 1 and n_z > 1:
        yield from _counted(
            _fill_shells(volume, mask, threshold, recipe, (LEAST_SHELL * ball, largest)), 30, 35, "shells"
        )
    height, found = yield from _counted(flood.distance(mask, recipe.spacing), 35, 50, "distance")
    radius = recipe.seed_radius or found
    ball = _ball_voxels(radius, recipe, n_z == 1)
    s = recipe.smooth * radius
    sigma = (s / recipe.spacing[0], s / recipe.spacing[1], s / recipe.spacing[2])
    yield from _counted(flood.blur(height, mask, sigma), 50, 60, "smoothing")
    del mask
    basins = yield from _counted(flood.ascend(height), 60, 92, "flood")
    del height
    least = float(recipe.min_voxels) if recipe.min_voxels is not None else 0.03 * ball
    root = flood.merge(basins, recipe.h * radius, recipe.h_share)
    root = flood.absorb(basins, root, least)
    n = yield from _counted(flood.number(basins, root, least), 92, 100, "numbering")
    return Split(basins.labels, n, threshold, radius)


def split(
    volume: Volume, recipe: SplitRecipe | None = None, progress: Callable[[float, str], None] | None = None
) -> npt.NDArray[np.int32]:
    """Split a volume into seeds.

    Parameters
    ----------
    volume : (z, y, x) array
        Grey values of any number type; z = 1 for a plain image. Read plane by plane, so it may lie on disk.
    recipe : SplitRecipe, optional
        The default one behaves on trays, spikes and tubes.
    progress : callable, optional
        Called with the share done (0-1) and a word between two steps; an exception that it raises cancels.

    Returns
    -------
    (z, y, x) int32
        0 = none, 1..n in raster order of the seeds' centres.

    Examples
    --------
    >>> import numpy as np
    >>> z, y, x = np.ogrid[:20, :20, :40]
    >>> balls = ((z - 10) ** 2 + (y - 10) ** 2 + (x % 20 - 10) ** 2 < 100).astype(np.uint8)
    >>> int(split(balls).max())
    2
    """
    steps = split_steps(volume, recipe or SplitRecipe())
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result: Split = end.value
            return result.labels
        if progress is not None:
            progress(step.done / step.total, step.message)


def _counted(
    steps: Generator[None, None, Any], first: int, last: int, message: str
) -> Generator[Progress, None, Any]:
    # Number of steps is not known beforehand: approach `last` ever more slowly.
    for k in itertools.count():
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        yield Progress(int(last - (last - first) * 0.95**k), 100, message)


def _foreground(volume: Volume, threshold: float, recipe: SplitRecipe) -> Generator[None, None, Array]:
    n_z, n_y, n_x = volume.shape
    mask = np.empty((n_z, n_y, n_x), np.uint8)
    step = max(1, (1 << 22) // (n_y * n_x))
    for z in range(0, n_z, step):
        last = min(z + step, n_z)
        mask[z:last] = _over(_smooth_slab(volume, z, last, recipe.sigma_px), threshold, recipe.dark_objects)
        yield
    return mask


def _fill_shells(
    volume: Volume, mask: Array, threshold: float, recipe: SplitRecipe, limits: tuple[float, float]
) -> Generator[None, None, int]:
    """Fill what a lower threshold finds enclosed."""
    from napari_seedlab.imaging import flood

    values = _sample(volume)
    outside = values > threshold if recipe.dark_objects else values <= threshold
    around = float(np.median(values[outside])) if outside.any() else threshold
    shell = yield from _foreground(volume, around + recipe.shell * (threshold - around), recipe)
    return (yield from flood.fill_voids(shell, limits, mask))


def _over(values: Array, threshold: float, dark: bool) -> npt.NDArray[np.bool_]:
    over: npt.NDArray[np.bool_] = values < threshold if dark else values > threshold
    return over


def _smooth_slab(volume: Volume, first: int, last: int, sigma: float) -> Array:
    if sigma <= 0:
        return np.asarray(volume[first:last])
    from scipy.ndimage import gaussian_filter

    halo = int(3 * sigma + 0.5) if volume.shape[0] > 1 else 0
    lo, hi = max(0, first - halo), min(volume.shape[0], last + halo)
    slab = np.asarray(volume[lo:hi]).astype(np.float32)
    along_z = sigma if volume.shape[0] > 1 else 0.0
    smooth: Array = gaussian_filter(slab, (along_z, sigma, sigma), truncate=3.0)[first - lo : last - lo]
    return smooth


def _coarse_radius(mask: Array, recipe: SplitRecipe) -> Generator[None, None, float]:
    """Seed radius from every k-th voxel, or from all of them when the seeds are small."""
    from napari_seedlab.imaging import flood

    k = max(1, round((mask.size / 2e6) ** (1 / (2 if mask.shape[0] == 1 else 3))))
    kz = 1 if mask.shape[0] == 1 else k
    coarse = np.ascontiguousarray(mask[::kz, ::k, ::k])
    sz, sy, sx = recipe.spacing
    _, radius = yield from flood.distance(coarse, (sz * kz, sy * k, sx * k))
    if k > 1 and radius < 4 * k:
        _, radius = yield from flood.distance(mask, recipe.spacing)
    return radius


def _fill_share(recipe: SplitRecipe, flat: bool) -> float:
    if recipe.fill_voids_fraction is not None:
        return recipe.fill_voids_fraction
    return FILL_PLANE if flat else FILL_VOLUME


def _ball_voxels(radius: float, recipe: SplitRecipe, flat: bool) -> float:
    sz, sy, sx = recipe.spacing
    if flat:
        return float(np.pi * radius**2 / (sy * sx))
    return float(4 / 3 * np.pi * radius**3 / (sz * sy * sx))


def preview(plane: Array, recipe: SplitRecipe, threshold: float | None = None) -> npt.NDArray[np.bool_]:
    """Show which pixels of one plane the recipe takes for seed.

    Parameters
    ----------
    plane : (y, x) array
        One plane of the scan.
    recipe : SplitRecipe
        Its threshold, smoothing and direction count.
    threshold : float, optional
        Threshold of the whole scan, where it is known; otherwise the plane's own.

    Returns
    -------
    (y, x) bool
    """
    volume = np.asarray(plane)[None]
    known = recipe.threshold if threshold is None else threshold
    t = foreground_threshold(volume, replace(recipe, threshold=known))
    shown: npt.NDArray[np.bool_] = _over(_smooth_slab(volume, 0, 1, recipe.sigma_px), t, recipe.dark_objects)[
        0
    ]
    return shown


def warm_up() -> None:
    """Compile what splitting and counting need, or load it from disk: seconds once, then well under one."""
    from napari_seedlab.imaging.regions import match_regions, region_statistics

    z, y, x = np.ogrid[:24, :24, :24]
    ball = np.square(z - 12) + np.square(y - 12) + np.square(x - 12) < 80
    labels = split(ball.astype(np.uint8))
    for grey in (np.uint8, np.uint16, np.float32):
        region_statistics(labels, labels.astype(grey))
    match_regions(labels, labels)
