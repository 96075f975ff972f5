"""The tray of a phantom seen from above by a hyperspectral line scanner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_seedlab.imaging.phantom.dials import ABNORMAL, DEAD

if TYPE_CHECKING:
    from napari_seedlab.imaging.phantom.tray import Phantom

Floats = npt.NDArray[np.float32]

N_BANDS = 60
RANGE_NM = (366.0, 1045.0)
_FULL = 52000.0  # counts of a white reference under the lamp's best band
_DARK = 900.0  # counts with the shutter closed


@dataclass(frozen=True)
class Cube:
    """A hyperspectral scan.

    Attributes
    ----------
    data : (band, y, x) uint16
        Raw counts.
    wavelengths_nm : tuple of float
        Centre of each band.
    instances : (1, y, x) int32
        Seed id that is seen in each pixel, 0 = the tray. Ids as in the phantom.
    white, dark : (band, x) float32
        Counts of the white reference and with the shutter closed; the reflectance is
        ``(data - dark) / (white - dark)``.
    """

    data: npt.NDArray[np.uint16]
    wavelengths_nm: tuple[float, ...]
    instances: npt.NDArray[np.int32]
    white: Floats
    dark: Floats

    def reflectance(self) -> Floats:
        """Calibrated reflectance (band, y, x), about 0-1."""
        span = np.maximum(self.white - self.dark, 1)[:, None]
        return np.asarray((self.data - self.dark[:, None]) / span, np.float32)


def make_twin(phantom: Phantom, n_bands: int = N_BANDS) -> Cube:
    """Look at the seeds of `phantom` from above.

    Spectra are mixtures of a coat pigment, oil (930 nm), water (970 nm) and what the class of the
    seed adds; the height of the bed gives the shading; noise is strongest below 420 nm.

    Parameters
    ----------
    phantom : Phantom
        (z, y, x) with z downwards.
    n_bands : int
        Evenly over 366-1045 nm.

    Returns
    -------
    Cube
        With the rows and columns of the phantom.
    """
    rng = np.random.default_rng([phantom.dials.random_state, 4])
    nm = np.linspace(*RANGE_NM, n_bands)
    seen, height = _from_above(phantom.instances)
    spectra = np.stack(
        [_tray_spectrum(nm), *(_seed_spectrum(nm, phantom, i, rng) for i in range(len(phantom.table)))]
    )
    white, dark = _references(nm, seen.shape[1], rng)
    light = _shading(height, seen) * _texture(seen.shape, rng)
    spots = _spots(phantom, seen, rng)
    stain = _stain_spectrum(nm)
    data = np.empty((n_bands, *seen.shape), np.uint16)
    for band in range(n_bands):
        reflectance = spectra[seen, band] * light
        reflectance *= 1 - spots * np.float32(1 - stain[band])
        counts = reflectance * (white[band] - dark[band]) + dark[band]
        counts += rng.standard_normal(seen.shape, dtype=np.float32) * _noise(counts)
        data[band] = np.clip(counts + 0.5, 0, 65535)
    return Cube(data, tuple(round(float(w), 2) for w in nm), seen[None], white, dark)


def _from_above(instances: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int32], Floats]:
    """Id (y, x) of the uppermost seed, and its height (y, x) over the floor in voxels."""
    solid = instances > 0
    top = solid.argmax(axis=0)
    seen = np.take_along_axis(instances, top[None], axis=0)[0]
    height = np.where(seen > 0, instances.shape[0] - top, 0).astype(np.float32)
    return seen, height


def _step(nm: npt.NDArray[np.float64], centre: float, width: float) -> npt.NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-(nm - centre) / width)))


def _dip(nm: npt.NDArray[np.float64], centre: float, width: float) -> npt.NDArray[np.float64]:
    return np.asarray(np.exp(-(((nm - centre) / width) ** 2)))


def _tray_spectrum(nm: npt.NDArray[np.float64]) -> Floats:
    return np.asarray(0.045 + 0.015 * _step(nm, 820, 60), np.float32)


def _stain_spectrum(nm: npt.NDArray[np.float64]) -> Floats:
    """What a discoloured spot leaves of the light of the coat around it."""
    return np.asarray(0.35 + 0.5 * _step(nm, 780, 60), np.float32)


def _seed_spectrum(
    nm: npt.NDArray[np.float64], phantom: Phantom, row: int, rng: np.random.Generator
) -> Floats:
    """Reflectance (band,) of the coat of one seed."""
    kind, class_id = str(phantom.table.kind[row]), int(phantom.table.class_id[row])
    bright = np.exp(rng.normal(0.0, 0.10))
    edge, oil, water = rng.normal(640, 10), rng.normal(0.09, 0.012), rng.normal(0.11, 0.015)
    green = abs(rng.normal(0.0, 0.02))
    if class_id == ABNORMAL:
        edge, green = edge - 14, green + rng.uniform(0.0, 0.06)
    if class_id == DEAD:
        edge, water, oil = edge + 35, water * 0.45, oil * 0.75
        bright *= 1.12
    if kind == "stone":
        curve = 0.30 + 0.10 * _step(nm, 600, 120)
    elif kind == "stem":
        curve = 0.16 + 0.46 * _step(nm, 530, 60) - 0.05 * _dip(nm, 970, 40)
    elif kind == "weed":
        curve = 0.05 + 0.28 * _step(nm, 760, 35) - 0.05 * _dip(nm, 970, 35)
    else:
        curve = 0.07 + 0.44 * _step(nm, edge, 48) - green * _dip(nm, 676, 22)
        curve -= oil * _dip(nm, 930, 22) + water * _dip(nm, 970, 32)
        if kind == "mould":
            curve += 0.11 * (1 - 0.4 * _step(nm, 700, 80))
    return np.asarray(np.clip(curve * bright, 0.01, 0.95), np.float32)


def _references(nm: npt.NDArray[np.float64], width: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """White and dark frames (band, x): lamp times detector, with uneven and bad columns."""
    lamp = np.clip(0.04 + _dip(nm, 740, 200) * 0.96 - 0.03 * _dip(nm, 930, 20), 0.02, 1.0)
    columns = rng.normal(1.0, 0.008, width)
    bad = rng.choice(width, max(1, width // 128), replace=False)
    columns[bad] *= rng.uniform(0.75, 0.9, len(bad))
    slope = 1 - 0.12 * np.linspace(-1, 1, width) ** 2
    dark = _DARK + rng.normal(0, 12, (len(nm), width))
    return (_FULL * lamp[:, None] * columns * slope + dark).astype(np.float32), dark.astype(np.float32)


def _shading(height: Floats, seen: npt.NDArray[np.int32]) -> Floats:
    """Light (y, x) on a slope under two lamps, left and right of the line, and shadow between seeds."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(height, 1.2)
    dy, dx = np.gradient(smooth)
    facing = 1 / np.sqrt(1 + 0.5 * (dy**2 + dx**2))
    low = np.clip((gaussian_filter(height, 12) - smooth) / 30, 0, 0.4)
    light = np.where(seen > 0, 0.35 + 0.65 * facing, 1.0) * (1 - low)
    return np.asarray(light, np.float32)


def _texture(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    from scipy.ndimage import gaussian_filter

    grain = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 1.0)
    return np.asarray(1 + np.float32(0.1) * grain, np.float32)


def _spots(phantom: Phantom, seen: npt.NDArray[np.int32], rng: np.random.Generator) -> Floats:
    """Share of discoloured coat (y, x): a spot on most abnormal seeds."""
    spots = np.zeros(seen.shape, np.float32)
    table = phantom.table
    for row in np.flatnonzero(table.class_id == ABNORMAL):
        if rng.uniform() < 0.15:
            continue
        y, x = np.nonzero(seen == table.id[row])
        if not len(y):
            continue
        at = rng.integers(len(y))
        size = rng.uniform(0.12, 0.25) * phantom.dials.diameter
        distance = np.hypot(y - y[at], x - x[at])
        spots[y, x] = np.clip((size - distance) / 2 + 0.5, 0, 1) * rng.uniform(0.6, 1.0)
    return spots


def _noise(counts: Floats) -> Floats:
    """Standard deviation of photon and read-out noise, in counts."""
    return np.asarray(np.sqrt(np.maximum(counts, 0) * np.float32(1.6) + np.float32(55.0**2)), np.float32)
