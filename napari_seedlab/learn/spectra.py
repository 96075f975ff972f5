"""Spectra as an anomaly network sees them: leading principal components, and made-up odd spectra.

The components are those of all pixels of a pool, each of unit variance: an odd material stands out in them
by how unusual it is, not by how bright.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from napari_seedlab.learn import pasting
from napari_seedlab.learn.pool import Pool
from napari_seedlab.learn.rx import CONSTANT, Background

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from napari_seedlab.learn.pool import Crops

    Doubles = npt.NDArray[np.float64]
    Float = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]
    Region = Callable[[np.random.Generator, Mask, Float], Mask]

N_STEM = 16  # channels to which the network's first layer brings the components
KNEE = 3.0  # standard deviations from which values are compressed: one pixel must not rule a batch
N_OTHERS = 4096  # spectra of the pool that are mixed into others
WHOLE = 0.3  # share of made-up odd seeds that are odd all over
KINDS = (0.6, 0.2, 0.2)  # shares of shifted, mixed and lighter or darker spectra
SHIFT = (4.0, 20.0)  # lengths of a shift, in standard deviations of a component
TRIMMED = 0.05  # share of the pixels of a scene, the oddest by distance, that never count as normal
SHRINKAGE = 1e-4  # of a component's variance, added to it in these refits
ROUNDS = 3  # refits of mean and covariance without them


@dataclass(frozen=True)
class Components:
    """Leading principal components of the spectra of a pool, each of unit variance.

    Attributes
    ----------
    bands : (b_kept,) int
        Bands that are not constant.
    mean : (b_kept,) float64
    basis : (k, b_kept) float64
    """

    bands: npt.NDArray[np.intp]
    mean: Doubles
    basis: Doubles

    @classmethod
    def of(cls, background: Background, n: int) -> Components:
        """The leading `n`, or as many as there are."""
        return cls(background.bands, background.mean[background.bands], background.components(n))

    def __call__(self, pixels: npt.NDArray[np.floating]) -> Float:
        """Components (k, y, x) float32 of spectra (band, y, x)."""
        apart = pixels[self.bands].astype(np.float64) - self.mean[:, None, None]
        return np.tensordot(self.basis, apart, 1).astype(np.float32)

    @property
    def brightness(self) -> Float:
        """What one more unit of light adds to each component of the mean spectrum: (k,)."""
        return np.asarray(self.basis @ self.mean, np.float32)


def merged(backgrounds: Sequence[Background]) -> Background:
    """Mean and covariance of the pixels of several cubes with the same bands."""
    counts = np.asarray([b.n_pixels for b in backgrounds], np.float64)
    means = np.stack([b.mean for b in backgrounds])
    mean = counts @ means / counts.sum()
    apart = means - mean
    scatter = sum((n - 1) * b.covariance for n, b in zip(counts, backgrounds, strict=True))
    covariance = (scatter + (apart * counts[:, None]).T @ apart) / (counts.sum() - 1)
    deviation = np.sqrt(np.diag(covariance))
    bands = np.flatnonzero(deviation > CONSTANT * np.maximum(np.abs(mean), 1e-300))
    left_out = sum(b.n_left_out for b in backgrounds)
    return Background(int(counts.sum()), left_out, mean, covariance, bands)


class SpectraPool(Pool):
    """Crops or tiles of components, shown as they are: the spectrum of a whole seed may be what is odd.

    Parameters
    ----------
    crops : (n, k, y, x) float
        :class:`Components` of pixels.
    masks : (n, y, x) bool
    brightness : (k,) float32
        :attr:`Components.brightness`.
    region : callable
        Draws the cells (y, x) of a made-up defect from random numbers, a mask and its depth map.
    """

    n_stem = N_STEM
    is_fine = True

    def __init__(self, crops: Crops, masks: Mask, brightness: Float, region: Region) -> None:
        super().__init__(crops, masks)
        self._brightness, self._region, self._others = brightness, region, _sampled(crops, masks)

    @property
    def n_channels(self) -> int:
        """Components and their magnitudes."""
        return 2 * int(self.crops.shape[1])

    def pasted(self, rng: np.random.Generator, i: int) -> tuple[Float, Mask]:
        """Crop with one to four odd spots, and where they are."""
        crop, mask = self.crops[i].astype(np.float32), self.masks[i]
        defect = np.zeros(mask.shape, np.bool_)
        for _ in range(rng.integers(1, 5)):
            region = self._region(rng, mask, self._depth(i))
            soft = gaussian_filter(region.astype(np.float32), rng.uniform(0.0, 0.5))
            odd = odd_spectra(rng, crop, self._others, self._brightness)
            crop = np.where(mask, crop * (1 - soft) + odd * soft, crop).astype(np.float32)
            defect |= region
        return crop, defect

    def shown(self, crops: npt.NDArray[np.floating], masks: Mask) -> torch.Tensor:
        """Components, compressed beyond three standard deviations, and their magnitudes; 0 outside.

        With the magnitudes given, a sum tells how far a spectrum lies from the mean in any direction.
        """
        seen = KNEE * np.arcsinh(np.asarray(crops, np.float32) / np.float32(KNEE)) * masks[:, None]
        return torch.from_numpy(np.concatenate([seen, np.abs(seen)], 1))


def usual_pixels(crops: Crops, masks: Mask) -> Mask:
    """Pixels (n, y, x) of `masks` less the twentieth that is farthest from all others of them.

    Mahalanobis distances, mean and covariance refitted without it, as in
    :mod:`napari_seedlab.learn.pixels`: what is odd must not teach what is normal.
    """
    usual = masks
    for _ in range(ROUNDS):
        mean, precision = _usual_distribution(crops, usual)
        apart = np.zeros(masks.shape, np.float32)
        for i, mask in enumerate(masks):
            off = crops[i][:, mask].astype(np.float64) - mean[:, None]
            apart[i, mask] = (off * (precision @ off)).sum(0)
        usual = masks & (apart <= np.quantile(apart[masks], 1 - TRIMMED))
    return usual


def _usual_distribution(crops: Crops, usual: Mask) -> tuple[Doubles, Doubles]:
    """Mean (k,) and inverse covariance (k, k) of components at some pixels; they are near 0 and whitened."""
    k, n = crops.shape[1], max(2, int(usual.sum()))
    total, products = np.zeros(k), np.zeros((k, k))
    for crop, mask in zip(crops, usual, strict=True):
        pixels = crop[:, mask].astype(np.float64)
        total += pixels.sum(1)
        products += pixels @ pixels.T
    mean = total / n
    covariance = products / n - np.outer(mean, mean)
    return mean, np.asarray(np.linalg.inv(covariance + SHRINKAGE * np.eye(k)), np.float64)


def odd_spectra(rng: np.random.Generator, spectra: Float, others: Float, brightness: Float) -> Float:
    """Components (k, y, x) all changed alike: shifted, mixed with one of others (k, n), or lighter."""
    kind = rng.choice(len(KINDS), p=KINDS)
    if kind == 0:
        shift = rng.normal(size=len(spectra))
        shift *= np.exp(rng.uniform(*np.log(SHIFT))) / np.linalg.norm(shift)
        return np.asarray(spectra + shift[:, None, None], np.float32)
    if kind == 1:
        other = others[:, rng.integers(others.shape[1])][:, None, None] * rng.uniform(1, 1.5)
        share = rng.uniform(0.4, 1.0)
        return np.asarray((1 - share) * spectra + share * other, np.float32)
    light = np.exp(rng.choice([-1, 1]) * rng.uniform(0.2, 0.7))
    return np.asarray(light * spectra + (light - 1) * brightness[:, None, None], np.float32)


def _sampled(crops: Crops, masks: Mask) -> Float:
    """Components (k, n) of at most 4096 pixels, spread evenly over all crops."""
    each = max(1, N_OTHERS // max(1, len(crops)))
    parts = []
    for i in np.unique(np.linspace(0, len(crops) - 1, min(len(crops), N_OTHERS)).astype(int)).tolist():
        own = crops[i][:, masks[i]]
        parts.append(
            own[:, np.unique(np.linspace(0, own.shape[1] - 1, each).astype(int))] if own.size else own
        )
    return np.concatenate(parts, 1).astype(np.float32)


def seed_region(rng: np.random.Generator, mask: Mask, depth: Float) -> Mask:
    """Cells of an odd place of a seed, or all of it."""
    if rng.random() < WHOLE:
        return mask
    return pasting.draw_shape(rng, mask, depth)[0]


def scene_region(rng: np.random.Generator, mask: Mask, depth: Float) -> Mask:
    """Pixels (y, x) of a small thing in a scene, from one pixel to seven across."""
    at, half, turn = rng.uniform(0, mask.shape), rng.uniform(0.7, 3.5, 2), rng.uniform(0, np.pi)
    y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
    along = (y - at[0]) * np.cos(turn) + (x - at[1]) * np.sin(turn)
    across = (x - at[1]) * np.cos(turn) - (y - at[0]) * np.sin(turn)
    region = (along / half[0]) ** 2 + (across / half[1]) ** 2 <= 1
    region[tuple(at.astype(int))] = True
    return np.asarray(region & mask)
