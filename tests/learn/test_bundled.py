"""Bundled encoders: what their vectors keep of a seed and what they leave out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from benchmarks.encoders import folder_pool, linear_accuracy, phantom_pool, vectors_of
from napari_seedlab.core import InputError
from napari_seedlab.imaging.features import GreyLevels
from napari_seedlab.imaging.phantom import make_seed_pool
from napari_seedlab.learn import bundled
from napari_seedlab.learn.bundled import (
    NetworkEncoder,
    bundled_encoder,
    load_network,
    new_network,
    save_network,
)
from napari_seedlab.learn.encoders import SeedImage

KINDS = ("volume", "picture", "cube")
ENCODERS = ("descriptors", "untrained", "bundled")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def volumes():
    """Forty phantom seeds with some air around them."""
    pool = make_seed_pool(40, 5, (0.5, 0.3, 0.1, 0.1))
    levels = GreyLevels(pool.dials.air_grey, pool.dials.seed_grey)
    return [SeedImage("ct", i, m, levels, (75.0,) * 3) for i, m in zip(pool.images, pool.masks, strict=True)]


def plane(modality="image", n_bands=3, size=(40, 52), random_state=0):
    """An ellipse with a dark spot, its colours or bands at random."""
    rng = np.random.default_rng(random_state)
    y, x = np.mgrid[: size[0], : size[1]]
    mask = ((y - size[0] / 2) / 14) ** 2 + ((x - size[1] / 2) / 20) ** 2 < 1
    image = rng.uniform(80, 200, n_bands)[:, None, None] + rng.normal(0, 6, (n_bands, *size))
    image[:, np.hypot(y - 16, x - 22) < 5] *= 0.4
    return SeedImage(
        modality, image.astype(np.float32), mask[None], GreyLevels(0.0, 140.0), (1.0, 30.0, 30.0)
    )


def turned(seed, rotation):
    """The seed turned in the scan, on a grid that holds it."""
    size = int(np.ceil(np.linalg.norm(seed.mask.shape))) + 2
    matrix = rotation.as_matrix()
    shift = (np.asarray(seed.mask.shape) - 1) / 2 - matrix @ np.full(3, (size - 1) / 2)
    grid = {"output_shape": (size,) * 3, "order": 1}
    image = affine_transform(seed.image.astype(np.float32), matrix, shift, cval=seed.levels.air, **grid)
    mask = affine_transform(seed.mask.astype(np.float32), matrix, shift, **grid) > 0.5
    return replace(seed, image=image, mask=mask)


def share_nearer(first, second):
    """Share of pairs of seeds in which a seed is nearer to its own other picture than to the other seed."""
    spread = np.where(first.std(0) > 1e-6, first.std(0), 1)
    own = np.linalg.norm((first - second) / spread, axis=1)
    others = np.linalg.norm((first[:, None] - first[None]) / spread, axis=2)
    return float((own[:, None] < others)[~np.eye(len(first), dtype=bool)].mean())


@pytest.mark.parametrize(
    "seed",
    [plane(), plane(n_bands=1), plane("hsi", 60), plane("hsi", 7)],
    ids=["colour", "grey", "60 bands", "7 bands"],
)
def test_a_vector_depends_on_its_seed_alone(seed):
    encoder = bundled_encoder(seed.modality)
    other = replace(seed, image=seed.image[:, ::-1].copy(), mask=seed.mask[:, ::-1].copy())
    alone, beside = encoder.encode([seed]), encoder.encode([other, other, seed])
    assert alone.shape == (1, encoder.n_columns) and alone.dtype == np.float32
    np.testing.assert_array_equal(alone[0], beside[2])
    assert np.isfinite(alone).all() and encoder.encode([]).shape == (0, encoder.n_columns)


def test_voxels_without_a_value_and_seeds_without_a_voxel_are_no_trouble(volumes):
    seed = volumes[0]
    image = seed.image.astype(np.float32)
    image[tuple(np.argwhere(seed.mask)[::9].T)] = np.nan
    empty = replace(seed, mask=np.zeros_like(seed.mask))
    found = bundled_encoder("ct").encode([seed, replace(seed, image=image), empty])
    assert np.isfinite(found).all() and not found[2].any() and found[1].any()
    apart = np.linalg.norm(found[0] - found[1]) / np.linalg.norm(found[0])
    assert apart < 0.3


def test_the_key_follows_the_weights(tmp_path):
    network = new_network("cube", 0)
    save_network(tmp_path / "a.safetensors", network, "cube", {})
    with torch.no_grad():
        network.vector.bias[0] += 0.5
    save_network(tmp_path / "b.safetensors", network, "cube", {})
    keys = [NetworkEncoder("own", dict([load_network(tmp_path / f"{n}.safetensors")])).key for n in "aab"]
    assert keys[0] == keys[1] != keys[2]


def test_another_file_is_refused_in_one_line(tmp_path):
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(b"pickle")
    with pytest.raises(InputError, match="is not a model file"):
        load_network(path)
    bundled.training.save_tensors(path, {"x": torch.zeros(1)}, {})
    with pytest.raises(InputError, match="holds no encoder"):
        load_network(path)


def test_a_scan_of_other_brightness_gives_the_same_vectors(volumes):
    some = volumes[:6]
    dim = [
        replace(
            s, image=s.image * 0.5 + 20, levels=GreyLevels(s.levels.air * 0.5 + 20, s.levels.solid * 0.5 + 20)
        )
        for s in some
    ]
    encoder = NetworkEncoder("bundled", bundled_encoder("ct").networks, "float32")
    np.testing.assert_allclose(encoder.encode(dim), encoder.encode(some), atol=0.02, rtol=0.02)


def test_a_turned_seed_stays_nearer_than_another_one(volumes):
    turns = Rotation.random(len(volumes), rng=np.random.default_rng(0))
    rotated = [turned(seed, turn) for seed, turn in zip(volumes, turns, strict=True)]
    encoder = bundled_encoder("ct")
    assert share_nearer(encoder.encode(volumes), encoder.encode(rotated)) >= 0.9


def test_weights_are_small_and_their_cards_true():
    paths = [bundled.bundled_path(kind) for kind in KINDS]
    assert sum(path.stat().st_size for path in paths) <= 4_500_000
    for kind, path in zip(KINDS, paths, strict=True):
        card = json.loads(path.with_suffix(".json").read_text())
        assert card["weights_hash"] == bundled.weights_hash(dict([load_network(path)]))
        assert card["kind"] == kind and {
            "recipe",
            "random_state",
            "data_hash",
            "settings",
            "measured",
        } <= set(card)


def gain(name, encoder="bundled", over="descriptors", random_states=range(401, 406)):
    """Mean gain in linear accuracy at 50 labels over phantoms, and its standard error."""
    found = []
    for random_state in random_states:
        pool = phantom_pool(name, random_state)
        first, second = (linear_accuracy(vectors_of(e, pool), pool.classes, 24)[0] for e in (over, encoder))
        found.append(second - first)
    return float(np.mean(found)), float(np.std(found, ddof=1) / len(found) ** 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ct", "ct_outside"])
def test_fifty_labels_tell_more_by_the_bundled_encoder_than_by_descriptors(name):
    mean, error = gain(name)
    assert mean - 3 * error > 0


@pytest.mark.slow
def test_fifty_labels_tell_more_of_volumes_than_before_the_training():
    assert gain("ct", over="untrained")[0] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"), [("rice", 0.0), ("oilpalm_seeds", -0.02), ("persimmon_545nm", 0.03)]
)  # the middle one is too small to tell: its standard error is 0.01
def test_fifty_labels_tell_more_of_pictures_than_before_the_training(name, least):
    folder = Path(__file__).parents[3] / "shared" / "data" / "images" / name
    if not folder.is_dir():
        pytest.skip("the shared pictures are not here")
    pool = folder_pool(folder)
    found = {e: linear_accuracy(vectors_of(e, pool), pool.classes, 24)[0] for e in ENCODERS}
    assert found["bundled"] - max(found["descriptors"], found["untrained"]) > least
