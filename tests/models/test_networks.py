import pytest
import torch

from napari_seedlab.models.fcdd import FCDD, FCDDConfig
from napari_seedlab.models.seed_cnn import SeedCNN, SeedCNNConfig
from napari_seedlab.models.vae import VAE, VAEConfig


def n_parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_the_anomaly_net_is_small_and_its_map_is_not_negative():
    torch.manual_seed(0)
    model = FCDD()
    crops = torch.randn(2, 1, 24, 24, 24)
    assert 10_600 <= n_parameters(model) <= 10_800
    assert model(crops).shape == (2, 12, 12, 12)
    heat = model.heat(crops)
    assert heat.shape == (2, 24, 24, 24)
    assert (heat >= 0).all()
    phi = model.net(crops)[:, 0]
    torch.testing.assert_close(model(crops), (phi**2 + 1).sqrt() - 1)


def test_the_anomaly_net_is_fully_convolutional():
    model = FCDD(FCDDConfig(width=4)).eval()
    crops = torch.randn(1, 1, 32, 32, 32)
    moved = torch.roll(crops, 2, 4)
    torch.testing.assert_close(model(crops)[..., 6:9], model(moved)[..., 7:10], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("n_classes, edge", [(2, 16), (4, 32)])
def test_the_classifier_takes_any_cube(n_classes, edge):
    model = SeedCNN(SeedCNNConfig(n_classes=n_classes))
    assert model(torch.randn(3, 2, edge, edge, edge)).shape == (3, n_classes)
    flat = SeedCNN(SeedCNNConfig(n_classes=n_classes, n_inputs=4, n_dims=2))
    assert flat(torch.randn(3, 4, edge, edge)).shape == (3, n_classes)


def test_the_classifier_overfits_one_batch():
    torch.manual_seed(0)
    model = SeedCNN(SeedCNNConfig(n_classes=2, widths=(4, 8), dropout=0.0))
    crops, target = torch.randn(8, 2, 12, 12, 12), torch.arange(8) % 2
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model(crops), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.05


@pytest.mark.parametrize(
    "config", [FCDDConfig(3, 4, 2), FCDDConfig(8, 4, 2, 16, True)], ids=["plane", "cube"]
)
def test_the_anomaly_net_of_planes_has_heat_of_each_pixel(config):
    model, crops = FCDD(config).eval(), torch.randn(2, config.n_inputs, 16, 16)
    edge = 16 if config.is_fine else 8
    assert model(crops).shape == (2, edge, edge)
    assert model.heat(crops).shape == (2, 16, 16)
    assert (model.heat(crops) >= 0).all()
    assert hasattr(model.stem, "weight") == bool(config.n_stem)


@pytest.mark.parametrize("n_inputs, n_dims", [(1, 3), (3, 2)])
def test_the_autoencoder_gives_back_what_it_gets_in_shape(n_inputs, n_dims):
    model = VAE(VAEConfig(16, 2, 3, n_inputs, n_dims)).eval()
    crops = torch.randn(2, n_inputs, *(16,) * n_dims)
    assert model(crops).shape == crops.shape
