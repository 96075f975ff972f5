import numpy as np
import pytest
import torch
from grains import TEST_KINDS, grains, one_thread  # noqa: F401
from job_folders import finish, sheet, write_job
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score

from napari_seedlab import files
from napari_seedlab.core import InputError
from napari_seedlab.learn import vae
from napari_seedlab.learn.heat import scores
from napari_seedlab.learn.pool import Pool, network_input
from napari_seedlab.models.vae import VAE, VAEConfig, kl_nats


def test_the_divergence_is_that_of_torch():
    rng = np.random.default_rng(0)
    mean, log_variance = (torch.from_numpy(rng.normal(size=(3, 5)).astype(np.float32)) for _ in range(2))
    q = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(kl_nats(mean, log_variance), expected)


@torch.inference_mode()
def test_only_cells_of_the_seed_count_in_the_loss():
    model = VAE(VAEConfig(8, 2, 3)).eval()
    crops, masks = torch.randn(2, 1, 8, 8, 8), torch.zeros(2, 1, 8, 8, 8, dtype=torch.bool)
    masks[:, :, 2:6] = True
    noise = torch.zeros(2, 3)
    error = ((model(crops) - crops).square() * masks).sum() / 2
    assert float(vae.elbo_loss(model, crops, masks, noise, 0.0)) == pytest.approx(float(error), rel=1e-5)
    nats = kl_nats(*model.encode(crops)).mean()
    expected = float(error + 0.5 * nats)
    assert float(vae.elbo_loss(model, crops, masks, noise, 0.5)) == pytest.approx(expected, rel=1e-5)


def test_the_blur_is_a_gaussian_of_one_cell():
    cubes = np.random.default_rng(0).random((1, 9, 9, 9)).astype(np.float32)
    blurred = vae.smooth(torch.from_numpy(cubes)[:, None])[0, 0].numpy()
    expected = gaussian_filter(cubes[0], 1, mode="constant", truncate=2)
    np.testing.assert_allclose(blurred, expected, atol=2e-3)


def areas_of(state, n_steps):
    """Areas of scores and of voxels inside odd grains: of the trained net, and of blurring in its place."""
    train, test = grains(120, 100 + state), grains(100, 200 + state, TEST_KINDS)
    pool, unseen = Pool(*train[:2]), Pool(*test[:2])
    unseen.spread = pool.spread
    settings = vae.VAESettings(n_steps=n_steps, precision="float32")
    fit = vae.new_trainer(pool, np.arange(len(pool)), settings, state)
    for _ in range(n_steps):
        fit.step()
    heat = np.concatenate([h for _, h in vae.heat_maps(fit.model, unseen)])
    crops = network_input(unseen.crops, unseen.masks, pool.spread)
    with torch.inference_mode():
        nats = float(kl_nats(*fit.model.encode(crops)).mean())
    inside = torch.from_numpy(unseen.masks)[:, None].float()
    coarse = vae.smooth(vae.smooth(vae.smooth(crops))) / vae.smooth(vae.smooth(vae.smooth(inside))).clamp(
        min=0.1
    )
    blurred = (vae.smooth((crops - coarse).abs() * inside) / vae.smooth(inside).clamp(min=1e-3) * inside)[
        :, 0
    ]
    odd = test[3] != ""
    cells = unseen.masks[odd]
    return {
        "area": roc_auc_score(odd, scores(heat, unseen.masks)),
        "blurred": roc_auc_score(odd, scores(blurred.numpy(), unseen.masks)),
        "voxels": roc_auc_score(test[2][odd][cells], heat[odd][cells]),
        "nats": nats,
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_gates_on_grains():
    found = [areas_of(state, 400) for state in range(3)]
    print({key: [round(f[key], 3) for f in found] for key in found[0]})
    assert min(f["area"] for f in found) >= 0.88
    assert np.median([f["voxels"] for f in found]) >= 0.88
    assert min(f["nats"] for f in found) > 0.1
    assert min(f["area"] - f["blurred"] for f in found) >= 0.05


def test_a_short_training_finds_defects():
    found = areas_of(0, 40)
    assert found["area"] >= 0.88
    assert found["nats"] > 0.1


SMALL = {
    "size": 16,
    "n_steps": 8,
    "n_fits": 2,
    "batch": 8,
    "width": 4,
    "precision": "float32",
    "device": "cpu",
}


@pytest.fixture
def small_job(tmp_path):
    def make(name="job", **settings):
        crops, masks, _, _ = grains(14, 5, ("", "", "", "dense"))
        volume, regions = sheet(crops, masks)
        return write_job(
            tmp_path / name, "vae", volume, regions, random_state=3, settings={**SMALL, **settings}
        )

    return make


def test_the_job_writes_scores_and_heat_twice_alike(small_job):
    first, second = small_job("a"), small_job("b")
    _, result = finish(vae.run(first))
    finish(vae.run(second))
    assert set(result.files) == {"vae.safetensors", "scores.npz", "heat-1.zarr"}
    for name in ("scores.npz", "vae.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    heat = files.open_zarr(first / "heat-1.zarr")[:]
    regions = np.fromfile(first / "regions.raw", np.int32).reshape(heat.shape)
    assert not heat[regions == 0].any()
    assert heat[regions > 0].all()


def test_a_size_that_cannot_be_halved_three_times_is_refused(small_job):
    with pytest.raises(InputError, match="no multiple of 8"):
        finish(vae.run(small_job(size=20)))
