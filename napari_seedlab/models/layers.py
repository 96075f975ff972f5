"""Layers of torch by the number of dimensions of what they see: 2 for planes, 3 for volumes."""

from __future__ import annotations

from torch import nn
from torch.nn import functional

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
CONVOLVED = {2: functional.conv2d, 3: functional.conv3d}
CONV_TRANSPOSE = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAX_POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVERAGE = {2: functional.avg_pool2d, 3: functional.avg_pool3d}
INTERPOLATION = {2: "bilinear", 3: "trilinear"}
