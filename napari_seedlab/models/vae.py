"""Variational autoencoder of seed crops, volumes or planes.

Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_seedlab.models.layers import BATCH_NORM, CONV, CONV_TRANSPOSE


@dataclass(frozen=True)
class VAEConfig:
    """Sizes of the network; `size` is a multiple of 8."""

    size: int = 24  # cells per edge of a crop
    width: int = 12  # channels of the first layer; the next ones have two and four times as many
    n_latent: int = 32
    n_inputs: int = 1  # channels of a crop
    n_dims: int = 3  # or 2


class VAE(nn.Module):
    """Crop (n, c, *cells) → its reconstruction, through a normal distribution over `n_latent` numbers."""

    def __init__(self, config: VAEConfig | None = None) -> None:
        super().__init__()
        self.config = config or VAEConfig()
        w, d, c = self.config.width, self.config.n_dims, self.config.n_inputs
        edge = self.config.size // 8
        self._shape = (4 * w, *(edge,) * d)
        n_flat = 4 * w * edge**d
        self.encoder = nn.Sequential(
            *_down(d, c, w),  # (n, w, *cells / 2)
            *_down(d, w, 2 * w),  # (n, 2w, *cells / 4)
            *_down(d, 2 * w, 4 * w),  # (n, 4w, *cells / 8)
            nn.Flatten(),
        )
        self.moments = nn.Linear(n_flat, 2 * self.config.n_latent)  # mean and log variance
        self.grown = nn.Linear(self.config.n_latent, n_flat)
        self.decoder = nn.Sequential(
            nn.LeakyReLU(0.01),
            *_up(d, 4 * w, 2 * w),  # (n, 2w, *cells / 4)
            *_up(d, 2 * w, w),  # (n, w, *cells / 2)
            CONV_TRANSPOSE[d](w, c, 4, stride=2, padding=1),  # (n, c, *cells)
        )

    def encode(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (n, n_latent) of the latent numbers."""
        mean, log_variance = self.moments(self.encoder(crops)).float().chunk(2, 1)
        return mean, log_variance.clamp(-12.0, 8.0)

    def decode(self, latent: Tensor) -> Tensor:
        """Crops (n, c, *cells) of latent numbers."""
        out: Tensor = self.decoder(self.grown(latent).unflatten(1, self._shape))
        return out.float()

    def forward(self, crops: Tensor) -> Tensor:
        """The reconstruction from the mean of the latent numbers."""
        return self.decode(self.encode(crops)[0])


def kl_nats(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(q || N(0, I)) of each row, in nats (n,)."""
    return 0.5 * (torch.exp(log_variance) + mean * mean - 1.0 - log_variance).sum(1)


def _down(n_dims: int, n_in: int, n_out: int) -> list[nn.Module]:
    return [
        CONV[n_dims](n_in, n_out, 3, stride=2, padding=1, bias=False),
        BATCH_NORM[n_dims](n_out),
        nn.LeakyReLU(0.01),
    ]


def _up(n_dims: int, n_in: int, n_out: int) -> list[nn.Module]:
    return [
        CONV_TRANSPOSE[n_dims](n_in, n_out, 4, stride=2, padding=1, bias=False),
        BATCH_NORM[n_dims](n_out),
        nn.LeakyReLU(0.01),
    ]
