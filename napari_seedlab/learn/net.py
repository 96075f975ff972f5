"""A 3-D network on seed crops, trained beside the work and compared with the live model."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from napari_seedlab import files
from napari_seedlab.core import JobResult, NotReady, Progress
from napari_seedlab.learn import crops_io, head, training
from napari_seedlab.learn.calibration import balanced_accuracy, fit_temperature, softmax
from napari_seedlab.models.seed_cnn import SeedCNN, SeedCNNConfig

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.floating]
    Ints = npt.NDArray[np.integer]

LEAST_PER_CLASS = 2  # answers that a class needs to count
SPREAD = 0.25  # of grey values inside a usual seed, in units of its scan
N_SHOWN = 20  # answers that the network contradicts most


@dataclass(frozen=True)
class NetSettings:
    """How the network is trained."""

    size: int = 32  # cells per edge of a crop
    fold_steps: int = 100  # optimiser steps of each comparison fold
    final_steps: int = 200  # of the network that is kept, on all answers
    batch: int = 16
    peak_rate: float = 3e-3  # largest learning rate
    weight_decay: float = 1e-2
    widths: tuple[int, ...] = (16, 32, 64)  # channels of the blocks
    dropout: float = 0.3
    device: str = "auto"  # or cpu, cuda
    precision: str = "auto"  # or float32, bfloat16; auto asks the hardware


@dataclass(frozen=True)
class Answers:
    """Labelled seeds in the order of their ids.

    Attributes
    ----------
    seeds : (n,) int64
    class_of : (n,) int64
        Class id of each.
    columns : (n,) int64
        Its place in `class_ids`.
    class_ids : tuple of int
        All classes of the scheme.
    """

    seeds: npt.NDArray[np.int64]
    class_of: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    class_ids: tuple[int, ...]

    @classmethod
    def of(cls, labels: dict[int, int], present: npt.NDArray[np.int64], class_ids: Sequence[int]) -> Answers:
        """The labels of seeds that are present.

        Raises
        ------
        NotReady
            Fewer than two classes have two answers each.
        """
        seeds = np.array(sorted(set(labels) & set(present.tolist())), np.int64)
        class_of = np.array([labels[s] for s in seeds.tolist()], np.int64)
        columns = head.columns_of(class_of, class_ids)
        counts = np.bincount(columns, minlength=len(class_ids))
        n_ready = int((counts >= LEAST_PER_CLASS).sum())
        if n_ready < 2:
            cause = f"{n_ready} of the classes have {LEAST_PER_CLASS} answers, 2 classes are needed"
            raise NotReady("network", cause, "Label seeds of another class")
        return cls(seeds, class_of, columns, tuple(int(c) for c in class_ids))

    @property
    def chance_loss(self) -> float:
        """Cross-entropy of guessing among the classes that were answered: ln C."""
        return math.log(len(np.unique(self.columns)))


def network_input(crops: Floats, masks: npt.NDArray[np.bool_]) -> torch.Tensor:
    """Grey values around a usual seed's and the mask as channels: (n, 2, z, y, x) float32.

    Grey values are relative to the scan, not to the seed: how dense a seed is may tell its class.
    """
    grey = np.where(masks, (crops.astype(np.float32) - 1) / SPREAD, 0).clip(-8, 8)
    return torch.from_numpy(np.stack([grey, masks.astype(np.float32)], 1).astype(np.float32))


def augmented(inputs: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Turn, mirror and slightly change gamma, brightness and noise of each crop; realistic changes only."""
    out = torch.empty_like(inputs)
    for i, crop in enumerate(inputs):
        axes = (0, *(1 + rng.permutation(3)).tolist())
        flips = [axis for axis in (1, 2, 3) if rng.random() < 0.5]
        grey, mask = crop.permute(axes).flip(flips)
        unit = ((grey + 8) / 16) ** float(rng.uniform(0.9, 1.1))
        noise = torch.from_numpy(rng.standard_normal(grey.shape, np.float32)) * float(rng.uniform(0, 0.15))
        out[i, 0] = (unit * 16 - 8 + float(rng.normal(0, 0.1)) + noise) * mask
        out[i, 1] = mask
    return out


def new_model(settings: NetSettings, n_classes: int, random_state: int) -> SeedCNN:
    """An untrained network with weights drawn from the random state."""
    config = SeedCNNConfig(n_classes=n_classes, widths=tuple(settings.widths), dropout=settings.dropout)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state)
        return SeedCNN(config)


def new_trainer(
    crops: crops_io.SeedCrops, rows: Ints, columns: Ints, settings: NetSettings, key: tuple[int, int, int]
) -> training.Trainer:
    """A training on the crops `rows` with class places `columns`; `key` = random state, number, classes."""
    random_state, number, n_classes = key
    device = training.pick_device(settings.device)
    weights = torch.from_numpy(head.class_weights(columns, n_classes)).float()
    target = torch.from_numpy(np.asarray(columns, np.int64))

    def loss(model: torch.nn.Module, step: int, batch: int) -> torch.Tensor:
        rng = training.stream(random_state, number, step)
        torch.manual_seed(int(rng.integers(2**31)))  # dropout
        picks = rng.choice(len(rows), min(batch, len(rows)), replace=False)
        chosen = rows[picks]
        inputs = augmented(network_input(crops.crops[chosen], crops.masks[chosen]), rng)
        each = functional.cross_entropy(
            model(inputs.to(device)).float(), target[picks].to(device), reduction="none"
        )
        weight = weights[picks].to(device)
        return (each * weight).sum() / weight.sum()

    steps = settings.final_steps if number == 0 else settings.fold_steps
    plan = training.Plan(steps, settings.peak_rate, settings.batch, settings.weight_decay, settings.precision)
    model = new_model(settings, n_classes, random_state * 100 + number).to(device)
    return training.Trainer("network", model, loss, plan)


@torch.inference_mode()
def row_logits(model: torch.nn.Module, crops: crops_io.SeedCrops, rows: Ints) -> npt.NDArray[np.float32]:
    """Logits (n, C) of the crops `rows`."""
    model.eval()
    device = next(model.parameters()).device
    parts = [
        model(network_input(crops.crops[part], crops.masks[part]).to(device)).float().cpu().numpy()
        for part in np.array_split(rows, max(1, -(-len(rows) // 32)))
    ]
    return np.concatenate(parts)


def seed_means(values: Floats, seeds: Ints) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Ids of the seeds in order, and the mean of each seed's rows (one row per scan that shows it)."""
    ids, place = np.unique(np.asarray(seeds, np.int64), return_inverse=True)
    sums = np.zeros((len(ids), values.shape[1]))
    np.add.at(sums, place, values)
    return ids, sums / np.bincount(place)[:, None]


@dataclass(frozen=True)
class Comparison:
    """The network against the live model on the same folds, in balanced accuracy.

    `error` is the standard error of the paired difference.
    """

    net: float
    baseline: float | None
    difference: float
    error: float
    chance: float
    net_error: float

    @property
    def activate(self) -> bool:
        """Ahead of the baseline by one standard error, and of chance by two."""
        if self.baseline is None:
            return False
        ahead = self.difference > 0 and self.difference >= self.error
        return ahead and self.net > self.chance + 2 * self.net_error


def compare(columns: Ints, net: Ints, baseline: Ints | None) -> Comparison:
    """Judge out-of-fold predictions of the same rows.

    Each class counts alike: the difference is the mean over classes of the mean over its rows, its
    variance the sum over classes of (variance / rows) / C².

    Parameters
    ----------
    columns, net, baseline : (n,) int
        Said and predicted class of each row; None without a baseline.
    """
    right = (net == columns).astype(np.float64)
    chance = 1.0 / len(np.unique(columns))
    _, net_error = _class_mean(right, columns)
    own = balanced_accuracy(columns, net)
    if baseline is None:
        return Comparison(own, None, 0.0, 0.0, chance, net_error)
    difference, error = _class_mean(right - (baseline == columns), columns)
    return Comparison(own, balanced_accuracy(columns, baseline), difference, error, chance, net_error)


def _class_mean(values: Floats, columns: Ints) -> tuple[float, float]:
    """Mean over classes of the class means, and its standard error."""
    groups = [values[columns == c] for c in np.unique(columns)]
    mean = float(np.mean([g.mean() for g in groups]))
    variance = sum(float(g.var(ddof=1)) / len(g) for g in groups if len(g) > 1)
    return mean, math.sqrt(variance) / len(groups)


def baseline_predictions(folder: Path, answers: Answers, random_state: int) -> npt.NDArray[np.int64] | None:
    """Out-of-fold classes of the logistic head on the embedding in the folder; None without one."""
    path = folder / "embedding.npz"
    if not path.is_file():
        return None
    arrays = files.load_arrays(path)
    place = {s: i for i, s in enumerate(arrays["seed"].tolist())}
    if not set(answers.seeds.tolist()) <= set(place):
        return None
    vectors = np.asarray(arrays["vector"], np.float64)
    chosen = vectors[[place[s] for s in answers.seeds.tolist()]]
    logits = head.out_of_fold_logits(
        chosen, answers.class_of, answers.class_ids, head.pool_scaler(vectors), random_state
    )
    return np.asarray(logits.argmax(1), np.int64)


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: train the network, compare it out of fold with the live model, classify all seeds.

    Reads ``request.json`` (params ``scans``, ``class_ids``, ``settings`` = fields of
    :class:`NetSettings`), region tables, ``labels.npz`` and ``embedding.npz``; writes
    ``net.safetensors`` and ``probabilities.npz`` (seed int64, p float32 (n, C)).

    Raises
    ------
    NotReady
        Fewer than two classes have two answers each, or no scan has seeds.
    """
    folder = Path(folder)
    request = crops_io.read_request(folder)
    settings = NetSettings(**request.params.get("settings", {}))
    training.use_threads()
    scans = crops_io.read_scans(folder, request.params)
    present = np.concatenate([s.table.seed for s in scans])
    answers = Answers.of(crops_io.read_labels(folder), present, request.params["class_ids"])
    crops = yield from crops_io.cut_seeds(scans, settings.size, crops_io.scan_scaling)
    job = _Job(folder, crops, answers, settings, request.random_state)
    logits, first_loss = yield from job.out_of_fold()
    baseline = baseline_predictions(folder, answers, request.random_state)
    comparison = compare(answers.columns, logits.argmax(1), baseline)
    trainer = yield from job.final()
    temperature = fit_temperature(logits, answers.columns)
    yield from _publish(
        folder, trainer.model, crops, answers, {"temperature": temperature, **asdict(settings)}
    )
    values = {
        "balanced_accuracy": comparison.net,
        "head": comparison.baseline,
        "difference": comparison.difference,
        "standard_error": comparison.error,
        "activate": comparison.activate,
        "chance": comparison.chance,
        "chance_loss": answers.chance_loss,
        "first_loss": first_loss,
        "temperature": temperature,
        "n_labels": len(answers.seeds),
        "most_wrong": most_wrong(softmax(logits / temperature), answers),
        "data_hash": crops_io.data_hash(folder),
        "versions": training.versions(trainer.device, trainer.is_bfloat16),
    }
    return JobResult(values, ("net.safetensors", "probabilities.npz"))


def most_wrong(p: Floats, answers: Answers) -> list[dict[str, Any]]:
    """Answers that the out-of-fold prediction contradicts, least likely first: mislabelled or hard."""
    own = p[np.arange(len(p)), answers.columns]
    wrong = np.flatnonzero(p.argmax(1) != answers.columns)
    order = wrong[np.argsort(own[wrong], kind="stable")][:N_SHOWN]
    return [
        {
            "seed": int(answers.seeds[i]),
            "said": int(answers.class_of[i]),
            "predicted": answers.class_ids[int(p[i].argmax())],
            "p": float(own[i]),
        }
        for i in order.tolist()
    ]


@dataclass
class _Job:
    """The trainings of one job: comparison folds, then the network that is kept."""

    folder: Path
    crops: crops_io.SeedCrops
    answers: Answers
    settings: NetSettings
    random_state: int

    def __post_init__(self) -> None:
        place = {s: i for i, s in enumerate(self.answers.seeds.tolist())}
        owner = np.array([place.get(s, -1) for s in self.crops.seeds.tolist()], np.int64)
        self.rows = np.flatnonzero(owner >= 0)  # crops of labelled seeds
        self.owner = owner[self.rows]  # place of their seed among the answers
        self.folds = head.fold_of(self.answers.columns, self.random_state)
        self.total = self.settings.fold_steps * len(np.unique(self.folds)) + self.settings.final_steps
        self.n_before = 0

    def out_of_fold(self) -> Generator[Progress, None, tuple[npt.NDArray[np.float64], float]]:
        """Logits (n, C) of each answer by a network that did not see it, and the very first loss."""
        logits = np.zeros((len(self.answers.seeds), len(self.answers.class_ids)))
        first_loss = float("nan")
        for fold in np.unique(self.folds).tolist():
            held = self.folds[self.owner] == fold
            trainer = self._trainer(~held, fold + 1)
            if fold == 0:
                first_loss = self._first_loss(trainer)
            yield from self._train(trainer, fold + 1, f"Comparison {fold + 1} of {head.N_FOLDS}")
            values = row_logits(trainer.model, self.crops, self.rows[held])
            places, means = seed_means(values, self.owner[held])
            logits[places] = means
        return logits, first_loss

    def final(self) -> Generator[Progress, None, training.Trainer]:
        """The network trained on all answers."""
        trainer = self._trainer(np.ones(len(self.rows), np.bool_), 0)
        yield from self._train(trainer, 0, "Network on all answers")
        return trainer

    def _trainer(self, use: npt.NDArray[np.bool_], number: int) -> training.Trainer:
        key = (self.random_state, number, len(self.answers.class_ids))
        columns = self.answers.columns[self.owner[use]]
        return new_trainer(self.crops, self.rows[use], columns, self.settings, key)

    def _first_loss(self, trainer: training.Trainer) -> float:
        """Loss of the untrained network; far from the chance loss it shows a wrong input."""
        trainer.model.eval()
        logits = row_logits(trainer.model, self.crops, self.rows)
        target = torch.from_numpy(self.answers.columns[self.owner])
        return float(functional.cross_entropy(torch.from_numpy(logits), target))

    def _train(self, trainer: training.Trainer, number: int, line: str) -> Generator[Progress, None, None]:
        n_before, chance = self.n_before, self.answers.chance_loss
        per_epoch = max(1.0, len(self.rows) / trainer.batch)

        def report(n_done: int, loss: float) -> Progress:
            figures = {"loss": loss, "chance_loss": chance, "epoch": n_done / per_epoch}
            return Progress(n_before + n_done, self.total, f"{line} on {trainer.device.type}", figures)

        yield from trainer.run(self.folder / f"checkpoint-{number}.safetensors", report)
        self.n_before += trainer.plan.n_steps


def class_probabilities(
    model: torch.nn.Module, crops: crops_io.SeedCrops, temperature: float
) -> Generator[Progress, None, tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """Seeds in order and their class probabilities (n, C): mean over the scans that show a seed."""
    pace, parts = training.Pace(), []
    for first in range(0, len(crops), 32):
        rows = np.arange(first, min(first + 32, len(crops)))
        parts.append(softmax(row_logits(model, crops, rows) / temperature))
        if pace.is_due():
            yield Progress(first, len(crops), "Classifying seeds")
    seeds, p = seed_means(np.concatenate(parts), crops.seeds)
    return seeds, p.astype(np.float32)


def _publish(
    folder: Path,
    model: torch.nn.Module,
    crops: crops_io.SeedCrops,
    answers: Answers,
    settings: dict[str, Any],
) -> Generator[Progress, None, None]:
    """Write the weights and the probabilities of all seeds; nothing when a number went astray."""
    seeds, p = yield from class_probabilities(model, crops, settings["temperature"])
    if not np.isfinite(p).all():
        raise training.not_finite("network")
    facts = {"kind": "net", "class_ids": answers.class_ids, "settings": settings}
    training.save_model(folder / "net.safetensors", model, facts)
    files.save_arrays(folder / "probabilities.npz", seed=seeds, p=p)
