"""A small convolutional encoder of seeds, planes or volumes, whose vector is read at every depth."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_seedlab.models.layers import AVERAGE, BATCH_NORM, CONV

TINY = 1e-6
N_POOLED = 4  # statistics of each channel


@dataclass(frozen=True)
class SeedEncoderConfig:
    """Sizes of the network."""

    n_dims: int = 3  # or 2
    n_inputs: int = 1  # channels beside the mask
    widths: tuple[int, ...] = (32, 64, 128)  # channels of the stages; each halves the resolution
    n_vector: int = 96  # numbers that are learnt on top of what is pooled


class SeedEncoder(nn.Module):
    """Crops (n, c, *cells) and their masks (n, 1, *cells) → vectors (n, n_vector).

    Channels are pooled inside the seed only, at the input and after every stage: mean, standard deviation,
    maximum, and mean of the core less that of the rim. What few labels need (how bright, how mottled, is
    there one odd spot) is linear in these at some depth.
    """

    def __init__(self, config: SeedEncoderConfig) -> None:
        super().__init__()
        self.config = config
        channels = (config.n_inputs + 1, *config.widths)
        self.stages = nn.ModuleList(
            _stage(config.n_dims, a, b, is_first=i == 0) for i, (a, b) in enumerate(pairwise(channels))
        )
        n_pooled = N_POOLED * (config.n_inputs + sum(config.widths))
        self.norm = nn.BatchNorm1d(n_pooled)
        self.mix = nn.Sequential(nn.Linear(n_pooled, 2 * config.n_vector), nn.ReLU())
        self.vector = nn.Linear(n_pooled + 2 * config.n_vector, config.n_vector)

    def pooled(self, crops: Tensor, masks: Tensor) -> Tensor:
        """Statistics inside the seed at every depth (n, n_pooled)."""
        weights = torch.cat((masks, masks * _smoothed(masks).square()), 1)  # (n, 2, *cells)
        found = [_statistics(crops, weights)]
        maps = torch.cat((crops, masks), 1)  # (n, c + 1, *cells)
        for stage in self.stages:
            maps = stage(maps)  # (n, w, *cells / 2ᵏ)
            weights = AVERAGE[self.config.n_dims](weights, 2)
            found.append(_statistics(maps, weights))
        return torch.cat(found, 1)

    def forward(self, crops: Tensor, masks: Tensor) -> Tensor:
        """The learnt vectors of a batch."""
        pooled = self.norm(self.pooled(crops, masks))
        out: Tensor = self.vector(torch.cat((pooled, self.mix(pooled)), 1))
        return out.float()


def _stage(n_dims: int, n_in: int, n_out: int, is_first: bool) -> nn.Sequential:
    """Half the resolution, then once more at it; the first stage sees the most cells and has one layer."""
    layers = _layer(n_dims, n_in, n_out, 2)
    return nn.Sequential(*layers, *([] if is_first else _layer(n_dims, n_out, n_out, 1)))


def _layer(n_dims: int, n_in: int, n_out: int, stride: int) -> list[nn.Module]:
    convolution = CONV[n_dims](n_in, n_out, 3, stride=stride, padding=1, bias=False)
    return [convolution, BATCH_NORM[n_dims](n_out), nn.ReLU()]


def _statistics(maps: Tensor, weights: Tensor) -> Tensor:
    """Mean, sd, maximum, and core less all of each channel (n, w, *cells): (n, 4 w).

    `weights` (n, 2, *cells) say how much of a cell is seed, and how much of it lies in the core.
    """
    values, inside = maps.flatten(2).float(), weights.flatten(2).float()  # (n, w, cells), (n, 2, cells)
    shares = inside / inside.sum(2, keepdim=True).clamp(min=TINY)
    means = values @ shares.transpose(1, 2)  # (n, w, 2)
    squares = values.square() @ shares[:, :1].transpose(1, 2)  # (n, w, 1)
    spread = (squares[..., 0] - means[..., 0].square()).clamp(min=TINY).sqrt()
    top = (values * (inside[:, :1] > 0.5)).amax(2)
    return torch.cat((means[..., 0], spread, top, means[..., 1] - means[..., 0]), 1)


def _smoothed(masks: Tensor) -> Tensor:
    """Share of seed in a cube a third of the crop wide around each cell: high where all around is seed."""
    n_dims = masks.ndim - 2
    width = max(3, masks.shape[-1] // 3 // 2 * 2 + 1)
    for axis in range(n_dims):
        kernel = [width if a == axis else 1 for a in range(n_dims)]
        masks = AVERAGE[n_dims](masks, kernel, stride=1, padding=[k // 2 for k in kernel])
    return masks


def unit(vectors: Tensor) -> Tensor:
    """Vectors of length one."""
    return functional.normalize(vectors, dim=1)
