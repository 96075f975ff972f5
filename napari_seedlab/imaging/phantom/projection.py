"""The slow imaging chain: counted projections, filtered back-projection. The check of the fast one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_seedlab.imaging.phantom.dials import Dials

Floats = npt.NDArray[np.float32]

HANN_BLUR = 0.7  # sd of the blur of the reconstruction: the Hann window is the kernel (1, 2, 1) / 4
_BEAM_HARDENING = 0.9  # share of `cupping` that the longest path loses to hardening, fitted
_RING_GAIN = 0.6  # sd of a column error over the ring sd that it leaves, fitted


def project(density: Floats, dials: Dials) -> Floats:
    """Scan each slice of `density` (z, y, x) by a parallel beam and reconstruct it.

    Path lengths are bent by beam hardening, counted with Poisson noise (as a Gaussian of its
    variance, which at these counts is the same) and multiplied by a gain per detector column.

    Returns
    -------
    (z, y, x) float32
        Density as reconstructed.
    """
    planes = [project_slice(plane, z, dials) for z, plane in enumerate(density)]
    return np.stack(planes)


def project_slice(plane: Floats, z: int, dials: Dials) -> Floats:
    """One slice (y, x) of :func:`project`."""
    from skimage.transform import iradon, radon

    side = max(plane.shape)
    square = np.zeros((side, side), np.float32)
    top, left = (side - plane.shape[0]) // 2, (side - plane.shape[1]) // 2
    square[top : top + plane.shape[0], left : left + plane.shape[1]] = plane
    angles = np.arange(dials.n_angles) * 180.0 / dials.n_angles
    paths = radon(square, angles, circle=False)
    paths = _harden(np.asarray(paths, np.float32), dials.cupping)
    paths += _sinogram_noise(paths.shape, z, dials)
    image = iradon(paths, angles, filter_name="hann", circle=False, output_size=side)
    back: Floats = image[top : top + plane.shape[0], left : left + plane.shape[1]].astype(np.float32)
    return back


def _harden(paths: Floats, cupping: float) -> Floats:
    """Long paths look shorter: the second-order polynomial of a two-energy beam."""
    longest = max(float(paths.max()), 1e-6)
    return np.asarray(paths * (1 - _BEAM_HARDENING * cupping * paths / longest), np.float32)


def _sinogram_noise(shape: tuple[int, ...], z: int, dials: Dials) -> Floats:
    """Noise (column, angle) of counting and of the gain of each column.

    The sd is chosen so that the reconstruction has sd ``dials.noise``: back-projection of n angles
    of white noise through a filter H has the variance pi²/(4n²) · n · mean(H²) · interpolation.
    """
    rng = np.random.default_rng([dials.random_state, 5, z])
    columns = np.random.default_rng([dials.random_state, 6])
    sd = dials.noise / reconstruction_gain(shape[0], shape[1])
    noise = rng.normal(0.0, sd, shape)
    noise += columns.normal(0.0, _RING_GAIN * dials.rings, (shape[0], 1))
    return np.asarray(noise, np.float32)


def reconstruction_gain(n_columns: int, n_angles: int) -> float:
    """Sd of the reconstruction over that of white sinogram noise, for a Hann filter.

    The filter is 2|f| under a Hann window, linear interpolation multiplies its power by sinc⁴(f),
    and the sum over n angles is weighted by pi / (2n).
    """
    f = np.fft.fftfreq(max(64, 2 ** int(np.ceil(np.log2(2 * n_columns)))))
    power = (2 * np.abs(f) * (0.5 + 0.5 * np.cos(2 * np.pi * f))) ** 2 * np.sinc(f) ** 4
    return float(np.pi / (2 * n_angles) * np.sqrt(n_angles * power.mean()))
