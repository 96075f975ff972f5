"""Spectra as vectors: what light a seed sends back, and how much that varies over it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from napari_seedlab.core import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_seedlab.learn.encoders import SeedImage

    Float = npt.NDArray[np.float64]

VERSION = 1  # of the arithmetic
EDGES_NM = np.concatenate([np.arange(350.0, 1000.0, 12.5), np.arange(1000.0, 2501.0, 25.0)])
N_WINDOWS = len(EDGES_NM) - 1
N_FINE = 8  # points of a window


class Spectral:
    """Mean and spread of the spectrum of a seed in fixed windows of wavelength; fulfils ``Encoder``.

    Each pixel's spectrum goes through the standard normal variate (Barnes, Dhanoa & Lister 1989), which
    takes brightness away; then 112 windows from 350 to 2500 nm, the same for every cube, so that cubes of
    different cameras give vectors of the same entries. A window that a cube does not reach is 0. Where
    wavelengths are unknown, the windows are equal shares of the bands.
    """

    name = "spectral"
    key = f"spectral {VERSION}"

    def encode(self, seeds: Sequence[SeedImage]) -> npt.NDArray[np.float32]:
        """Vectors (n, 224) float32: the mean in each window, then the standard deviation over pixels.

        Raises
        ------
        InputError
            A seed is no piece of a cube.
        """
        other = next((s.modality for s in seeds if s.modality != "hsi"), "")
        if other:
            raise _no_spectra(other)
        return np.asarray([self._vector(seed) for seed in seeds], np.float32)

    @staticmethod
    def _vector(seed: SeedImage) -> Float:
        pixels = seed.image[:, seed.mask[0]].astype(np.float64)  # (band, m)
        if not pixels.size:
            return np.zeros(2 * N_WINDOWS)
        spectra = (pixels - pixels.mean(0)) / np.maximum(pixels.std(0), 1e-6)
        found = in_windows(spectra, seed.wavelengths_nm)
        return np.concatenate([found.mean(1), found.std(1)])


def in_windows(spectra: Float, wavelengths_nm: tuple[float, ...] = ()) -> Float:
    """Means (N_WINDOWS, m) in each window of spectra (band, m), straight lines between the bands.

    A window beyond the bands is 0. Without wavelengths the windows are equal shares of the bands, in order.
    """
    n = len(spectra)
    known = (
        len(wavelengths_nm) == n and len(set(wavelengths_nm)) == n and bool(np.isfinite(wavelengths_nm).all())
    )
    return np.asarray(_shares(tuple(wavelengths_nm) if known else (), n) @ spectra)


@lru_cache(16)
def _shares(wavelengths_nm: tuple[float, ...], n: int) -> Float:
    """Weight (N_WINDOWS, n) of each band in each window."""
    at = (np.arange(n) + 0.5) / n * N_WINDOWS  # in windows
    nm = np.asarray(wavelengths_nm) if wavelengths_nm else np.interp(at, np.arange(N_WINDOWS + 1), EDGES_NM)
    order = np.argsort(nm)
    inside = (np.arange(N_FINE) + 0.5) / N_FINE
    fine = (EDGES_NM[:-1, None] + inside * np.diff(EDGES_NM)[:, None]).ravel()
    step = float(np.diff(nm[order]).min()) if n > 1 else 1.0
    reached = (fine >= nm.min() - step / 2) & (fine <= nm.max() + step / 2) if wavelengths_nm else fine > 0
    shares = np.stack([np.interp(fine, nm[order], row[order]) for row in np.eye(n)], 1) * reached[:, None]
    counts = np.maximum(reached.reshape(N_WINDOWS, N_FINE).sum(1), 1)
    return np.asarray(shares.reshape(N_WINDOWS, N_FINE, n).sum(1) / counts[:, None])


def _no_spectra(modality: str) -> InputError:
    what = "volumes" if modality == "ct" else "pictures"
    return InputError("encoder spectral", f"is for cubes; {what} have no spectra", "Choose another encoder")


def spectral_encoder(modality: str) -> Spectral:
    """The encoder ``spectral``; InputError for anything but ``hsi``."""
    if modality != "hsi":
        raise _no_spectra(modality)
    return Spectral()
