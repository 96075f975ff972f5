"""The well-understood convolutional classifier of high-content screening, for planes of any channels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

WIDTHS = (32, 64, 128)  # channels of the three blocks
DENSE = (200, 200, 50)  # units of the hidden dense layers


@dataclass(frozen=True)
class ScreeningCNNConfig:
    """Sizes of the network."""

    n_classes: int = 4
    n_inputs: int = 5  # channels of a plane
    size: int = 72  # pixels per edge of a plane
    dropout: float = 0.5  # of the hidden dense layers


class ScreeningCNN(nn.Module):
    """Plane (n, c, y, x) → logits (n, n_classes): three blocks of two convolutions, then dense layers.

    Dürr & Sick, "Single-cell phenotype classification using deep convolutional neural networks",
    J. Biomol. Screen. 21(9), 2016: 3 × 3 convolutions without padding, pooling that rounds up, no batch
    norm; first weights as He et al., ICCV 2015, draw them, without which nine layers without batch norm
    do not begin to learn. With 5 channels and 4 classes 1.26 million weights, 73 % of them in the first dense
    layer. :class:`~napari_seedlab.models.seed_cnn.SeedCNN` is its twin for volumes.
    """

    def __init__(self, config: ScreeningCNNConfig) -> None:
        super().__init__()
        self.config = config
        channels = (config.n_inputs, *WIDTHS)
        self.features = nn.Sequential(*(layer for a, b in pairwise(channels) for layer in _block(a, b)))
        units = (WIDTHS[-1] * edges(config.size)[-1] ** 2, *DENSE)
        dense = (
            layer
            for a, b in pairwise(units)
            for layer in (nn.Linear(a, b), nn.ReLU(), nn.Dropout(config.dropout))
        )
        self.head = nn.Sequential(nn.Flatten(), *dense, nn.Linear(DENSE[-1], config.n_classes))
        for layer in (*self.features, *self.head[:-1]):  # the last one stays small: the first loss is ln C
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, planes: Tensor) -> Tensor:
        """Logits of a batch."""
        maps: Tensor = self.features(planes)  # (n, 128, 6, 6) of 72 × 72 pixels
        out: Tensor = self.head(maps)  # (n, n_classes)
        return out


def edges(size: int) -> list[int]:
    """Edge of every feature map of a plane of `size` pixels, in the order of the layers.

    >>> edges(72)
    [70, 68, 34, 32, 30, 15, 13, 11, 6]
    """
    found = [size]
    for _ in WIDTHS:
        found += [found[-1] - 2, found[-1] - 4, -(-(found[-1] - 4) // 2)]
    return found[1:]


def _block(n_in: int, n_out: int) -> tuple[nn.Module, ...]:
    """Two convolutions that lose a pixel at each side, and pooling that keeps an odd last one."""
    return (
        nn.Conv2d(n_in, n_out, 3),
        nn.ReLU(),
        nn.Conv2d(n_out, n_out, 3),
        nn.ReLU(),
        nn.MaxPool2d(2, ceil_mode=True),
    )
