"""The phantom is as hard as real scans of seeds: figures of barley and cement, and plain methods."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from napari_seedlab.imaging.phantom import DEFAULT_TRAY, make_tray, projection, tray_dials
from napari_seedlab.imaging.phantom import chain as imaging_chain

STATES = (0, 1, 2, 3, 4)


@cache
def tray_of(random_state):
    return make_tray(DEFAULT_TRAY.replace(random_state=random_state))


@cache
def solid_of(random_state):
    from skimage.filters import threshold_otsu

    volume = tray_of(random_state).volume
    return volume > threshold_otsu(volume)


def median_radius(tray):
    return (np.median(tray.table.n_voxels) * 3 / 4 / np.pi) ** (1 / 3)


def f1_score(truth, found):
    """F1 of parts that overlap one seed with IoU > 0.5."""
    n_true, n_found = int(truth.max()), int(found.max())
    pairs = np.bincount((truth.astype(np.int64) * (n_found + 1) + found).ravel())
    shared = np.zeros((n_true + 1) * (n_found + 1))
    shared[: len(pairs)] = pairs
    shared = shared.reshape(n_true + 1, n_found + 1)
    union = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0) - shared
    hits = int((shared[1:, 1:] > 0.5 * union[1:, 1:]).sum())
    return 2 * hits / (n_true + n_found)


def plain_watershed(solid, radius):
    from skimage.feature import peak_local_max
    from skimage.segmentation import watershed

    depth = ndimage.distance_transform_edt(solid)
    peaks = peak_local_max(
        depth, min_distance=round(0.5 * radius), labels=solid.astype(int), exclude_border=False
    )
    markers = np.zeros(solid.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-depth, markers, mask=solid)


def good_watershed(solid, radius):
    """Voids filled, smoothed distance, h-maxima as markers."""
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    holes, _ = ndimage.label(~solid)
    small = np.bincount(holes.ravel()) < 4 / 3 * np.pi * radius**3
    small[0] = False
    filled = solid | small[holes]
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(filled).astype(np.float32), radius / 6)
    markers, _ = ndimage.label(h_maxima(depth, 0.06 * radius))
    return watershed(-depth, markers, mask=filled)


def auc(positive, negative):
    """How well one figure parts two groups, whichever way round."""
    above = (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()
    return max(above, 1 - above)


def local_sd(image, inside, size=3):
    mean = ndimage.uniform_filter(image, size)
    square = ndimage.uniform_filter(image * image, size)
    return float(np.median(np.sqrt(np.maximum(square - mean**2, 0))[inside] / mean[inside]))


@pytest.mark.parametrize("random_state", STATES)
def test_local_sd_in_seeds_is_that_of_real_scans(random_state):
    tray = tray_of(random_state)
    inside = ndimage.binary_erosion(tray.instances > 0, iterations=4)
    assert 0.5 * 0.015 < local_sd(tray.volume.astype(np.float32), inside) < 1.5 * 0.037


@pytest.mark.parametrize("random_state", STATES)
def test_touching_is_the_rule(random_state):
    n_parts = ndimage.label(solid_of(random_state))[1]
    assert 0.2 < n_parts / 120 < 2


@pytest.mark.slow
def test_plain_watershed_errs_and_good_markers_do_not():
    plain, good = [], []
    for random_state in STATES:
        tray, solid = tray_of(random_state), solid_of(random_state)
        plain.append(f1_score(tray.instances, plain_watershed(solid, median_radius(tray))))
        good.append(f1_score(tray.instances, good_watershed(solid, median_radius(tray))))
    assert 0.82 < np.mean(plain) < 0.88, plain
    assert min(plain) > 0.80 and max(plain) < 0.905, plain
    assert min(good) >= 0.95, good


@pytest.mark.parametrize("random_state", STATES)
def test_mean_grey_does_not_tell_abnormal_from_normal(random_state):
    tray = tray_of(random_state)
    grey = ndimage.mean(tray.volume, tray.instances, tray.table.id)
    classes = tray.table.class_id
    assert auc(grey[classes == 2], grey[classes == 1]) < 0.75
    assert auc(grey[(classes == 2) | (classes == 3)], grey[classes == 1]) < 0.75


SLICES = (22, 27, 32, 37)
CLEAN = {"noise": 0.0, "rings": 0.0, "streaks": 0.0}


@pytest.fixture(scope="module")
def both_chains():
    """Four slices by both chains, with and without noise, and the places inside seeds."""
    dials = tray_dials(25).replace(n_angles=180)
    sharp = {}

    def keep(density, dials):
        sharp["density"] = density.copy()
        return np.zeros(density.shape, np.uint8)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_seedlab.imaging.phantom.tray.acquire", keep)
        truth = make_tray(dials).instances
    fast, slow = sharp["density"].copy(), sharp["density"].copy()
    imaging_chain.blur(fast, dials)
    imaging_chain.blur(slow, dials, already=projection.HANN_BLUR)
    inside = ndimage.binary_erosion(truth > 0, iterations=3)
    clean = dials.replace(**CLEAN)
    images = {}
    for name, setting in (("noisy", dials), ("clean", clean)):
        artefacts = imaging_chain.Artefacts(dials.shape[1:], setting)
        images[name] = (
            np.stack([artefacts.add(fast[z], z) for z in SLICES]),
            np.stack([projection.project_slice(slow[z], z, setting) for z in SLICES]),
        )
    return images, inside[list(SLICES)]


def test_both_chains_give_the_same_local_sd(both_chains):
    images, inside = both_chains
    fast, slow = (np.mean([local_sd(s, i) for s, i in zip(v, inside, strict=True)]) for v in images["noisy"])
    assert fast == pytest.approx(slow, rel=0.2)


def test_both_chains_give_the_same_radial_profile(both_chains):
    images, inside = both_chains
    side = inside.shape[-1]
    y, x = np.indices(inside.shape[1:]) - (side - 1) / 2
    ring = np.digitize(np.hypot(y, x) / side, [0.3, 0.4, 0.5])
    for k in range(4):
        fast, slow = (v[inside & (ring == k)].mean() for v in images["noisy"])
        assert fast == pytest.approx(slow, rel=0.2)


def test_both_chains_give_the_same_noise_spectrum(both_chains):
    images, _ = both_chains
    bands = ((0.06, 0.12), (0.12, 0.2), (0.2, 0.3), (0.3, 0.4))
    fast, slow = (_spectrum(n - c, bands) for n, c in zip(images["noisy"], images["clean"], strict=True))
    assert fast == pytest.approx(slow, rel=0.2)


def _spectrum(noise, bands):
    """Amplitude of (slice, y, x) noise in bands of frequency (cycles per voxel)."""
    side = noise.shape[-1]
    window = np.hanning(side)[:, None] * np.hanning(side)
    power = (np.abs(np.fft.fft2(noise * window)) ** 2).mean(axis=0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    return [np.sqrt(power[(frequency >= a) & (frequency < b)].mean()) for a, b in bands]
