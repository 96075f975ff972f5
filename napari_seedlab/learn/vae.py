"""Anomaly maps from what a variational autoencoder cannot rebuild: a second opinion, without made-up defects.

The loss is the squared error summed over the seed's cells plus KL(q || N(0, I)), the latter growing in
over the first third of the steps (Bowman et al., "Generating Sentences from a Continuous Space", 2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from napari_seedlab.core import InputError
from napari_seedlab.learn import crops_io, training
from napari_seedlab.learn.refits import FitSettings, Method, fit_and_publish, read_settings
from napari_seedlab.models.layers import CONVOLVED
from napari_seedlab.models.vae import VAE, VAEConfig, kl_nats

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    import numpy.typing as npt

    from napari_seedlab.core import JobResult, Progress
    from napari_seedlab.learn.pool import Pool

    Float = npt.NDArray[np.float32]
    Members = npt.NDArray[np.int64]

WARM_UP = 0.3  # share of the steps over which the KL term grows to its weight
SMOOTH = (0.054, 0.244, 0.404, 0.244, 0.054)  # a Gaussian of one cell


@dataclass(frozen=True)
class VAESettings(FitSettings):
    """How the autoencoder is trained."""

    SIZES: ClassVar[dict[str, int]] = {"volume": 24, "plane": 64}  # multiples of 8

    n_steps: int = 400
    peak_rate: float = 2e-3
    width: int = 12
    n_latent: int = 32
    kl_weight: float = 1.0


def elbo_loss(
    model: VAE, crops: torch.Tensor, masks: torch.Tensor, noise: torch.Tensor, kl_weight: float
) -> torch.Tensor:
    """Squared error inside the seed plus weighted KL, mean over the batch.

    Parameters
    ----------
    model : VAE
        Changed by nobody.
    crops : (n, c, *cells) float
        Network input.
    masks : (n, 1, *cells) bool
        Cells of the seeds.
    noise : (n, n_latent) float
        Draws of N(0, I).
    kl_weight : float
        Weight of the KL term.
    """
    mean, log_variance = model.encode(crops)
    rebuilt = model.decode(mean + torch.exp(0.5 * log_variance) * noise)
    error = ((rebuilt - crops).square() * masks).flatten(1).sum(1)
    return (error + kl_weight * kl_nats(mean, log_variance)).mean()


def new_trainer(
    pool: Pool, members: Members, settings: VAESettings, random_state: int, number: int = 0
) -> training.Trainer:
    """Fit number `number` of the pool's `members`, ready for its first step."""
    device = training.pick_device(settings.device)

    def loss(model: torch.nn.Module, step: int, batch: int) -> torch.Tensor:
        rng = training.stream(random_state, number, step)
        rows = rng.choice(members, batch, replace=len(members) < batch)
        masks = pool.masks[rows]
        turn = _turn(rng, pool.n_dims)
        crops = turn(pool.shown(pool.crops[rows], masks)).to(device)
        inside = turn(torch.from_numpy(masks)[:, None]).to(device)
        noise = torch.from_numpy(rng.standard_normal((batch, settings.n_latent)).astype(np.float32))
        weight = settings.kl_weight * min(1.0, step / max(1.0, WARM_UP * settings.n_steps))
        return elbo_loss(model, crops, inside, noise.to(device), weight)

    plan = training.Plan(settings.n_steps, settings.peak_rate, settings.batch, precision=settings.precision)
    model = new_model(pool, settings, random_state, number).to(device)
    return training.Trainer("autoencoder", model, loss, plan)


def _turn(rng: np.random.Generator, n_dims: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """A turn and mirroring of crops (n, c, *cells), the same for all that it is applied to."""
    axes = [int(a) + 2 for a in rng.permutation(n_dims)]
    flips = [a + 2 for a in range(n_dims) if rng.random() < 0.5]

    def turn(crops: torch.Tensor) -> torch.Tensor:
        return crops.permute(0, 1, *axes).flip(flips)

    return turn


def new_model(pool: Pool, settings: VAESettings, random_state: int, number: int = 0) -> VAE:
    """An untrained network with weights drawn from the random state and the number of the fit."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state * 1000 + number)
        sizes = (pool.masks.shape[1], settings.width, settings.n_latent, pool.n_channels, pool.n_dims)
        return VAE(VAEConfig(*sizes))


@torch.inference_mode()
def heat_maps(
    model: VAE, pool: Pool, members: Members | None = None, batch: int = 16
) -> Iterator[tuple[Members, Float]]:
    """What was not rebuilt, |x − x̂| smoothed by one cell inside the seed: rows and (rows, *cells).

    Of several channels, the root of the mean square of what each did not rebuild.
    """
    model.eval()
    device = next(model.parameters()).device
    chosen = np.arange(len(pool)) if members is None else members
    for first in range(0, len(chosen), batch):
        part = chosen[first : first + batch]
        crops = pool.shown(pool.crops[part], pool.masks[part]).to(device)
        inside = torch.from_numpy(pool.masks[part])[:, None].to(device).float()
        error = magnitude(crops - model(crops)) * inside
        heat = smooth(error) / smooth(inside).clamp(min=1e-3) * inside
        yield part, heat[:, 0].cpu().numpy()


def magnitude(differences: torch.Tensor) -> torch.Tensor:
    """Root of the mean square over channels: (n, c, *cells) → (n, 1, *cells); for one, the absolute value."""
    if differences.shape[1] == 1:
        return differences.abs()
    return differences.square().mean(1, keepdim=True).sqrt()


def smooth(crops: torch.Tensor) -> torch.Tensor:
    """Crops (n, 1, *cells) blurred by a Gaussian of one cell, axis by axis."""
    n_dims = crops.ndim - 2
    kernel, convolved = torch.tensor(SMOOTH, device=crops.device), CONVOLVED[n_dims]
    for axis in range(n_dims):
        shape, padding = [1] * (n_dims + 2), [0] * n_dims
        shape[2 + axis], padding[axis] = len(SMOOTH), len(SMOOTH) // 2
        crops = convolved(crops, kernel.view(shape), padding=padding)
    return crops


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: learn to rebuild seeds, score every seed by what was not rebuilt, write the heat of every scan.

    Reads and writes what :func:`napari_seedlab.learn.fcdd.run` does, with ``vae.safetensors``.

    Raises
    ------
    NotReady
        No scan has seeds, or fewer than 8 of them may be normal.
    InputError
        As there; or the crop size is no multiple of 8.
    """
    folder = Path(folder)
    request = crops_io.read_request(folder)
    settings = read_settings(request, VAESettings)
    if settings.size % 8:
        raise InputError("settings", f"size {settings.size} is no multiple of 8", "Use 24 or 32")
    method = Method("vae", "Learning to rebuild seeds", new_trainer, heat_maps)
    return (yield from fit_and_publish(folder, request, method, settings))
