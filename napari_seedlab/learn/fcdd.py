"""Anomaly maps of seeds, learnt from normal ones with pasted defects (FCDD in 3-D).

Liznerski et al., "Explainable Deep One-Class Classification", ICLR 2021, with the loss over ground-truth
maps, whose maps are the masks of made-up defects (:mod:`napari_seedlab.learn.pasting`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_seedlab.learn import crops_io, pasting, training
from napari_seedlab.learn.refits import (
    FitSettings,
    Method,
    Pool,
    fit_and_publish,
    network_input,
    read_settings,
)
from napari_seedlab.models.fcdd3d import FCDD3D, FCDDConfig

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import numpy.typing as npt

    from napari_seedlab.core import JobResult, Progress
    from napari_seedlab.models.memory_bank import MemoryBank

    Float = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]
    Members = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FCDDSettings(FitSettings):
    """How an anomaly map is trained; half of each batch has pasted defects."""


def draw(pool: Pool, members: Members, batch: int, rng: np.random.Generator) -> tuple[Float, Mask, Mask]:
    """Crops, masks and defect masks (batch, z, y, x); every second one has a pasted defect."""
    n, edge = batch, pool.crops.shape[1]
    crops = np.empty((n, edge, edge, edge), np.float32)
    masks, defects = np.zeros(crops.shape, np.bool_), np.zeros(crops.shape, np.bool_)
    for j, i in enumerate(rng.choice(members, batch, replace=len(members) < batch).tolist()):
        crop, mask = pool.crops[i].astype(np.float32), pool.masks[i]
        defect = np.zeros(mask.shape, np.bool_)
        if j % 2:
            crop, defect = pasting.paste(rng, crop, mask, pool.depth(i))
        axes = tuple(rng.permutation(3).tolist())
        flips = tuple(slice(None, None, -1) if rng.random() < 0.5 else slice(None) for _ in range(3))
        for kept, value in ((crops, crop), (masks, mask), (defects, defect)):
            kept[j] = value.transpose(axes)[flips]
    return crops, masks, defects


def map_loss(heat: torch.Tensor, masks: torch.Tensor, defects: torch.Tensor) -> torch.Tensor:
    """Mean heat of normal cells, minus log(1 − exp(−mean heat)) of the pasted defects.

    Equation 4 of the paper with the mean over the defect's own cells, so that small ones count.

    Parameters
    ----------
    heat : (n, z, y, x) float
        At least 0.
    masks, defects : (n, z, y, x) bool
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
        heat = model.heat(network_input(crops, masks, pool.spread).to(device))
        return map_loss(heat, torch.from_numpy(masks).to(device), torch.from_numpy(defects).to(device))

    plan = training.Plan(settings.n_steps, settings.peak_rate, settings.batch, precision=settings.precision)
    return training.Trainer("anomaly map", new_model(settings, random_state, number).to(device), loss, plan)


def new_model(settings: FCDDSettings, random_state: int, number: int = 0) -> FCDD3D:
    """An untrained network with weights drawn from the random state and the number of the fit."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state * 1000 + number)
        return FCDD3D(FCDDConfig(width=settings.width))


@torch.inference_mode()
def heat_maps(
    model: FCDD3D | MemoryBank, pool: Pool, members: Members | None = None, batch: int = 16
) -> Iterator[tuple[Members, Float]]:
    """Heat of seeds of the pool in batches: rows and (rows, z, y, x) float32, 0 outside the seed."""
    model.eval()
    device = next(model.parameters()).device
    chosen = np.arange(len(pool)) if members is None else members
    for first in range(0, len(chosen), batch):
        part = chosen[first : first + batch]
        heat = model.heat(network_input(pool.crops[part], pool.masks[part], pool.spread).to(device))
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
        No CT scan has seeds, or fewer than 8 of them may be normal.
    """
    folder = Path(folder)
    request = crops_io.read_request(folder)
    settings = read_settings(request, FCDDSettings)
    method = Method("fcdd", "Learning what is normal", new_trainer, heat_maps)
    return (yield from fit_and_publish(folder, request, method, settings))
