"""Variational autoencoder of seed crops in 3-D.

Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class VAEConfig:
    """Sizes of the network; `size` is a multiple of 8."""

    size: int = 24  # cells per edge of a crop
    width: int = 12  # channels of the first layer; the next ones have two and four times as many
    n_latent: int = 32


class VAE3D(nn.Module):
    """Crop (n, 1, z, y, x) → its reconstruction, through a normal distribution over `n_latent` numbers."""

    def __init__(self, config: VAEConfig | None = None) -> None:
        super().__init__()
        self.config = config or VAEConfig()
        w, edge = self.config.width, self.config.size // 8
        self._shape = (4 * w, edge, edge, edge)
        n_flat = 4 * w * edge**3
        self.encoder = nn.Sequential(
            *_down(1, w),  # (n, w, z/2, y/2, x/2)
            *_down(w, 2 * w),  # (n, 2w, z/4, y/4, x/4)
            *_down(2 * w, 4 * w),  # (n, 4w, z/8, y/8, x/8)
            nn.Flatten(),
        )
        self.moments = nn.Linear(n_flat, 2 * self.config.n_latent)  # mean and log variance
        self.grown = nn.Linear(self.config.n_latent, n_flat)
        self.decoder = nn.Sequential(
            nn.LeakyReLU(0.01),
            *_up(4 * w, 2 * w),  # (n, 2w, z/4, y/4, x/4)
            *_up(2 * w, w),  # (n, w, z/2, y/2, x/2)
            nn.ConvTranspose3d(w, 1, 4, stride=2, padding=1),  # (n, 1, z, y, x)
        )

    def encode(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (n, n_latent) of the latent numbers."""
        mean, log_variance = self.moments(self.encoder(crops)).float().chunk(2, 1)
        return mean, log_variance.clamp(-12.0, 8.0)

    def decode(self, latent: Tensor) -> Tensor:
        """Crops (n, 1, z, y, x) of latent numbers."""
        out: Tensor = self.decoder(self.grown(latent).unflatten(1, self._shape))
        return out.float()

    def forward(self, crops: Tensor) -> Tensor:
        """The reconstruction from the mean of the latent numbers."""
        return self.decode(self.encode(crops)[0])


def kl_nats(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(q || N(0, I)) of each row, in nats (n,)."""
    return 0.5 * (torch.exp(log_variance) + mean * mean - 1.0 - log_variance).sum(1)


def _down(n_in: int, n_out: int) -> list[nn.Module]:
    return [
        nn.Conv3d(n_in, n_out, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm3d(n_out),
        nn.LeakyReLU(0.01),
    ]


def _up(n_in: int, n_out: int) -> list[nn.Module]:
    return [
        nn.ConvTranspose3d(n_in, n_out, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm3d(n_out),
        nn.LeakyReLU(0.01),
    ]
