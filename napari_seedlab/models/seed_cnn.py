"""A small convolutional classifier of seed crops, volumes or planes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from napari_seedlab.models.layers import BATCH_NORM, CONV, MAX_POOL


@dataclass(frozen=True)
class SeedCNNConfig:
    """Sizes of the network."""

    n_classes: int = 2
    n_inputs: int = 2  # channels and mask
    widths: tuple[int, ...] = (16, 32, 64)  # channels of the blocks; each block halves the resolution
    dropout: float = 0.3  # before the last layer
    n_dims: int = 3  # 2 for planes


class SeedCNN(nn.Module):
    """Crop (n, c, *cells) → logits (n, n_classes): three blocks, global mean and maximum, dropout, linear.

    The 3-D twin of the screening network of Dürr & Sick, J. Biomol. Screen. 21(9), 2016, with
    global pooling in place of its dense layers; the first layer has stride 2 to stay fast on a CPU.
    """

    def __init__(self, config: SeedCNNConfig) -> None:
        super().__init__()
        self.config = config
        channels = (config.n_inputs, *config.widths)
        blocks = [_block(a, b, config.n_dims, first=i == 0) for i, (a, b) in enumerate(pairwise(channels))]
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(2 * config.widths[-1], config.n_classes)

    def forward(self, crops: Tensor) -> Tensor:
        """Logits of a batch."""
        maps: Tensor = self.blocks(crops)  # (n, w, *cells/8)
        flat = maps.flatten(2)  # (n, w, cells)
        pooled = torch.cat((flat.mean(2), flat.amax(2)), 1)  # (n, 2w)
        out: Tensor = self.head(self.dropout(pooled))  # (n, n_classes)
        return out


def _block(n_in: int, n_out: int, n_dims: int, first: bool) -> nn.Sequential:
    """Convolution, batch norm, ReLU at half the resolution."""
    return nn.Sequential(
        CONV[n_dims](n_in, n_out, 3, stride=2 if first else 1, padding=1, bias=False),
        BATCH_NORM[n_dims](n_out),
        nn.ReLU(),
        *([] if first else [MAX_POOL[n_dims](2)]),
    )
