"""Anomaly maps of seeds, learnt from normal ones with pasted defects (FCDD), in volumes and planes.

Liznerski et al., "Explainable Deep One-Class Classification", ICLR 2021, with the loss over ground-truth
maps, whose maps are the masks of made-up defects (:mod:`napari_seedlab.learn.pasting`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from napari_seedlab.learn import crops_io, training
from napari_seedlab.learn.known import share_of_known
from napari_seedlab.learn.refits import Method, fit_and_publish, read_settings
from napari_seedlab.learn.scenes import CubeSettings, fit_cubes
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


HOTTEST = 0.05  # share of the cells of an odd seed that stand for its defect where nobody painted it


@dataclass(frozen=True)
class FCDDSettings(CubeSettings):
    """How an anomaly map is trained; half of each batch has pasted defects."""


class Batch(NamedTuple):
    """Seeds of one step.

    Attributes
    ----------
    crops : (n, c, *cells) float32
    masks : (n, *cells) bool
        Cells of the seeds. Those of no other mask below may be normal or not: they teach nothing.
    normal, defects : (n, *cells) bool
        Cells that are normal, and cells of defects.
    odd : (n, *cells) bool
        Cells of seeds that are known to be odd, nobody knows where.
    """

    crops: Float
    masks: Mask
    normal: Mask
    defects: Mask
    odd: Mask


def draw(pool: Pool, members: Members, batch: int, rng: np.random.Generator) -> Batch:
    """Every second seed has a pasted defect, or is one that people know to be odd."""
    masks = np.zeros((batch, *pool.masks.shape[1:]), np.bool_)
    drawn = Batch(
        np.empty((batch, *pool.crops.shape[1:]), np.float32), masks, *(np.zeros_like(masks) for _ in range(3))
    )
    known, share = sorted(pool.odd), share_of_known(len(pool.odd))
    for j, i in enumerate(rng.choice(members, batch, replace=len(members) < batch).tolist()):
        none = np.zeros(pool.masks.shape[1:], np.bool_)
        if j % 2 and known and rng.random() < share:
            i = known[rng.integers(len(known))]
            crop, defect = pool.crops[i].astype(np.float32), pool.odd[i]
            normal, odd = none, none if defect.any() else pool.masks[i]
        else:
            crop, defect = pool.pasted(rng, i) if j % 2 else (pool.crops[i].astype(np.float32), none)
            normal, odd = pool.normal[i] & ~defect, none
        axes = tuple(rng.permutation(none.ndim).tolist())
        flips = tuple(slice(None, None, -1) if rng.random() < 0.5 else slice(None) for _ in axes)
        for kept, cells in zip(drawn[1:], (pool.masks[i], normal, defect, odd), strict=True):
            kept[j] = cells.transpose(axes)[flips]
        drawn.crops[j] = crop.transpose(0, *(a + 1 for a in axes))[(slice(None), *flips)]
    return drawn


def map_loss(
    heat: torch.Tensor, normal: torch.Tensor, defects: torch.Tensor, odd: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean heat of normal cells, minus log(1 − exp(−mean heat)) of defects and of the hottest odd cells.

    Equation 4 of the paper with the mean over the defect's own cells, so that small ones count. Of a seed
    that is odd nobody knows where, the hottest cells stand for the defect (multiple instances).

    Parameters
    ----------
    heat : (n, *cells) float
        At least 0.
    normal, defects, odd : (n, *cells) bool
        As in :class:`Batch`.
    """
    loss = (heat * normal).sum() / normal.sum().clamp(min=1)
    counts = defects.flatten(1).sum(1)  # (n,)
    shown = counts > 0
    means = (heat * defects).flatten(1).sum(1)[shown] / counts[shown]
    if odd is not None and bool(odd.any()):
        hot = [
            h[o].topk(max(1, round(HOTTEST * int(o.sum())))).values.mean()
            for h, o in zip(heat, odd, strict=True)
            if bool(o.any())
        ]
        means = torch.cat([means, torch.stack(hot)])
    if not len(means):
        return loss
    return loss - 0.5 * torch.log(-torch.expm1(-means) + 1e-6).mean()


def new_trainer(
    pool: Pool, members: Members, settings: FCDDSettings, random_state: int, number: int = 0
) -> training.Trainer:
    """Fit number `number` of the pool's `members`, ready for its first step."""
    device = training.pick_device(settings.device)

    def loss(model: torch.nn.Module, step: int, batch: int) -> torch.Tensor:
        rng = training.stream(random_state, number, step)
        drawn = draw(pool, members, batch, rng)
        heat = model.heat(pool.shown(drawn.crops, drawn.masks).to(device))
        return map_loss(heat, *(torch.from_numpy(cells).to(device) for cells in drawn[2:]))

    plan = training.Plan(settings.n_steps, settings.peak_rate, settings.batch, precision=settings.precision)
    model = new_model(pool, settings, random_state, number).to(device)
    return training.Trainer("anomaly map", model, loss, plan)


def new_model(pool: Pool, settings: FCDDSettings, random_state: int, number: int = 0) -> FCDD:
    """An untrained network with weights drawn from the random state and the number of the fit."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state * 1000 + number)
        return FCDD(FCDDConfig(pool.n_channels, settings.width, pool.n_dims, pool.n_stem, pool.is_fine))


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
    ``normal_class``), region tables, optional ``labels.npz`` and ``painted-<scan>.npz`` (voxel (m, 3) int:
    defects that people painted); writes ``fcdd.safetensors``,
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
    method = Method("fcdd", "Learning what is normal", new_trainer, heat_maps, has_gaps=True)
    is_cube = any(entry.get("modality") == "hsi" for entry in request.params.get("scans", ()))
    fit = fit_cubes if is_cube else fit_and_publish
    return (yield from fit(folder, request, method, settings))
