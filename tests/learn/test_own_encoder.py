"""The encoder that a pool teaches further: results, resuming, cancelling."""

import time

import numpy as np
import pytest
import torch
from grains import one_thread  # noqa: F401
from job_folders import write_job

from napari_seedlab.core import InputError, JobResult, NotReady
from napari_seedlab.learn import bundled, canonical, own_encoder, pretrain
from napari_seedlab.learn.bundled import bundled_encoder
from napari_seedlab.learn.training import load_tensors

RUN = "napari_seedlab.learn.own_encoder:run"


def tray(n=25, random_state=0):
    """A grey picture (1, y, x) of blotched discs on a grid, and their regions."""
    rng = np.random.default_rng(random_state)
    edge, step = int(np.ceil(n**0.5)), 28
    image = rng.normal(20, 3, (1, edge * step, edge * step))
    regions = np.zeros(image.shape, np.int32)
    y, x = np.mgrid[:step, :step] - step / 2
    for i in range(n):
        top, left = i // edge * step, i % edge * step
        disc = (y / rng.uniform(7, 12)) ** 2 + (x / rng.uniform(7, 12)) ** 2 < 1
        waves = np.sin(y * rng.uniform(0.2, 1.5) + x * rng.uniform(0.2, 1.5)) * rng.uniform(5, 40)
        image[0, top : top + step, left : left + step][disc] += (100 + waves)[disc]
        regions[0, top : top + step, left : left + step][disc] = i + 1
    return np.clip(image, 0, 255).astype(np.uint8), regions


def job(folder, n=25, **settings):
    return write_job(folder, RUN, *tray(n), modality="image", settings={"batch": 8, **settings})


def drained(folder):
    """The result of the job in a folder."""
    steps = own_encoder.run(folder)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def weights(folder):
    return load_tensors(folder / "encoder.safetensors")[0]


def test_a_stopped_training_goes_on_exactly(tmp_path):
    whole: JobResult = drained(job(tmp_path / "a", n=17, n_steps=4))
    steps = own_encoder.run(job(tmp_path / "b", n=17, n_steps=4))
    for told in steps:
        if told.total == 4 and "loss" in told.message:
            break
    begun = time.perf_counter()
    steps.close()
    assert time.perf_counter() - begun < 1
    assert not (tmp_path / "b" / "encoder.safetensors").exists()
    assert (tmp_path / "b" / "training.safetensors").exists()
    resumed = drained(tmp_path / "b")
    assert resumed.values["key"] == whole.values["key"] and whole.files == ("encoder.safetensors",)
    assert all(
        torch.equal(a, b)
        for a, b in zip(weights(tmp_path / "a").values(), weights(tmp_path / "b").values(), strict=True)
    )
    encoder = own_encoder.own_encoder(tmp_path / "a" / "encoder.safetensors")
    assert encoder.key == whole.values["key"] != bundled_encoder("image").key and encoder.name == "own"


def volume_looks(n=20):
    """Noisy balls as an encoder of volumes learns from them."""
    rng, size = np.random.default_rng(0), canonical.SIZES["volume"]
    z, y, x = np.mgrid[:size, :size, :size] - (size - 1) / 2
    ball = z**2 + y**2 + x**2 < (0.42 * size) ** 2
    crops = rng.normal(0, 0.1, (n, 2, 1, size, size, size)) * ball
    masks = np.broadcast_to(255 * ball.astype(np.uint8), crops.shape)
    return pretrain.Looks(crops.astype(np.float16), masks, rng.normal(size=(n, 5)).astype(np.float32))


def test_a_training_of_former_volumes_is_not_taken_up(tmp_path, monkeypatch):
    looks = volume_looks()

    def cut_out(*_):
        yield from ()
        return "volume", looks

    monkeypatch.setattr(own_encoder, "_looks", cut_out)
    write_job(tmp_path, RUN, *tray(16), modality="ct", settings={"n_steps": 1, "batch": 4})
    former = bundled.load_network(bundled.bundled_path("volume"))[1]
    plan = pretrain.PretrainSettings(1, 4, pretext="looks")
    pretrain.new_trainer(former, looks, plan, 0).save(tmp_path / "training.safetensors")
    assert drained(tmp_path).values["n_steps"] == 1


def test_what_an_encoder_of_volumes_finds_are_blemishes():
    looks, network = volume_looks(), bundled.load_network(bundled.bundled_path("volume"))[1]
    taught = own_encoder.recognised(bundled.prepared(network), looks, "blemishes")
    with torch.no_grad():
        network.vector.weight.neg_(), network.vector.bias.neg_()
    turned = own_encoder.recognised(network, looks, "blemishes")
    assert taught > 0.7 and turned == pytest.approx(1 - taught)


def test_too_few_seeds_and_unknown_settings_are_told(tmp_path):
    with pytest.raises(NotReady, match="16 are needed"):
        drained(job(tmp_path / "few", n=4))
    with pytest.raises(InputError, match="are not known"):
        drained(job(tmp_path / "odd", steps=3))


@pytest.mark.slow
def test_a_pool_teaches_its_encoder(tmp_path):
    result = drained(job(tmp_path / "own", n=100, n_steps=150, batch=32))
    before, after = result.values["recognised"]
    assert after > before
