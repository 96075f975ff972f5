"""Reed-Xiaoli detectors: how far the spectrum of each pixel lies from the others, or from its neighbours.

Reed and Yu 1990, "Adaptive multiple-band CFAR detection of an optical pattern with unknown spectral
distribution", IEEE Trans. Acoust. Speech Signal Process. 38(10). The cube is read in blocks of rows,
never as a whole, and every sum is kept in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

BLOCK_BYTES = 32 * 2**20  # of spectra in float64 that are in memory at once
MOMENT_BYTES = 32 * 2**20  # of the sums over windows
SHRINKAGE = 1e-8  # share of each band's variance that is added to it: collinear bands stay solvable
FEW = 10  # pixels for each band, below which the covariance is shrunk towards no correlation
CONSTANT = 1e-12  # relative standard deviation below which a band says nothing
OTHER_CUBE = "Choose a cube (band, y, x) with at least two different pixels"


class Sliceable(Protocol):
    """An array, or anything stored that is cut like one, such as `napari_seedlab.files.LazyArray`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths (band, y, x)."""

    def __getitem__(self, index: Any, /) -> Any:
        """A cut of it."""


class ScoreMap(NamedTuple):
    """What a detector says.

    Attributes
    ----------
    scores : (y, x) float32
        Larger is odder.
    notes : tuple of str
        What was left out or assumed, one line each.
    """

    scores: npt.NDArray[np.float32]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Background:
    """Mean and covariance of pixels.

    Attributes
    ----------
    n_pixels : int
    n_left_out : int
        Pixels with a NaN or infinite value.
    mean : (b,) float64
    covariance : (b, b) float64
    bands : (b_kept,) int
        Bands that are not constant; the only ones that are looked at.
    """

    n_pixels: int
    n_left_out: int
    mean: Doubles
    covariance: Doubles
    bands: npt.NDArray[np.intp]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, one line each."""
        n_constant = len(self.mean) - len(self.bands)
        lines = []
        if n_constant:
            lines.append(f"{n_constant} of {len(self.mean)} bands are constant and were left out")
        if self.n_left_out:
            lines.append(f"{self.n_left_out:,} pixels with NaN or infinite values were left out")
        if self.n_pixels < FEW * len(self.bands):
            cause = f"{self.n_pixels:,} pixels are few for {len(self.bands)} bands"
            lines.append(f"{cause}: the covariance is shrunk by {100 * self.shrinkage():.2g} %")
        return tuple(lines)

    def shrinkage(self) -> float:
        """Weight of the variances alone against the covariance.

        That of few pixels is the oracle-approximating one of Chen, Wiesel, Eldar and Hero 2010,
        "Shrinkage algorithms for MMSE covariance estimation", eq. 23, of standardised bands.
        """
        p, n = len(self.bands), self.n_pixels
        if n >= FEW * p:
            return SHRINKAGE
        trace = float((self._correlation() ** 2).sum())
        excess = (n + 1 - 2 / p) * (trace - p)
        share = ((1 - 2 / p) * trace + p * p) / excess if excess > 0 else 1.0
        return float(np.clip(share, SHRINKAGE, 1.0))

    def _correlation(self) -> Doubles:
        kept = self.covariance[np.ix_(self.bands, self.bands)]
        spread = np.sqrt(np.diag(kept))
        return np.asarray(kept / spread / spread[:, None])

    def whitening(self, shrinkage: float | None = None) -> Doubles:
        """W (b_kept, b_kept) such that ‖W (x − mean)‖² is the squared Mahalanobis distance.

        Parameters
        ----------
        shrinkage : float, optional
            Share of each band's variance that is added to it; by default :meth:`shrinkage`.
        """
        share = self.shrinkage() if shrinkage is None else shrinkage
        loaded = (1 - share) * self._correlation() + share * np.eye(len(self.bands))
        spread = np.sqrt(np.diag(self.covariance)[self.bands])
        return np.asarray(np.linalg.inv(np.linalg.cholesky(loaded)) / spread)

    def components(self, n: int) -> Doubles:
        """Basis (k, b_kept) of the leading `n` principal components, each of unit variance; k ≤ n."""
        variances, basis = np.linalg.eigh(self.covariance[np.ix_(self.bands, self.bands)])
        leading = np.argsort(variances)[::-1][:n]
        leading = leading[variances[leading] > variances[leading[0]] * CONSTANT]
        return np.asarray(basis[:, leading].T / np.sqrt(variances[leading])[:, None])


def global_rx(cube: Sliceable, mask: Mask | None = None) -> ScoreMap:
    """Squared Mahalanobis distance of each pixel to the mean of all pixels.

    Parameters
    ----------
    cube : (band, y, x)
        Any numbers; read in blocks of rows.
    mask : (y, x) bool, optional
        Pixels that mean and covariance are taken of; every pixel gets a score.

    Returns
    -------
    ScoreMap
        Pixels with NaN or infinite values score 0.

    Raises
    ------
    InputError
        The cube is not 3-D, the mask is on another grid, or all pixels are the same.
    """
    background = background_of(cube, mask)
    return ScoreMap(distances(cube, background).astype(np.float32), background.notes)


def local_rx(
    cube: Sliceable, inner: int, outer: int, n_components: int, mask: Mask | None = None
) -> ScoreMap:
    """Squared Mahalanobis distance of each pixel to its neighbours, on leading principal components.

    The neighbours lie in a square window around the pixel, but not in the smaller one that guards it;
    at an edge the windows are cut. So that few of them suffice, the neighbours are joined by
    `n_components` pixels that behave as the whole scene does.

    Parameters
    ----------
    cube : (band, y, x)
        Any numbers; read in blocks of rows.
    inner, outer : int
        Edges of the windows in pixels, odd; `inner` 0 means no guard.
    n_components : int
        Leading components that are looked at.
    mask : (y, x) bool, optional
        Pixels that may be neighbours; every pixel gets a score.

    Returns
    -------
    ScoreMap
        Pixels with NaN or infinite values score 0.

    Raises
    ------
    InputError
        As :func:`global_rx`; or the windows are not odd and nested.
    """
    is_nested = outer % 2 == 1 and (inner == 0 or (inner % 2 == 1 and 0 < inner < outer))
    if not is_nested or outer < 3 or n_components < 1:
        cause = f"inner {inner}, outer {outer} and {n_components} components do not fit"
        raise InputError("windows", cause, "Use odd edges, the inner one smaller, such as 11 and 31")
    background = background_of(cube, mask)
    neighbours = np.ones(cube.shape[1:], bool) if mask is None else np.asarray(mask, bool)
    window = Window(outer, inner, pseudo_pixels=n_components)
    scores = local_distances(cube, background, n_components, neighbours, window)
    return ScoreMap(scores.astype(np.float32), background.notes)


def background_of(cube: Sliceable, mask: Mask | None = None) -> Background:
    """Mean and covariance of the pixels in `mask`, in one pass; blocks are merged after Chan et al. 1983.

    Raises
    ------
    InputError
        As :func:`global_rx`.
    """
    wanted = _checked(cube, mask)
    n_bands = cube.shape[0]
    n, n_left_out = 0, 0
    mean, scatter = np.zeros(n_bands), np.zeros((n_bands, n_bands))
    for rows, block, is_whole in row_blocks(cube, 0, cube.shape[1]):
        n_left_out += int((wanted[rows] & ~is_whole).sum())
        pixels = block[:, wanted[rows] & is_whole]
        m = pixels.shape[1]
        if m == 0:
            continue
        own_mean = pixels.mean(axis=1)
        pixels -= own_mean[:, None]
        step = own_mean - mean
        scatter += pixels @ pixels.T + np.outer(step, step) * (n * m / (n + m))
        mean, n = mean + step * (m / (n + m)), n + m
    if n < 2:
        raise InputError("cube", f"has {n} usable pixels, at least 2 are needed", OTHER_CUBE)
    covariance = scatter / (n - 1)
    bands = np.flatnonzero(np.sqrt(np.diag(covariance)) > CONSTANT * np.maximum(np.abs(mean), 1e-300))
    if len(bands) == 0:
        raise InputError("cube", f"is constant: all {n:,} pixels are the same", OTHER_CUBE)
    return Background(n, n_left_out, mean, covariance, bands)


def distances(cube: Sliceable, background: Background, shrinkage: float | None = None) -> Doubles:
    """Squared Mahalanobis distance (y, x) of each pixel; 0 where a value is not finite."""
    whitening = background.whitening(shrinkage)
    out = np.zeros(cube.shape[1:])
    for rows, whitened, is_whole in _projected(cube, background, whitening, (0, cube.shape[1])):
        out[rows] = np.where(is_whole, (whitened * whitened).sum(axis=0), 0.0)
    return out


@dataclass(frozen=True)
class Window:
    """Which pixels count as neighbours."""

    outer: int  # edge of the square in pixels, odd
    inner: int = 0  # edge of the guard that is left out, odd; 0 = none
    pseudo_pixels: float = 10.0  # pixels of the whole scene that join them


def local_distances(
    cube: Sliceable, background: Background, n_components: int, neighbours: Mask, window: Window
) -> Doubles:
    """Squared Mahalanobis distance (y, x) of each pixel to the `neighbours` in its window.

    Mean and covariance of the window are taken together with ``window.pseudo_pixels`` of mean 0 and
    unit covariance: in components of the scene, that is the scene itself.
    """
    basis = background.components(n_components)
    k, n_rows, n_columns = len(basis), *cube.shape[1:]
    pairs = np.triu_indices(k)
    half, row_bytes = window.outer // 2, 8 * n_columns * (1 + k + len(pairs[0]))
    step = max(window.outer, MOMENT_BYTES // row_bytes - 2 * half)
    out = np.zeros((n_rows, n_columns))
    for start in range(0, n_rows, step):
        stop = min(start + step, n_rows)
        low, high = max(0, start - half), min(n_rows, stop + half)
        values, is_whole = _values(cube, background, basis, (low, high))
        moments = np.concatenate(
            [np.ones((1, *values.shape[1:])), values, values[pairs[0]] * values[pairs[1]]]
        )
        moments *= neighbours[low:high] & is_whole
        cut = slice(start - low, stop - low)
        sums = _box_sums(moments, window.outer, cut)
        if window.inner:
            sums -= _box_sums(moments, window.inner, cut)
        for y in range(stop - start):
            out[start + y] = _row_distances(values[:, cut][:, y], sums[:, y], pairs, window.pseudo_pixels)
        out[start:stop] *= is_whole[cut]
    return out


def _row_distances(values: Doubles, sums: Doubles, pairs: tuple[Any, Any], pseudo_pixels: float) -> Doubles:
    """Distances (x,) of one row of values (k, x) to windows with these sums (1 + k + pairs, x)."""
    k = len(values)
    n = sums[0] + pseudo_pixels
    mean = sums[1 : k + 1] / n
    second = np.empty((values.shape[1], k, k))
    second[:, pairs[0], pairs[1]] = second[:, pairs[1], pairs[0]] = (sums[k + 1 :] / n).T
    second[:, range(k), range(k)] += (pseudo_pixels / n)[:, None]
    covariance = second - mean.T[:, :, None] * mean.T[:, None, :]
    apart = (values - mean).T[:, :, None]
    return np.asarray((apart * np.linalg.solve(covariance, apart)).sum(axis=(1, 2)))


def _box_sums(moments: Doubles, edge: int, rows: slice) -> Doubles:
    """Sums of moments (m, y, x) over squares around the pixels of `rows`, cut at the edges."""
    out = moments
    for axis, wanted in ((1, range(moments.shape[1])[rows]), (2, range(moments.shape[2]))):
        total = np.cumsum(out, axis=axis)
        total = np.concatenate([np.zeros_like(total.take([0], axis)), total], axis=axis)
        centres = np.asarray(wanted)
        first = np.maximum(centres - edge // 2, 0)
        last = np.minimum(centres + edge // 2 + 1, moments.shape[axis])
        out = total.take(last, axis) - total.take(first, axis)
    return out


def _values(
    cube: Sliceable, background: Background, basis: Doubles, span: tuple[int, int]
) -> tuple[Doubles, Mask]:
    """Components (k, rows, x) of the rows in `span`, and which pixels (rows, x) are whole."""
    n_rows, n_columns = span[1] - span[0], cube.shape[2]
    values, is_whole = np.empty((len(basis), n_rows, n_columns)), np.empty((n_rows, n_columns), bool)
    for rows, block, whole in _projected(cube, background, basis, span):
        here = slice(rows.start - span[0], rows.stop - span[0])
        values[:, here], is_whole[here] = block, whole
    return values, is_whole


def _projected(
    cube: Sliceable, background: Background, basis: Doubles, span: tuple[int, int]
) -> Iterator[tuple[slice, Doubles, Mask]]:
    """Blocks of rows seen through `basis` (k, b_kept): values (k, rows, x), 0 where not whole."""
    mean = background.mean[background.bands]
    for rows, block, is_whole in row_blocks(cube, *span):
        pixels = block.reshape(len(block), -1)[background.bands]
        pixels -= mean[:, None]
        yield rows, (basis @ pixels).reshape(len(basis), *block.shape[1:]) * is_whole, is_whole


def row_blocks(cube: Sliceable, start: int, stop: int) -> Iterator[tuple[slice, Doubles, Mask]]:
    """Blocks of rows: where, spectra (b, rows, x) float64 with 0 for what is not finite, whole pixels."""
    n_bands, _, n_columns = cube.shape
    step = max(1, BLOCK_BYTES // (8 * n_bands * n_columns))
    for low in range(start, stop, step):
        rows = slice(low, min(low + step, stop))
        block = np.array(cube[:, rows], np.float64)
        is_finite = np.isfinite(block)
        block[~is_finite] = 0.0
        yield rows, block, np.asarray(is_finite.all(axis=0))


def whole_pixels(cube: Sliceable) -> Mask:
    """Pixels (y, x) whose values are all finite."""
    out = np.empty(cube.shape[1:], bool)
    for rows, _, is_whole in row_blocks(cube, 0, cube.shape[1]):
        out[rows] = is_whole
    return out


def _checked(cube: Sliceable, mask: Mask | None) -> Mask:
    if len(cube.shape) != 3 or 0 in cube.shape:
        raise InputError("cube", f"has shape {cube.shape}, (band, y, x) is needed", OTHER_CUBE)
    if mask is None:
        return np.ones(cube.shape[1:], bool)
    if np.shape(mask) != tuple(cube.shape[1:]):
        cause = f"has shape {np.shape(mask)}, the pixels {tuple(cube.shape[1:])}"
        raise InputError("mask", cause, "Use the mask made for this cube")
    return np.asarray(mask, bool)
