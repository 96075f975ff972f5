"""Fully convolutional data description: a small net whose output is an anomaly map, of volumes or planes.

After Liznerski et al., "Explainable Deep One-Class Classification", ICLR 2021.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_seedlab.models.layers import BATCH_NORM, CONV, INTERPOLATION, MAX_POOL

WIDER = (2, 3)  # dilation of the later layers in planes, whose crops have more cells along an edge


@dataclass(frozen=True)
class FCDDConfig:
    """Sizes of the network."""

    n_inputs: int = 1  # channels of a crop
    width: int = 8  # channels of the first layer; the next ones have twice as many
    n_dims: int = 3  # or 2
    n_stem: int = 0  # channels to which a learnt 1×1 layer brings the inputs; 0 = there is none
    is_fine: bool = False  # whether the map is computed at the resolution of the crop, without pooling


class FCDD(nn.Module):
    """Crop (n, c, *cells) → squared-distance map A (n, *cells / 2) ≥ 0; 10.7 k parameters by default.

    A = sqrt(phi² + 1) − 1, elementwise (pseudo-Huber norm of a one-channel output phi).
    """

    def __init__(self, config: FCDDConfig | None = None) -> None:
        super().__init__()
        self.config = config or FCDDConfig()
        n_stem, w, d = self.config.n_stem, self.config.width, self.config.n_dims
        c = n_stem or self.config.n_inputs
        conv, norm = CONV[d], BATCH_NORM[d]
        self.stem: nn.Module = nn.Identity()
        if n_stem:
            self.stem = conv(self.config.n_inputs, n_stem, 1)  # (n, n_stem, *cells)
        self.stride = 1 if self.config.is_fine else 2
        near, far = WIDER if d == 2 and not self.config.is_fine else (1, 1)
        self.net = nn.Sequential(
            conv(c, w, 3, padding=1, bias=False),  # (n, w, *cells)
            norm(w),
            nn.LeakyReLU(0.01),
            nn.Identity() if self.config.is_fine else MAX_POOL[d](2),  # (n, w, *cells / 2)
            conv(w, 2 * w, 3, padding=near, dilation=near, bias=False),  # (n, 2w, *cells / 2)
            norm(2 * w),
            nn.LeakyReLU(0.01),
            conv(2 * w, 2 * w, 3, padding=far, dilation=far, bias=False),
            norm(2 * w),
            nn.LeakyReLU(0.01),
            conv(2 * w, 1, 1),  # (n, 1, *cells / 2)
        )

    def forward(self, crops: Tensor) -> Tensor:
        """The map at the resolution of the last layer."""
        phi: Tensor = self.net(self.stem(crops)).float()[:, 0]  # (n, *cells / 2)
        return torch.sqrt(phi * phi + 1.0) - 1.0

    def heat(self, crops: Tensor) -> Tensor:
        """The map at the resolution of the crop, (n, *cells)."""
        return self.enlarged(self(crops))

    def enlarged(self, low: Tensor) -> Tensor:
        """A map (n, *cells / 2) at the resolution of the crop.

        A fixed triangle kernel of two strides stands for the receptive-field Gaussian of the paper.
        """
        if self.stride == 1:
            return low
        mode = INTERPOLATION[self.config.n_dims]
        full: Tensor = functional.interpolate(low[:, None], scale_factor=2, mode=mode, align_corners=False)
        return full[:, 0]
