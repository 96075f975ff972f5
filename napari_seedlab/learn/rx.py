"""Reed-Xiaoli detectors: how far the spectrum of each pixel lies from the others, or from its neighbours.

Reed and Yu 1990, "Adaptive multiple-band CFAR detection of an optical pattern with unknown spectral
distribution", IEEE Trans. Acoust. Speech Signal Process. 38(10). The cube is read in blocks of pixels,
never as a whole, and every sum is kept in float64. What ends in ``_steps`` is a generator: it yields
the share that is done, block by block, so that a job can tell it and stop in between.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import InputError
from napari_seedlab.learn.blocks import all_blocks, blocks, strips, within

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_seedlab.learn.blocks import Doubles, Mask, Sliceable

SHRINKAGE = 1e-8  # share of each band's variance that is added to it: collinear bands stay solvable
FEW = 10  # pixels for each band, below which the covariance is shrunk towards no correlation
CONSTANT = 1e-12  # relative standard deviation below which a band says nothing
OTHER_CUBE = "Choose a cube (band, y, x) with at least two different pixels"


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


def global_rx_steps(cube: Sliceable, mask: Mask | None = None) -> Generator[float, None, ScoreMap]:
    """Squared Mahalanobis distance of each pixel to the mean of all pixels.

    Parameters
    ----------
    cube : (band, y, x)
        Any numbers; read in blocks of pixels.
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
    background = yield from within(background_steps(cube, mask), 0, 0.5)
    scores = yield from within(distance_steps(cube, background), 0.5, 1)
    return ScoreMap(scores.astype(np.float32), background.notes)


def local_rx_steps(
    cube: Sliceable, inner: int, outer: int, n_components: int, mask: Mask | None = None
) -> Generator[float, None, ScoreMap]:
    """Squared Mahalanobis distance of each pixel to its neighbours, on leading principal components.

    The neighbours lie in a square window around the pixel, but not in the smaller one that guards it;
    at an edge the windows are cut. So that few of them suffice, the neighbours are joined by
    `n_components` pixels that behave as the whole scene does.

    Parameters
    ----------
    cube : (band, y, x)
        Any numbers; read in blocks of pixels.
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
        As :func:`global_rx_steps`; or the windows are not odd and nested.
    """
    is_nested = outer % 2 == 1 and (inner == 0 or (inner % 2 == 1 and 0 < inner < outer))
    if not is_nested or outer < 3 or n_components < 1:
        cause = f"inner {inner}, outer {outer} and {n_components} components do not fit"
        raise InputError("windows", cause, "Use odd edges, the inner one smaller, such as 11 and 31")
    background = yield from within(background_steps(cube, mask), 0, 0.2)
    neighbours = np.ones(cube.shape[1:], bool) if mask is None else np.asarray(mask, bool)
    window = Window(outer, inner, pseudo_pixels=n_components)
    steps = local_distance_steps(cube, background, n_components, neighbours, window)
    scores = yield from within(steps, 0.2, 1)
    return ScoreMap(scores.astype(np.float32), background.notes)


def background_steps(cube: Sliceable, mask: Mask | None = None) -> Generator[float, None, Background]:
    """Mean and covariance of the pixels in `mask`, in one pass; blocks are merged after Chan et al. 1983.

    Raises
    ------
    InputError
        As :func:`global_rx_steps`.
    """
    wanted = _checked(cube, mask)
    n_bands = cube.shape[0]
    n, n_left_out = 0, 0
    mean, scatter = np.zeros(n_bands), np.zeros((n_bands, n_bands))
    for place, spectra, is_whole, share in all_blocks(cube):
        n_left_out += int((wanted[place] & ~is_whole).sum())
        pixels = spectra[:, wanted[place] & is_whole]
        m = pixels.shape[1]
        if m:
            own_mean = pixels.mean(axis=1)
            pixels -= own_mean[:, None]
            step = own_mean - mean
            scatter += pixels @ pixels.T + np.outer(step, step) * (n * m / (n + m))
            mean, n = mean + step * (m / (n + m)), n + m
        yield share
    if n < 2:
        raise InputError("cube", f"has {n} usable pixels, at least 2 are needed", OTHER_CUBE)
    covariance = scatter / (n - 1)
    bands = np.flatnonzero(np.sqrt(np.diag(covariance)) > CONSTANT * np.maximum(np.abs(mean), 1e-300))
    if len(bands) == 0:
        raise InputError("cube", f"is constant: all {n:,} pixels are the same", OTHER_CUBE)
    return Background(n, n_left_out, mean, covariance, bands)


def distance_steps(
    cube: Sliceable, background: Background, shrinkage: float | None = None
) -> Generator[float, None, Doubles]:
    """Squared Mahalanobis distance (y, x) of each pixel; 0 where a value is not finite."""
    whitening = background.whitening(shrinkage)
    out = np.zeros(cube.shape[1:])
    for place, spectra, is_whole, share in all_blocks(cube):
        whitened = _projected(spectra, background, whitening)
        out[place] = (whitened * whitened).sum(axis=0) * is_whole
        yield share
    return out


@dataclass(frozen=True)
class Window:
    """Which pixels count as neighbours."""

    outer: int  # edge of the square in pixels, odd
    inner: int = 0  # edge of the guard that is left out, odd; 0 = none
    pseudo_pixels: float = 10.0  # pixels of the whole scene that join them


def local_distance_steps(
    cube: Sliceable, background: Background, n_components: int, neighbours: Mask, window: Window
) -> Generator[float, None, Doubles]:
    """Squared Mahalanobis distance (y, x) of each pixel to the `neighbours` in its window.

    Mean and covariance of the window are taken together with ``window.pseudo_pixels`` of mean 0 and
    unit covariance: in components of the scene, that is the scene itself. Each row of chunks is read
    once; the components of as many rows as the window is high are kept.
    """
    basis = background.components(n_components)
    n_rows, n_columns = cube.shape[1:]
    out, sliding, done = np.zeros((n_rows, n_columns)), _Sliding(window, len(basis), n_columns), 0
    for rows in strips(cube):
        values = np.empty((len(basis), rows.stop - rows.start, n_columns))
        whole = np.empty(values.shape[1:], bool)
        for place, spectra, is_whole, _ in blocks(cube, rows):
            here = (slice(place[0].start - rows.start, place[0].stop - rows.start), place[1])
            values[:, *here] = _projected(spectra, background, basis) * is_whole
            whole[here] = is_whole
            yield done / n_rows
        ready = [(values[:, y], neighbours[rows][y] & whole[y], whole[y]) for y in range(len(whole))]
        if rows.stop == n_rows:
            nothing = np.zeros(n_columns, bool)
            ready += [(np.zeros_like(values[:, 0]), nothing, nothing)] * (window.outer // 2)
        for row in ready:
            scores = sliding.push(*row)
            if scores is not None:
                out[done], done = scores, done + 1
                yield done / n_rows
    return out


class _Sliding:
    """Sums over windows that slide down a scene: rows go in, scores come out half a window later."""

    def __init__(self, window: Window, n_components: int, n_columns: int) -> None:
        self._window, self._pairs = window, np.triu_indices(n_components)
        self._outer = np.zeros((1 + n_components + len(self._pairs[0]), n_columns))
        self._inner = np.zeros_like(self._outer)
        self._rows: deque[tuple[Doubles, Mask, Mask]] = deque(maxlen=window.outer + 1)

    def push(self, values: Doubles, is_neighbour: Mask, is_whole: Mask) -> Doubles | None:
        """Take one row (k, x); give scores (x,) of the row that now has its whole window, if there is one."""
        self._rows.append((values, is_neighbour, is_whole))
        half, guard = self._window.outer // 2, self._window.inner // 2
        self._slide(self._outer, 0, self._window.outer)
        if self._window.inner:
            self._slide(self._inner, half - guard, half + guard + 1)
        if len(self._rows) <= half:
            return None
        sums = _row_sums(self._outer, self._window.outer)
        if self._window.inner:
            sums -= _row_sums(self._inner, self._window.inner)
        own, _, is_whole = self._rows[-1 - half]
        return _row_distances(own, sums, self._pairs, self._window.pseudo_pixels) * is_whole

    def _slide(self, sums: Doubles, entered: int, left: int) -> None:
        """Add the row `entered` rows before the last one, take off the one `left` rows before it."""
        if entered < len(self._rows):
            sums += self._moments(*self._rows[-1 - entered][:2])
        if left < len(self._rows):
            sums -= self._moments(*self._rows[-1 - left][:2])

    def _moments(self, values: Doubles, is_neighbour: Mask) -> Doubles:
        """Number, sums and products of the values (k, x) that count."""
        first, second = self._pairs
        parts = (np.ones((1, values.shape[1])), values, values[first] * values[second])
        return np.concatenate(parts) * is_neighbour


def _row_sums(moments: Doubles, edge: int) -> Doubles:
    """Sums of moments (m, x) over `edge` columns around each, cut at the ends."""
    total = np.pad(np.cumsum(moments, axis=1), ((0, 0), (1, 0)))
    centres = np.arange(moments.shape[1])
    first = np.maximum(centres - edge // 2, 0)
    last = np.minimum(centres + edge // 2 + 1, moments.shape[1])
    return np.asarray(total[:, last] - total[:, first])


def _row_distances(
    values: Doubles, sums: Doubles, pairs: tuple[npt.NDArray[np.intp], ...], pseudo_pixels: float
) -> Doubles:
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


def _projected(spectra: Doubles, background: Background, basis: Doubles) -> Doubles:
    """Spectra (b, y, x) seen through `basis` (k, b_kept): (k, y, x)."""
    pixels = spectra.reshape(len(spectra), -1)[background.bands]
    pixels -= background.mean[background.bands][:, None]
    return np.asarray((basis @ pixels).reshape(len(basis), *spectra.shape[1:]))


def whole_pixel_steps(cube: Sliceable) -> Generator[float, None, Mask]:
    """Pixels (y, x) whose values are all finite."""
    out = np.empty(cube.shape[1:], bool)
    for place, _, is_whole, share in all_blocks(cube):
        out[place] = is_whole
        yield share
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
