"""Distance of local features to the nearest ones of normal seeds.

After Roth et al., "Towards Total Recall in Industrial Anomaly Detection" (PatchCore), CVPR 2022: locally
averaged features, and a bank thinned out by greedy k-center (Sener & Savarese, ICLR 2018).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_seedlab.models.layers import AVERAGE

if TYPE_CHECKING:
    from napari_seedlab.models.fcdd import FCDD

LEAST_FILL = 0.3  # share of a feature cell that lies in the seed
BLOCK = 4096  # rows compared at a time


class MemoryBank(nn.Module):
    """Hidden layers of an anomaly network, and the features that normal seeds have there.

    Parameters
    ----------
    trunk : FCDD
        Gives the features; not changed.
    centre, spread : (c,) float
        Of each feature over normal cells.
    bank : (k, c) float
        Standardised features to compare with.
    """

    def __init__(self, trunk: FCDD, centre: Tensor, spread: Tensor, bank: Tensor) -> None:
        super().__init__()
        self.trunk = trunk
        self.register_buffer("centre", centre)
        self.register_buffer("spread", spread)
        self.register_buffer("bank", bank)

    def heat(self, crops: Tensor) -> Tensor:
        """Distance to the nearest feature of the bank at the resolution of the crop (n, *cells)."""
        found = features(self.trunk, crops).movedim(1, -1)  # (n, *cells / 2, c)
        rows = ((found - self.centre) / self.spread).flatten(0, -2)
        near = torch.cat([torch.cdist(block, self.bank).amin(1) for block in rows.split(BLOCK)])
        return self.trunk.enlarged(near.view(found.shape[:-1]))


def features(trunk: FCDD, crops: Tensor) -> Tensor:
    """Both hidden layers after the pooling, averaged over 3 cells each way: (n, c, *cells / 2) float32."""
    first = trunk.net[:7](trunk.stem(crops))
    second = trunk.net[7:10](first)
    both = torch.cat([first, second], 1).float()
    return AVERAGE[trunk.config.n_dims](both, 3, stride=1, padding=1, count_include_pad=False)


def inner_cells(masks: Tensor) -> Tensor:
    """Feature cells (n, *cells / 2) bool that lie in the seed, from masks (n, 1, *cells) bool."""
    return AVERAGE[masks.ndim - 2](masks.float(), 2)[:, 0] >= LEAST_FILL


def k_center(rows: Tensor, k: int) -> Tensor:
    """Indices (k,) of rows (n, c) that cover the others: each next one is the farthest from those before."""
    chosen = torch.zeros(min(k, len(rows)), dtype=torch.long, device=rows.device)
    nearest = (rows - rows[0]).square().sum(1)
    for i in range(1, len(chosen)):
        chosen[i] = nearest.argmax()
        nearest = torch.minimum(nearest, (rows - rows[chosen[i]]).square().sum(1))
    return chosen
