import pytest
import torch

from napari_seedlab.models.screening_cnn import ScreeningCNN, ScreeningCNNConfig, edges

TABLE = [70, 68, 34, 32, 30, 15, 13, 11, 6]  # Dürr & Sick 2016, table of layers


def test_each_feature_map_and_the_number_of_weights_are_those_of_the_paper():
    model = ScreeningCNN(ScreeningCNNConfig()).eval()
    maps, values = [], torch.zeros(2, 5, 72, 72)
    for layer in model.features:
        values = layer(values)
        if not isinstance(layer, torch.nn.ReLU):
            maps.append(tuple(values.shape[1:]))
    channels = [32] * 3 + [64] * 3 + [128] * 3
    assert maps == [(c, n, n) for c, n in zip(channels, TABLE, strict=True)]
    assert edges(72) == TABLE
    linear = [m for m in model.head if isinstance(m, torch.nn.Linear)]
    assert [m.out_features for m in linear] == [200, 200, 50, 4]
    counts = [p.numel() for p in model.parameters()]
    assert sum(counts) == 1_259_838
    assert linear[0].weight.numel() / sum(counts) == pytest.approx(0.73, abs=0.005)
    assert [m.p for m in model.head if isinstance(m, torch.nn.Dropout)] == [0.5] * 3
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())


@pytest.mark.parametrize("n_inputs, size", [(1, 72), (201, 72), (4, 40)])
def test_it_takes_any_number_of_channels(n_inputs, size):
    model = ScreeningCNN(ScreeningCNNConfig(3, n_inputs, size))
    assert model(torch.zeros(2, n_inputs, size, size)).shape == (2, 3)
