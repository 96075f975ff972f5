"""From density to grey values: what a scanner adds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_seedlab.imaging.phantom.dials import Dials

Floats = npt.NDArray[np.float32]


def acquire(density: Floats, dials: Dials) -> npt.NDArray[np.uint8]:
    """Scan `density` (z, y, x) by the chain that the dials name; the array is overwritten.

    Returns
    -------
    (z, y, x) uint8
        Air at ``dials.air_grey``, the flesh of a median seed at ``dials.seed_grey``.
    """
    if dials.chain == "projected":
        from napari_seedlab.imaging.phantom.projection import HANN_BLUR, project

        blur(density, dials, already=HANN_BLUR)
        return to_grey(project(density, dials), dials)
    blur(density, dials)
    return image_chain(density, dials)


def image_chain(density: Floats, dials: Dials) -> npt.NDArray[np.uint8]:
    """Cupping, noise, rings and streaks added slice by slice to a blurred `density` (z, y, x)."""
    grey = np.empty(density.shape, np.uint8)
    artefacts = Artefacts(density.shape[1:], dials)
    for z, plane in enumerate(density):
        grey[z] = to_grey(artefacts.add(plane, z), dials)
    return grey


def to_grey(density: Floats, dials: Dials) -> npt.NDArray[np.uint8]:
    """Map density 0 to ``air_grey`` and 1 to ``seed_grey``, clipped to 8 bits."""
    scale = np.float32(dials.seed_grey - dials.air_grey)
    return np.asarray(np.clip(density * scale + np.float32(dials.air_grey + 0.5), 0, 255), np.uint8)


def blur(density: Floats, dials: Dials, already: float = 0.0) -> None:
    """Focus and detector in place: a Gaussian, and a rim at edges where ``fringe`` is set.

    Parameters
    ----------
    density : (z, y, x) float32
        Overwritten.
    dials : Dials
        Of which `blur` and `fringe` are used.
    already : float
        Sd of the blur within a slice that reconstruction will add.
    """
    from scipy.ndimage import gaussian_filter1d, laplace

    within = max(dials.blur**2 - already**2, 0.0) ** 0.5
    for axis, sd in enumerate((dials.blur, within, within)):
        if sd > 0.1:
            gaussian_filter1d(density, sd, axis=axis, output=density, truncate=3.0)
    if dials.fringe:
        density -= np.float32(dials.fringe) * laplace(density)


def noise_transfer(shape: tuple[int, int]) -> Floats:
    """Amplitude (y, x//2 + 1) of the noise of filtered back-projection over frequency.

    The power of reconstructed white noise is |f| W(f)² with W the apodisation: here a Hann window
    and the linear interpolation between detector columns (Riederer et al. 1978). Scaled to give
    sd 1 from white noise of sd 1.
    """
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    f = np.hypot(fy, fx)
    window = (0.5 + 0.5 * np.cos(2 * np.pi * f)) * (f < 0.5)
    amplitude = np.sqrt(f) * window * np.sinc(f) ** 2
    twice = np.full(amplitude.shape[1], 2.0)
    twice[0] = 1.0
    twice[-1] = 1.0 if shape[1] % 2 == 0 else 2.0
    power = float((amplitude**2 * twice).sum() / (shape[0] * shape[1]))
    return np.asarray(amplitude / np.sqrt(power), np.float32)


class Artefacts:
    """What is the same for all slices (y, x), made once."""

    def __init__(self, shape: tuple[int, ...], dials: Dials) -> None:
        from scipy.fft import next_fast_len

        self.dials = dials
        self.shape = (shape[0], shape[1])
        self.padded = (next_fast_len(shape[0], real=True), next_fast_len(shape[1], real=True))
        self.transfer = noise_transfer(self.padded)
        self.random_state = [dials.random_state, 3]
        rng = np.random.default_rng(self.random_state)
        y, x = (np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2) for n in self.shape)
        radius = np.hypot(y[:, None], x)
        edge = np.float32(max(self.shape) / 2)
        self.gain = 1 - np.float32(dials.cupping) * np.clip(1 - (radius / edge) ** 2, 0, 1)
        self.rings = [_ring_pattern(radius, rng) * np.float32(dials.rings) for _ in range(2)]
        self.streaks = [_streak_pattern(y, x, rng) * np.float32(dials.streaks) for _ in range(2)]

    def add(self, plane: Floats, z: int) -> Floats:
        """One slice (y, x) as it is reconstructed."""
        slow = np.float32(2 * np.pi * z / 170.0)
        fast = np.float32(2 * np.pi * z / 23.0)
        image = plane * self.gain
        image += self.rings[0] + np.sin(slow) * self.rings[1]
        image += np.cos(fast) * self.streaks[0] + np.sin(fast) * self.streaks[1]
        image += np.float32(self.dials.noise) * self._noise(z)
        return np.asarray(image, np.float32)

    def _noise(self, z: int) -> Floats:
        from scipy.fft import irfft2, rfft2

        rng = np.random.default_rng([*self.random_state, z])
        white = rng.standard_normal(self.padded, dtype=np.float32)
        noise = irfft2(rfft2(white) * self.transfer, s=self.padded)
        return np.asarray(noise[: self.shape[0], : self.shape[1]], np.float32)


def _ring_pattern(radius: Floats, rng: np.random.Generator) -> Floats:
    """Rings (y, x) of sd about 1: a gain error per detector column, turned around the middle."""
    n = int(radius.max()) + 3
    column = rng.standard_normal(n)
    column = np.diff(column, prepend=0.0) * (rng.uniform(size=n) < 0.35)
    return np.asarray(np.interp(radius, np.arange(n), column), np.float32)


def _streak_pattern(y: Floats, x: Floats, rng: np.random.Generator) -> Floats:
    """Straight streaks (y, x) of sd about 1 from a few angles."""
    n_angles = 9
    total = np.zeros((len(y), len(x)), np.float32)
    reach = int(np.hypot(len(y), len(x)) / 2) + 2
    for angle in rng.uniform(0, np.pi, n_angles):
        profile = rng.standard_normal(2 * reach)
        at = y[:, None] * np.float32(np.sin(angle)) + x * np.float32(np.cos(angle)) + np.float32(reach)
        total += np.interp(at, np.arange(2 * reach), profile).astype(np.float32)
    return total * np.float32(1.2 / n_angles**0.5)
