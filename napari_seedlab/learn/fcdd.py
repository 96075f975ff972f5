"""Anomaly maps of seeds, learnt from normal ones with pasted defects (FCDD in 3-D).

Liznerski et al., "Explainable Deep One-Class Classification", ICLR 2021, with the loss over ground-truth
maps, whose maps are the masks of made-up defects (:mod:`napari_seedlab.learn.pasting`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_seedlab.core import JobResult, Progress
from napari_seedlab.learn import crops_io, pasting, training
from napari_seedlab.learn.heat import MIN_NORMAL, Found, normal_members, publish, scores
from napari_seedlab.models.fcdd3d import FCDD3D, FCDDConfig

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import numpy.typing as npt

    Float = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]
    Members = npt.NDArray[np.int64]

MAX_MEMBERS = 1024  # seeds that one fit learns from; more add nothing but memory
N_UNIT = 512  # seeds that tell the usual score of a fit


@dataclass(frozen=True)
class FCDDSettings:
    """How an anomaly map is trained."""

    size: int = 28  # cells per edge of a crop
    n_steps: int = 300  # optimiser steps of one fit
    n_fits: int = 2  # fits whose maps are averaged; from the second on without the oddest seeds
    batch: int = 16  # half of it with pasted defects
    peak_rate: float = 5e-3  # largest learning rate
    drop: float = 0.15  # share of the oddest seeds that the later fits leave out
    top: float = 0.01  # share of a seed's hottest cells that make its score
    normal_class: int = 1  # seeds labelled as another class are no part of the normal pool
    width: int = 8  # channels of the first layer
    device: str = "auto"  # or cpu, cuda
    precision: str = "auto"  # or float32, bfloat16; auto asks the hardware


class Pool:
    """Seeds on cubes, in the grey units of their scan.

    Parameters
    ----------
    crops : (n, z, y, x) float
        0 = air, 1 = a usual seed, 0 outside the seed.
    masks : (n, z, y, x) bool

    Attributes
    ----------
    spread : float
        Usual standard deviation of grey values inside a seed.
    """

    def __init__(self, crops: npt.NDArray[np.floating], masks: Mask) -> None:
        self.crops, self.masks = crops, masks
        inside = [float(c[m].astype(np.float32).std()) for c, m in zip(crops, masks, strict=True) if m.any()]
        self.spread = max(float(np.median(inside)), 1e-3) if inside else 1.0
        self._depths: dict[int, Float] = {}

    def __len__(self) -> int:
        return len(self.crops)

    def depth(self, i: int) -> Float:
        """The :func:`~napari_seedlab.learn.pasting.depth_map` of a seed, computed once."""
        if i not in self._depths:
            self._depths[i] = pasting.depth_map(self.masks[i])
        return self._depths[i]

    def forget_depths(self) -> None:
        """Free what :meth:`depth` keeps."""
        self._depths.clear()

    def draw(self, members: Members, batch: int, rng: np.random.Generator) -> tuple[Float, Mask, Mask]:
        """Crops, masks and defect masks (batch, z, y, x); every second one has a pasted defect."""
        n, edge = batch, self.crops.shape[1]
        crops = np.empty((n, edge, edge, edge), np.float32)
        masks, defects = np.zeros(crops.shape, np.bool_), np.zeros(crops.shape, np.bool_)
        for j, i in enumerate(rng.choice(members, batch, replace=len(members) < batch).tolist()):
            crop, mask = self.crops[i].astype(np.float32), self.masks[i]
            defect = np.zeros(mask.shape, np.bool_)
            if j % 2:
                crop, defect = pasting.paste(rng, crop, mask, self.depth(i))
            axes = tuple(rng.permutation(3).tolist())
            flips = tuple(slice(None, None, -1) if rng.random() < 0.5 else slice(None) for _ in range(3))
            for kept, value in ((crops, crop), (masks, mask), (defects, defect)):
                kept[j] = value.transpose(axes)[flips]
        return crops, masks, defects


def network_input(crops: npt.NDArray[np.floating], masks: Mask, spread: float) -> torch.Tensor:
    """Grey values relative to each seed's median, in units of `spread`, 0 outside: (n, 1, z, y, x) float32.

    The spread is one for all seeds: a defect must not shrink its own contrast.
    """
    out = np.zeros(crops.shape, np.float32)
    for i, (crop, mask) in enumerate(zip(crops, masks, strict=True)):
        inside = crop[mask].astype(np.float32)
        if inside.size:
            out[i][mask] = (inside - np.median(inside)) / np.float32(spread)
    return torch.from_numpy(out)[:, None]


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
        crops, masks, defects = pool.draw(members, batch, rng)
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
    model: FCDD3D, pool: Pool, members: Members | None = None, batch: int = 16
) -> Iterator[tuple[Members, Float]]:
    """Heat of seeds of the pool in batches: rows and (rows, z, y, x) float32, 0 outside the seed."""
    model.eval()
    device = next(model.parameters()).device
    chosen = np.arange(len(pool)) if members is None else members
    for first in range(0, len(chosen), batch):
        part = chosen[first : first + batch]
        heat = model.heat(network_input(pool.crops[part], pool.masks[part], pool.spread).to(device))
        yield part, heat.float().cpu().numpy() * pool.masks[part]


@dataclass
class _Averages:
    """Heat of the fits so far, summed in units of each fit's median score."""

    pool: Pool
    settings: FCDDSettings

    def __post_init__(self) -> None:
        self.heat = np.zeros(self.pool.crops.shape, np.float16)
        self.n = 0

    def add(self, model: FCDD3D, members: Members) -> Generator[Progress, None, None]:
        """Add the heat of one fit, batch by batch: there is no second copy of all maps."""
        pace, usual = training.Pace(), []
        for part, values in heat_maps(model, self.pool, _spread(members, N_UNIT)):
            usual.append(scores(values, self.pool.masks[part], self.settings.top))
            if pace.is_due():
                yield Progress(0, len(self.pool), "Scoring seeds")
        unit = max(float(np.median(np.concatenate(usual))), 1e-6)
        for part, values in heat_maps(model, self.pool):
            mean = (self.heat[part].astype(np.float32) * self.n + values / unit) / (self.n + 1)
            self.heat[part] = np.minimum(mean, 6e4)
            if pace.is_due():
                yield Progress(int(part[-1]), len(self.pool), "Scoring seeds")
        self.n += 1

    def scores(self) -> Float:
        """Score of every seed, 1 for the usual one."""
        return scores(self.heat, self.pool.masks, self.settings.top)

    def found(self) -> Found:
        """Heat and scores."""
        return Found(self.heat, self.scores())


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
    normal = {"normal_class": int(request.params.get("normal_class", 1))}
    settings = FCDDSettings(**{**normal, **request.params.get("settings", {})})
    training.use_threads()
    scans = crops_io.read_scans(folder, request.params, ("ct", "image"))
    seeds = yield from crops_io.cut_seeds(scans, settings.size, crops_io.scan_scaling)
    pool = Pool(seeds.crops, seeds.masks)
    members = normal_members(seeds, crops_io.read_labels(folder), settings.normal_class)
    averages = _Averages(pool, settings)
    fits = []
    for number in range(settings.n_fits):
        kept = members if number == 0 else _without_oddest(members, averages.scores(), settings.drop)
        learnt = _spread(kept, MAX_MEMBERS)
        fit = new_trainer(pool, learnt, settings, request.random_state, number)
        report = _Report(number, settings, fit.device.type)
        yield from fit.run(folder / f"checkpoint-{number}.safetensors", report)
        pool.forget_depths()
        yield from averages.add(fit.model, kept)
        fits.append(fit)
    result = yield from publish(folder, scans, seeds, averages.found(), _save_fits(folder, averages, fits))
    return JobResult(result.values, ("fcdd.safetensors", *result.files))


@dataclass(frozen=True)
class _Report:
    """How a fit tells where it stands."""

    number: int
    settings: FCDDSettings
    device: str

    def __call__(self, n_done: int, loss: float) -> Progress:
        """The progress over all fits."""
        n_steps, n_fits = self.settings.n_steps, self.settings.n_fits
        line = f"Learning what is normal, fit {self.number + 1} of {n_fits} on {self.device}"
        return Progress(self.number * n_steps + n_done, n_fits * n_steps, line, {"loss": loss})


def _spread(members: Members, most: int) -> Members:
    """At most `most` members, evenly spread."""
    return members[np.linspace(0, len(members) - 1, min(most, len(members))).astype(np.int64)]


def _without_oddest(members: Members, score: Float, drop: float) -> Members:
    """The members less the share `drop` with the highest scores, but never fewer than the least number."""
    n_kept = max(MIN_NORMAL, round(len(members) * (1 - drop)))
    return np.sort(members[np.argsort(score[members], kind="stable")[:n_kept]])


def _save_fits(folder: Path, averages: _Averages, fits: list[training.Trainer]) -> dict[str, Any]:
    """Write the weights of all fits; refused where one went astray. Returns facts for the model card."""
    if not all(training.is_finite(fit.model) for fit in fits) or not np.isfinite(averages.scores()).all():
        raise training.not_finite("anomaly map")
    tensors = {f"{i}.{k}": v for i, fit in enumerate(fits) for k, v in fit.model.state_dict().items()}
    facts = {"settings": asdict(averages.settings), "kind": "fcdd", "spread": averages.pool.spread}
    training.save_tensors(folder / "fcdd.safetensors", tensors, facts)
    return {"versions": training.versions(fits[0].device, fits[0].is_bfloat16)}
