"""VGG16 (Simonyan & Zisserman 2015, configuration D) up to its second fully connected layer, FC7.

Weights are named as in the usual state dictionaries (``features.0.weight`` … ``classifier.3.bias``), so that
a file made elsewhere fits; ``classifier.6``, which names the classes of ImageNet, is not needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

POOL = 0  # in `widths`: a maximum over 2 × 2 pixels


@dataclass(frozen=True)
class VGG16Config:
    """Sizes of the network.

    Attributes
    ----------
    widths : tuple of int
        Channels of each convolution; ``POOL`` halves the picture.
    n_hidden : int
        Length of FC6 and FC7.
    n_cells : int
        Edge of the map that the fully connected layers see.
    """

    widths: tuple[int, ...] = (
        *(64, 64, POOL),
        *(128, 128, POOL),
        *(256, 256, 256, POOL),
        *(512, 512, 512, POOL),
        *(512, 512, 512, POOL),
    )
    n_hidden: int = 4096
    n_cells: int = 7


class VGG16(nn.Module):
    """Pictures (n, 3, y, x), normalised as for ImageNet, to FC7 vectors (n, n_hidden) ≥ 0."""

    def __init__(self, config: VGG16Config) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n_in = 3
        for width in config.widths:
            if width == POOL:
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(n_in, width, 3, padding=1), nn.ReLU(inplace=True)]
                n_in = width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(config.n_cells)
        self.classifier = nn.Sequential(
            nn.Linear(n_in * config.n_cells**2, config.n_hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(config.n_hidden, config.n_hidden),
            nn.ReLU(inplace=True),
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """FC7 after its rectifier."""
        cells = self.avgpool(self.features(pictures))  # (n, c, n_cells, n_cells)
        found: torch.Tensor = self.classifier(cells.flatten(1))  # (n, n_hidden)
        return found
