"""Anomaly maps of seeds, learnt from normal ones with pasted defects (FCDD), in volumes and planes.

Liznerski et al., "Explainable Deep One-Class Classification", ICLR 2021, with the loss over ground-truth
maps, whose maps are the masks of made-up defects (:mod:`napari_seedlab.learn.pasting`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_seedlab.learn import crops_io, training
from napari_seedlab.learn.refits import FitSettings, Method, fit_and_publish, read_settings
from napari_seedlab.models.fcdd import FCDD, FCDDConfig

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import numpy.typing as npt

    from napari_seedlab.core import JobResult, Progress
    from napari_seedlab.learn.pool import Pool
    from napari_seedlab.models.memory_bank import MemoryBank

    Float = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]
    Members = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FCDDSettings(FitSettings):
    """How an anomaly map is trained; half of each batch has pasted defects."""


def draw(pool: Pool, members: Members, batch: int, rng: np.random.Generator) -> tuple[Float, Mask, Mask]:
    """Crops (batch, c, *cells), masks and defect masks (batch, *cells); every second has a pasted defect."""
    masks = np.zeros((batch, *pool.masks.shape[1:]), np.bool_)
    crops, defects = np.empty((batch, *pool.crops.shape[1:]), np.float32), np.zeros_like(masks)
    for j, i in enumerate(rng.choice(members, batch, replace=len(members) < batch).tolist()):
        crop, mask = pool.crops[i].astype(np.float32), pool.masks[i]
        defect = np.zeros(mask.shape, np.bool_)
        if j % 2:
            crop, defect = pool.pasted(rng, i)
        axes = tuple(rng.permutation(mask.ndim).tolist())
        flips = tuple(slice(None, None, -1) if rng.random() < 0.5 else slice(None) for _ in axes)
        masks[j], defects[j] = mask.transpose(axes)[flips], defect.transpose(axes)[flips]
        crops[j] = crop.transpose(0, *(a + 1 for a in axes))[(slice(None), *flips)]
    return crops, masks, defects


def map_loss(heat: torch.Tensor, masks: torch.Tensor, defects: torch.Tensor) -> torch.Tensor:
    """Mean heat of normal cells, minus log(1 − exp(−mean heat)) of the pasted defects.

    Equation 4 of the paper with the mean over the defect's own cells, so that small ones count.

    Parameters
    ----------
    heat : (n, *cells) float
        At least 0.
    masks, defects : (n, *cells) bool
        Cells of the seeds, and of the defects inside them.
    """
    normal = masks & ~defects
    loss = (heat * normal).sum() / normal.sum().clamp(min=1)
    counts = defects.flatten(1).sum(1)  # (n,)
    shown = counts > 0
    if not bool(shown.any()):
        return loss
    means = (heat * defects).flatten(1).sum(1)[shown] / counts[shown]
    return loss - 0.5 * torch.log(-torch.expm1(-means) + 1e-6).mean()


def new_trainer(
    pool: Pool, members: Members, settings: FCDDSettings, random_state: int, number: int = 0
) -> training.Trainer:
    """Fit number `number` of the pool's `members`, ready for its first step."""
    device = training.pick_device(settings.device)

    def loss(model: torch.nn.Module, step: int, batch: int) -> torch.Tensor:
        rng = training.stream(random_state, number, step)
        crops, masks, defects = draw(pool, members, batch, rng)
        heat = model.heat(pool.shown(crops, masks).to(device))
        return map_loss(heat, torch.from_numpy(masks).to(device), torch.from_numpy(defects).to(device))

    plan = training.Plan(settings.n_steps, settings.peak_rate, settings.batch, precision=settings.precision)
    model = new_model(pool, settings, random_state, number).to(device)
    return training.Trainer("anomaly map", model, loss, plan)


def new_model(pool: Pool, settings: FCDDSettings, random_state: int, number: int = 0) -> FCDD:
    """An untrained network with weights drawn from the random state and the number of the fit."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state * 1000 + number)
        return FCDD(FCDDConfig(pool.n_channels, settings.width, pool.n_dims))


@torch.inference_mode()
def heat_maps(
    model: FCDD | MemoryBank, pool: Pool, members: Members | None = None, batch: int = 16
) -> Iterator[tuple[Members, Float]]:
    """Heat of seeds of the pool in batches: rows and (rows, *cells) float32, 0 outside the seed."""
    model.eval()
    device = next(model.parameters()).device
    chosen = np.arange(len(pool)) if members is None else members
    for first in range(0, len(chosen), batch):
        part = chosen[first : first + batch]
        heat = model.heat(pool.shown(pool.crops[part], pool.masks[part]).to(device))
        yield part, heat.float().cpu().numpy() * pool.masks[part]


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: learn what is normal, score every seed and write the heat of every scan.

    Reads ``request.json`` (params ``scans``, ``settings`` = fields of :class:`FCDDSettings`, optional
    ``normal_class``), region tables and optional ``labels.npz``; writes ``fcdd.safetensors``,
    ``scores.npz`` (seed int64, score float32; the larger the odder, 1 = the median seed) and
    ``heat-<scan>.zarr`` (uint8 of the region raster's shape, one colour scale for all seeds and scans,
    0 outside seeds).

    Raises
    ------
    NotReady
        No scan has seeds, or fewer than 8 of them may be normal.
    InputError
        The scans are not alike, a seed lies outside its scan, or the seeds show no difference.
    """
    folder = Path(folder)
    request = crops_io.read_request(folder)
    settings = read_settings(request, FCDDSettings)
    method = Method("fcdd", "Learning what is normal", new_trainer, heat_maps)
    return (yield from fit_and_publish(folder, request, method, settings))
