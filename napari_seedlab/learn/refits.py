"""Fits of anomaly networks: learnt on what may be normal, again without the oddest, heat averaged.

A pool nearly always holds defects that nobody has labelled. The fits after the first leave out the seeds
that the ones before found oddest, and the mean of their maps is what counts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np

from napari_seedlab.core import JobResult, Progress
from napari_seedlab.learn import crops_io, training
from napari_seedlab.learn.heat import MIN_NORMAL, Found, normal_members, publish, read_teachers, scores
from napari_seedlab.learn.known import known_odd
from napari_seedlab.learn.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    import numpy.typing as npt
    import torch

    from napari_seedlab.core import JobRequest

    Float = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]
    Members = npt.NDArray[np.int64]

MAX_MEMBERS = 1024  # seeds that one fit learns from; more add nothing but memory
N_UNIT = 512  # seeds that tell the usual score of a fit


@dataclass(frozen=True)
class FitSettings:
    """What all fitted methods have in common."""

    SIZES: ClassVar[dict[str, int]] = {"volume": 28, "plane": 64, "cube": 32}

    size: int = 0  # cells per edge of a crop; 0 = as in SIZES
    n_steps: int = 300  # optimiser steps of one fit
    n_fits: int = 2  # fits whose maps are averaged; from the second on without the oddest seeds
    batch: int = 16
    peak_rate: float = 5e-3  # largest learning rate
    drop: float = 0.15  # share of the oddest seeds that the later fits leave out
    top: float = 0.01  # share of a seed's hottest cells that make its score
    normal_class: int = 1  # seeds labelled as another class are no part of the normal pool
    width: int = 8  # channels of the first layer
    device: str = "auto"  # or cpu, cuda
    precision: str = "auto"  # or float32, bfloat16; auto asks the hardware

    def sized(self, kind: str) -> Self:
        """These settings with the crop size that is meant for a "volume", a "plane" or a "cube"."""
        return self if self.size else replace(self, size=self.SIZES[kind])


@dataclass(frozen=True)
class Method:
    """A network that turns crops into heat, and how it learns.

    Attributes
    ----------
    kind : str
        As in the model card.
    learning : str
        What a progress line says.
    new_trainer : callable
        ``(pool, members, settings, random_state, number)`` → a fit, ready for its first step.
    heat_maps : callable
        ``(model, pool, members or None)`` → iterator over rows and their heat (rows, *cells) float32.
    finish : callable
        ``(trained model, pool, members)`` → the model that makes the heat.
    has_gaps : bool
        Whether it sees the cracks and tunnels of a volume's seed that its region leaves out.
    """

    kind: str
    learning: str
    new_trainer: Callable[[Pool, Members, Any, int, int], training.Trainer]
    heat_maps: Callable[[Any, Pool, Members | None], Iterator[tuple[Members, Float]]]
    finish: Callable[[torch.nn.Module, Pool, Members], torch.nn.Module] = lambda model, _pool, _members: model
    has_gaps: bool = False


@dataclass
class _Averages:
    """Heat of the fits so far, summed in units of each fit's median score."""

    method: Method
    pool: Pool
    settings: FitSettings

    def __post_init__(self) -> None:
        self.heat = np.zeros(self.pool.masks.shape, np.float16)
        self.n = 0

    def add(self, model: torch.nn.Module, members: Members) -> Generator[Progress, None, None]:
        """Add the heat of one fit, batch by batch: there is no second copy of all maps."""
        pace, usual = training.Pace(), []
        for part, values in self.method.heat_maps(model, self.pool, _spread(members, N_UNIT)):
            usual.append(scores(values, self.pool.masks[part], self.settings.top))
            if pace.is_due():
                yield Progress(0, len(self.pool), "Scoring seeds")
        unit = max(float(np.median(np.concatenate(usual))), 1e-6)
        for part, values in self.method.heat_maps(model, self.pool, None):
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


Settings = TypeVar("Settings", bound=FitSettings)


def read_settings(request: JobRequest, kind: type[Settings]) -> Settings:
    """Settings of a request over the defaults of their kind; the normal class stands beside them."""
    normal = {"normal_class": int(request.params.get("normal_class", 1))}
    return kind(**{**normal, **request.params.get("settings", {})})


def fit_and_publish(
    folder: Path, request: JobRequest, method: Method, settings: FitSettings
) -> Generator[Progress, None, JobResult]:
    """Learn what is normal in the seeds of a job folder, score every seed, write heat and weights."""
    training.use_threads()
    scans = crops_io.read_scans(folder, request.params, ("ct", "image"))
    crops_io.check_alike(scans)
    is_flat = scans[0].is_flat
    settings = settings.sized("plane" if is_flat else "volume")
    scaling = crops_io.plane_scaling if is_flat else crops_io.scan_scaling
    seeds = yield from crops_io.cut_channels(scans, settings.size, scaling, has_gaps=method.has_gaps)
    labels = crops_io.read_labels(folder)
    odd = yield from known_odd(folder, scans, seeds, labels, settings.normal_class)
    teachers = read_teachers(folder)
    members = normal_members(seeds, odd, teachers)
    pool = Pool(seeds.crops, seeds.masks)
    pool.odd = odd if teachers is None else {}
    pool.require_contrast()
    found, told = yield from fit_all(folder, pool, members, method, settings, request.random_state)
    told["notes"] = list(seeds.notes)
    result = yield from publish(folder, scans, seeds, found, told)
    return JobResult(result.values, (f"{method.kind}.safetensors", *result.files))


def fit_all(
    folder: Path, pool: Pool, members: Members, method: Method, settings: FitSettings, random_state: int
) -> Generator[Progress, None, tuple[Found, dict[str, Any]]]:
    """All fits of a pool; write their weights, return the mean heat and facts for the model card."""
    averages = _Averages(method, pool, settings)
    models: list[torch.nn.Module] = []
    for number in range(settings.n_fits):
        kept = members if number == 0 else _without_oddest(members, averages.scores(), settings.drop)
        fit = method.new_trainer(pool, _spread(kept, MAX_MEMBERS), settings, random_state, number)
        report = _Report(method.learning, number, settings, fit.device.type)
        yield from fit.run(folder / f"checkpoint-{number}.safetensors", report)
        pool.forget_depths()
        models.append(method.finish(fit.model, pool, _spread(kept, MAX_MEMBERS)))
        yield from averages.add(models[-1], kept)
    told = _save_fits(folder, averages, models)
    told["versions"] = training.versions(fit.device, fit.is_bfloat16)
    return averages.found(), told


@dataclass(frozen=True)
class _Report:
    """How a fit tells where it stands."""

    learning: str
    number: int
    settings: FitSettings
    device: str

    def __call__(self, n_done: int, loss: float) -> Progress:
        """The progress over all fits."""
        n_steps, n_fits = self.settings.n_steps, self.settings.n_fits
        line = f"{self.learning}, fit {self.number + 1} of {n_fits} on {self.device}"
        return Progress(self.number * n_steps + n_done, n_fits * n_steps, line, {"loss": loss})


def _spread(members: Members, most: int) -> Members:
    """At most `most` members, evenly spread."""
    return members[np.linspace(0, len(members) - 1, min(most, len(members))).astype(np.int64)]


def _without_oddest(members: Members, score: Float, drop: float) -> Members:
    """The members less the share `drop` with the highest scores, but never fewer than the least number."""
    n_kept = max(MIN_NORMAL, round(len(members) * (1 - drop)))
    return np.sort(members[np.argsort(score[members], kind="stable")[:n_kept]])


def _save_fits(folder: Path, averages: _Averages, models: list[torch.nn.Module]) -> dict[str, Any]:
    """Write the weights of all fits; refused where one went astray. Returns facts for the model card."""
    if not all(training.is_finite(model) for model in models) or not np.isfinite(averages.scores()).all():
        raise training.not_finite("anomaly map")
    kind = averages.method.kind
    tensors = {f"{i}.{k}": v for i, model in enumerate(models) for k, v in model.state_dict().items()}
    facts = {"settings": asdict(averages.settings), "kind": kind, "spread": averages.pool.spread.tolist()}
    training.save_tensors(folder / f"{kind}.safetensors", tensors, facts)
    return {"method": kind}
