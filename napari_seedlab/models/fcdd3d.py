"""Fully convolutional data description in 3-D: a small net whose output is an anomaly map.

After Liznerski et al., "Explainable Deep One-Class Classification", ICLR 2021, with 3-D layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class FCDDConfig:
    """Sizes of the network."""

    n_inputs: int = 1  # channels of a crop
    width: int = 8  # channels of the first layer; the next ones have twice as many


class FCDD3D(nn.Module):
    """Crop (n, c, z, y, x) → squared-distance map A (n, z/2, y/2, x/2) ≥ 0; 10.7 k parameters by default.

    A = sqrt(phi² + 1) − 1, elementwise (pseudo-Huber norm of a one-channel output phi).
    """

    def __init__(self, config: FCDDConfig | None = None) -> None:
        super().__init__()
        self.config = config or FCDDConfig()
        c, w = self.config.n_inputs, self.config.width
        self.net = nn.Sequential(
            nn.Conv3d(c, w, 3, padding=1, bias=False),  # (n, w, z, y, x)
            nn.BatchNorm3d(w),
            nn.LeakyReLU(0.01),
            nn.MaxPool3d(2),  # (n, w, z/2, y/2, x/2)
            nn.Conv3d(w, 2 * w, 3, padding=1, bias=False),  # (n, 2w, z/2, y/2, x/2)
            nn.BatchNorm3d(2 * w),
            nn.LeakyReLU(0.01),
            nn.Conv3d(2 * w, 2 * w, 3, padding=1, bias=False),
            nn.BatchNorm3d(2 * w),
            nn.LeakyReLU(0.01),
            nn.Conv3d(2 * w, 1, 1),  # (n, 1, z/2, y/2, x/2)
        )

    def forward(self, crops: Tensor) -> Tensor:
        """The map at half resolution."""
        phi: Tensor = self.net(crops).float()[:, 0]  # (n, z/2, y/2, x/2)
        return torch.sqrt(phi * phi + 1.0) - 1.0

    def heat(self, crops: Tensor) -> Tensor:
        """The map at the resolution of the crop, (n, z, y, x).

        A fixed triangle kernel of two strides stands for the receptive-field Gaussian of the paper.
        """
        low = self(crops)[:, None]  # (n, 1, z/2, y/2, x/2)
        full: Tensor = functional.interpolate(low, scale_factor=2, mode="trilinear", align_corners=False)
        return full[:, 0]
