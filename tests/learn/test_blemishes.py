"""Blemishes put into seeds: where they are, how large, and that a network comes to see them."""

import numpy as np
import pytest
import torch
from grains import one_thread  # noqa: F401

from napari_seedlab.learn import blemishes, bundled, pretrain
from napari_seedlab.learn.blemishes import KINDS, blemished


def balls(n, size=16, random_state=0):
    """Mottled balls (n, 1, *cells) of different brightness, and their masks."""
    rng = np.random.default_rng(random_state)
    z, y, x = np.mgrid[:size, :size, :size] - (size - 1) / 2
    mask = torch.from_numpy((z**2 + y**2 + x**2 < (0.42 * size) ** 2).astype(np.float32)).expand(
        n, 1, -1, -1, -1
    )
    light = rng.normal(0, 0.3, (n, 1, 1, 1, 1)) + rng.normal(0, 0.1, (n, 1, size, size, size))
    return torch.from_numpy(light.astype(np.float32)) * mask, mask


@pytest.mark.parametrize("kind", KINDS, ids=[k.__name__.strip("_") for k in KINDS])
def test_each_blemish_changes_the_chosen_seeds_alone_and_nothing_beside_them(kind, monkeypatch):
    monkeypatch.setattr(blemishes, "KINDS", (kind,))
    crops, masks = balls(6)
    chosen = np.asarray([True, False, True, True, False, True])
    shown, left, change = blemished(crops, masks, chosen, np.random.default_rng(1))
    again = blemished(crops, masks, chosen, np.random.default_rng(1))[0]
    assert torch.equal(shown, again) and not torch.equal(shown, crops)
    np.testing.assert_array_equal(change.numpy() > 0, chosen)
    assert torch.equal(shown[~chosen], crops[~chosen]) and torch.equal(left[~chosen], masks[~chosen])
    assert shown.isfinite().all() and not shown[left < 0.25].any() and (left <= masks).all()


def test_a_network_comes_to_see_blemishes_in_seeds_it_never_met():
    crops, masks = balls(80)
    looks = pretrain.Looks(
        crops[:, None].half().numpy(), (255 * masks[:, None]).byte().numpy(), np.zeros((80, 1), np.float32)
    )
    network = bundled.new_network("volume", 0, widths=(6, 8), n_vector=2, n_mixed=32)
    plan = pretrain.PretrainSettings(30, 16, 1e-2, precision="float32", pretext="blemishes")
    trainer = pretrain.new_trainer(network, looks, plan, 0)
    for _ in range(plan.n_steps):
        trainer.step()
    fresh, around = balls(60, random_state=9)
    is_put = np.arange(60) < 30
    shown, left, change = blemished(fresh, around, is_put, np.random.default_rng(2))
    with torch.inference_mode():
        found = bundled.prepared(network)(shown, left)[:, :2].numpy()
    assert ((found[:, 0] > 0) == is_put).mean() > 0.75
    assert np.abs(found[:, 1] - change.clamp(max=pretrain.LARGEST).sqrt().numpy()).mean() < 0.2
