import json
import os
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_seedlab.core import InputError, JobRequest
from napari_seedlab.files import write_json
from napari_seedlab.imaging.features import GreyLevels
from napari_seedlab.learn import hf, spectral, vgg16, views
from napari_seedlab.learn.encoders import SeedImage
from napari_seedlab.models.vgg16 import POOL, VGG16, VGG16Config
from tests.learn.job_folders import finish

transformers = pytest.importorskip("transformers")
SMALL = {"hidden_sizes": [8, 12], "depths": [1, 1], "embedding_size": 8, "layer_type": "basic"}


def seed(modality="ct", shape=(20, 14, 12), bands=0, wavelengths=(), constant=False, random_state=0):
    """An ellipsoid (or ellipse) with a bright end, as encoders see it."""
    places = np.moveaxis(np.indices(shape), 0, -1) - (np.asarray(shape) - 1) / 2
    mask = (np.square(places / np.maximum(np.asarray(shape) / 2.2, 0.6))).sum(-1) <= 1
    noise = np.random.default_rng(random_state).normal(0, 4, shape)
    image = np.where(mask, 120 if constant else 120 + noise + 12 * (places + 3).clip(0).sum(-1), 20)
    if bands:
        image = np.repeat(image, bands, 0) + 2.0 * np.arange(bands)[:, None, None] * mask
    return SeedImage(
        modality, image.astype(np.uint8 if modality == "image" else np.float32), mask, GreyLevels(20, 120),
        (1.0, 1.0, 1.0), wavelengths,
    )  # fmt: skip


FLAT = {"modality": "image", "shape": (1, 14, 12)}
CUBE = {"modality": "hsi", "shape": (1, 14, 12), "bands": 9}


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    """A tiny DINOv2 with random weights, as anybody would save it."""
    folder = tmp_path_factory.mktemp("dino")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    transformers.Dinov2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resnet")
    torch.manual_seed(0)
    transformers.ResNetModel(transformers.ResNetConfig(**SMALL)).save_pretrained(folder)
    write_json(folder / "preprocessor_config.json", {"size": {"shortest_edge": 48}, "image_mean": [0.5] * 3})
    return folder


def test_cuts_do_not_depend_on_how_the_seed_lies():
    lying = seed()
    turned = SeedImage(
        "ct",
        lying.image.transpose(2, 0, 1)[::-1],
        lying.mask.transpose(2, 0, 1)[::-1],
        lying.levels,
        (1.0,) * 3,
    )
    cuts = [views.pictures_of(s, 32) for s in (lying, turned)]
    assert cuts[0].shape == (3, 3, 32, 32) and float(cuts[0].max()) < 1.0001
    assert float((cuts[0] - cuts[1]).abs().mean()) < 0.01 < float((cuts[0][0] - cuts[0][2]).abs().mean())
    usual = views.pictures_of(seed(constant=True), 32)
    assert float(usual[0, 0, 16, 16]) == pytest.approx(0.5) and not usual[:, :, 0, 0].any()  # air around


def test_pictures_are_shown_as_they_are_and_cubes_in_false_colour():
    flat = views.pictures_of(seed(**FLAT), 28)
    assert flat.shape == (1, 3, 28, 28)
    assert float(flat[0, 0, 14, 10]) == pytest.approx(0.75, abs=0.15)
    assert float(flat[0, 0, 0, 0]) == pytest.approx(20 / 255, abs=0.01)  # air, not the neighbour
    cube = np.arange(9.0).reshape(9, 1, 1)
    nm = tuple(np.linspace(450, 690, 9))  # 450, 480, …, 690
    assert views.false_colour(cube, nm).ravel().tolist() == [6.5, 3.5, 0.5]  # red, green, blue
    assert views.false_colour(cube).ravel().tolist() == [7, 4, 1]


@pytest.mark.parametrize(
    "like", [{}, FLAT, CUBE, {"constant": True}], ids=["volume", "flat", "cube", "constant"]
)
def test_backbones_of_a_folder_encode_seeds(dino, resnet, like):
    seeds = [seed(**like, random_state=i) for i in range(3)]
    for folder, length in ((dino, 32), (resnet, 12)):
        encoder = hf.hf_encoder(folder)
        found = encoder.encode(seeds)
        assert found.shape == (3, length) and found.dtype == np.float32 and np.isfinite(found).all()
        np.testing.assert_allclose(encoder.encode(seeds[1:2])[0], found[1], rtol=0.05, atol=0.02)


def test_the_vector_is_the_class_token_beside_the_mean_patch(dino):
    encoder = hf.hf_encoder(dino)
    encoder._is_bfloat16 = False
    pictures = torch.rand(2, 3, 28, 28)
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (hf.IMAGENET_MEAN, hf.IMAGENET_STD))
    model = transformers.Dinov2Model.from_pretrained(dino).eval()
    with torch.no_grad():
        said = model((pictures - mean) / std).last_hidden_state
    wanted = torch.cat([said[:, 0], said[:, 1:].mean(1)], 1)
    np.testing.assert_allclose(encoder.vectors(pictures), wanted.numpy(), atol=1e-5)


def damaged(folder, to, change):
    """A copy of a saved backbone with one thing wrong."""
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    tensors = load_file(to / "model.safetensors")
    first = sorted(tensors)[0]
    if change == "shape":
        save_file({**tensors, first: torch.zeros(2, 3)}, to / "model.safetensors")
    elif change == "lack":
        save_file({k: v for k, v in tensors.items() if k != first}, to / "model.safetensors")
    elif change == "noise":
        (to / "model.safetensors").write_bytes(b"\xff" * 300)
    elif change == "text":
        config = transformers.BertConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9
        )
        transformers.BertModel(config).save_pretrained(to)
    elif change == "pickle":
        (to / "model.safetensors").unlink()
        torch.save(tensors, to / "pytorch_model.bin")
    elif change == "settings":
        (to / "config.json").write_text("{")
    return to


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("shape", "do not fit|another shape"),
        ("lack", "lacks 1 of its weights"),
        ("noise", "do not fit"),
        ("text", "bert, which sees no pictures"),
        ("pickle", "pytorch_model.bin, which may run code"),
        ("settings", "cannot be read"),
    ],
)
def test_folders_that_hold_something_else_are_refused(resnet, tmp_path, change, words):
    with pytest.raises(InputError, match=words) as refused:
        hf.hf_encoder(damaged(resnet, tmp_path / "m", change)).encode([seed()])
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300


def test_the_key_of_a_folder_changes_with_each_tensor_and_little_is_read(tmp_path):
    folder, key = tmp_path / "net", lambda: hf.hf_encoder(folder).key
    folder.mkdir()
    write_json(folder / "config.json", {})
    tensors = {"a": torch.zeros(3), "b": torch.zeros(200_000), "c": torch.zeros(2)}
    save_file(tensors, folder / "model.safetensors")
    keys = {key()}
    for name in tensors:
        save_file(tensors | {name: tensors[name] + 1}, folder / "model.safetensors")
        keys.add(key())
    assert len(keys) == 4
    save_file(tensors, folder / "model.safetensors")
    assert key() in keys  # the same weights saved again
    places = hf._pieces_of(folder / "model.safetensors")
    assert len(places) * hf.PIECE < 0.05 * 800_000


def test_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not there"):
        hf.hf_encoder(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"no config\.json"):
        hf.hf_encoder(tmp_path)


def test_without_a_network_the_hub_says_so_in_one_line(tmp_path, monkeypatch):
    import huggingface_hub

    def away(*args, **kwargs):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no\nnetwork")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", away)
    with pytest.raises(InputError, match="org/net: could not be fetched") as refused:
        hf.fetch("org/net", tmp_path / "x")
    assert "\n" not in str(refused.value)


TINY = VGG16Config((4, POOL, 6, POOL), n_hidden=10, n_cells=2)


def vgg_weights():
    torch.manual_seed(1)
    return {**VGG16(TINY).state_dict(), "classifier.6.weight": torch.zeros(1000, 10)}


def test_fc7_is_that_of_the_file_after_it_was_converted(tmp_path):
    torch.save(vgg_weights(), tmp_path / "v.pth")
    config = {"widths": TINY.widths, "n_hidden": 10, "n_cells": 2}
    request = JobRequest("v", "m:f", {"path": str(tmp_path / "v.pth"), "config": config})
    write_json(tmp_path / "request.json", request.to_json())
    _, result = finish(vgg16.run_convert(tmp_path))
    assert result.values["length"] == 10
    encoder = vgg16.vgg16_encoder(tmp_path / "vgg16.safetensors", config)
    encoder._is_bfloat16 = False
    network = VGG16(TINY).eval()
    network.load_state_dict({k: v for k, v in vgg_weights().items() if "6.weight" not in k})
    shown = views.pictures_of(seed(), 224)
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (hf.IMAGENET_MEAN, hf.IMAGENET_STD))
    with torch.no_grad():
        cells = network.avgpool(network.features((shown - mean) / std)).flatten(1)
        fc6 = torch.relu(network.classifier[0](cells))
        fc7 = torch.relu(network.classifier[3](fc6)).mean(0)
    np.testing.assert_allclose(encoder.encode([seed()])[0], fc7.numpy(), atol=1e-5)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("never",)


def test_weights_that_run_code_or_have_other_shapes_are_refused(tmp_path):
    (tmp_path / "bare.pth").write_bytes(pickle.dumps({"features.0.weight": Evil()}))
    torch.save({"features.0.weight": Evil()}, tmp_path / "evil.pth")
    torch.save({"features.0.weight": SimpleNamespace(a=1)}, tmp_path / "object.pth")
    (tmp_path / "noise.pth").write_bytes(b"\x00" * 99)
    (tmp_path / "noise.safetensors").write_bytes(b"\x00" * 99)
    torch.save([1, 2], tmp_path / "list.pth")
    for name, words in {
        "evil.pth": "may run code",
        "object.pth": "may run code",
        "bare.pth": "is no file of weights",
        "noise.pth": "may run code|is no file of weights",
        "noise.safetensors": "no safetensors",
        "list.pth": "no state dictionary",
        "away.pth": "not there",
    }.items():
        with pytest.raises(InputError, match=words) as refused:
            vgg16.load_weights(tmp_path / name)
        assert "\n" not in str(refused.value)
    assert not os.path.exists("never")
    wrong = {**vgg_weights(), "classifier.3.weight": torch.zeros(10, 11)}
    with pytest.raises(InputError, match=r"classifier\.3\.weight of shape \(10, 11\), not \(10, 10\)"):
        vgg16.network_of(wrong, "v.pth", TINY)
    with pytest.raises(InputError, match=r"lacks the weight features\.0\.weight"):
        vgg16.network_of({}, "v.pth")


def test_spectra_of_two_cameras_fall_into_the_same_windows():
    def spectrum(nm):
        return np.sin(np.asarray(nm) / 150)[:, None]

    few, many = np.linspace(400, 1000, 61), np.linspace(380, 1050, 301)
    found = [spectral.in_windows(spectrum(nm), tuple(nm))[:, 0] for nm in (few, many)]
    middle = (spectral.EDGES_NM[:-1] + spectral.EDGES_NM[1:]) / 2
    both = (middle > 410) & (middle < 990)
    np.testing.assert_allclose(found[0][both], found[1][both], atol=0.02)
    assert not found[0][middle > 1030].any()
    assert spectral.in_windows(spectrum(few))[[0, -1]].all()  # by number where wavelengths are unknown


def test_spectra_are_of_cubes_alone_and_do_not_know_brightness():
    cube = seed(**CUBE)
    encoder = spectral.spectral_encoder("hsi")
    bright = SeedImage("hsi", cube.image * 2, cube.mask, cube.levels, cube.scale_um)
    vectors = encoder.encode([cube, bright])
    assert vectors.shape == (2, 2 * spectral.N_WINDOWS)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-4)
    for refuse in (lambda: spectral.spectral_encoder("ct"), lambda: encoder.encode([seed()])):
        with pytest.raises(InputError, match="volumes have no spectra"):
            refuse()


def test_the_settings_of_a_folder_are_read(resnet):
    said = hf.hf_encoder(resnet).preparation
    assert (said.size, said.mean) == (48, (0.5, 0.5, 0.5))
    assert json.loads((resnet / "config.json").read_text())["model_type"] == "resnet"
