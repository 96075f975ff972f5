"""A first look at a hyperspectral cube: three bands as colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.files import open_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_seedlab.files import ArraySource

RGB_NM = (640.0, 550.0, 460.0)
REACH_NM = 40.0  # a band farther from its colour does not stand for it
CLIP_PERCENT = (1.0, 99.0)


def colour_bands(n_bands: int, wavelengths_nm: Sequence[float] | None) -> tuple[int, int, int]:
    """Bands shown as red, green and blue: nearest 640, 550, 460 nm, else the last, middle and first.

    Examples
    --------
    >>> colour_bands(5, [400, 470, 540, 610, 680])
    (3, 2, 1)
    >>> colour_bands(5, None)
    (4, 2, 0)
    """
    if wavelengths_nm is not None:
        distances = np.abs(np.asarray(wavelengths_nm, np.float64)[:, None] - RGB_NM)
        bands = distances.argmin(0)
        if len(set(bands)) == 3 and distances.min(0).max() <= REACH_NM:
            return (int(bands[0]), int(bands[1]), int(bands[2]))
    return (n_bands - 1, n_bands // 2, 0)


def composite(
    source: ArraySource, wavelengths_nm: Sequence[float] | None
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """False-colour picture of a cube.

    Parameters
    ----------
    source : ArraySource
        A cube (band, y, x).
    wavelengths_nm : sequence of float, optional
        Band centres in nm.

    Returns
    -------
    (y, x, 3) uint8
        Each band stretched from its 1st to its 99th percentile of finite values.
    """
    array = open_array(source)
    bands = colour_bands(array.shape[0], wavelengths_nm)
    return np.stack([stretch(array[band]) for band in bands], axis=-1)


def stretch(band: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A band (y, x) as uint8 0-255 between its percentiles; what is not finite becomes 0."""
    values = band.astype(np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(band.shape, np.uint8)
    low, high = np.percentile(values[finite], CLIP_PERCENT)
    scaled = (np.where(finite, values, low) - low) / max(float(high - low), 1e-12)
    return np.asarray(np.rint(np.clip(scaled, 0, 1) * 255), np.uint8)
