"""A network on seed crops, volumes or planes, trained beside the work and compared with the live model."""

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
from napari_seedlab.learn.folds import folds_of, out_of_fold, read_groups
from napari_seedlab.learn.nearest import nearest_votes
from napari_seedlab.learn.net_input import (
    Cutter,
    NetSettings,
    Samples,
    Shape,
    augmented,
    dropout_at,
    network_input,
    new_model,
    settings_from,
    shape_of,
    started,
    step_of,
    to_device,
)
from napari_seedlab.learn.spreading import LookAlikes
from napari_seedlab.learn.transfer import held, read_prior

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.floating]
    Ints = npt.NDArray[np.integer]

__all__ = ["NetSettings", "augmented", "network_input", "new_model", "run", "started"]

LEAST_PER_CLASS = 2  # answers that a class needs to count
N_SHOWN = 20  # answers that the network contradicts most
PART = 32  # crops that are classified at a time


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

    @property
    def expected_loss(self) -> float:
        """Cross-entropy of a network that knows nothing yet: ln of all classes of the scheme."""
        return math.log(len(self.class_ids))


def rows_of(answers: Answers, seeds: Ints) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of `seeds` that were answered, and the place of each among the answers."""
    place = {s: i for i, s in enumerate(answers.seeds.tolist())}
    owner = np.array([place.get(s, -1) for s in seeds.tolist()], np.int64)
    rows = np.flatnonzero(owner >= 0)
    return rows, owner[rows]


def new_trainer(
    crops: crops_io.SeedCrops,
    rows: Ints,
    columns: Ints,
    settings: NetSettings,
    key: tuple[int, int, int],
    folder: Path | None = None,
) -> training.Trainer:
    """A training on the crops `rows` with class places `columns`; `key` = random state, number, classes.

    It starts from the weights that the job `folder` has, where there are some (see
    :func:`~napari_seedlab.learn.net_input.started`).
    """
    random_state, number, n_classes = key
    shape = Shape(crops.crops.shape[1], crops.masks.ndim - 1)
    settings = settings.filled(shape.n_dims)
    steps = settings.final_steps if number == 0 else settings.fold_steps
    device = training.pick_device(settings.device)
    weights = torch.from_numpy(head.class_weights(columns, n_classes)).float()
    samples = Samples(crops, np.asarray(rows, np.int64), np.asarray(columns, np.int64))

    def loss(model: torch.nn.Module, step: int, batch: int) -> torch.Tensor:
        picks, dropout, rng = step_of(random_state, number, step, len(samples), batch)
        torch.manual_seed(dropout)
        dropout_at(model, step / steps)
        inputs, target = samples.draw(picks, rng)
        logits = model(to_device(inputs, device)).float()
        each = functional.cross_entropy(logits, target.to(device), reduction="none")
        weight = weights[picks].to(device)
        return (each * weight).sum() / weight.sum()

    plan = training.Plan(steps, settings.peak_rate, settings.batch, settings.weight_decay, settings.precision)
    model = new_model(settings, n_classes, random_state * 100 + number, shape)
    model = (started(model, folder) if folder else model).to(device)
    return training.Trainer("network", model, loss, plan)


@torch.inference_mode()
def row_logits(model: torch.nn.Module, crops: crops_io.SeedCrops, rows: Ints) -> npt.NDArray[np.float32]:
    """Logits (n, C) of the crops `rows`."""
    model.eval()
    device = next(model.parameters()).device
    parts = [
        model(to_device(network_input(crops.crops[part], crops.masks[part]), device)).float().cpu().numpy()
        for part in np.array_split(rows, max(1, -(-len(rows) // PART)))
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
    def is_chance(self) -> bool:
        """Not ahead of chance by two standard errors."""
        return self.net <= self.chance + 2 * self.net_error

    @property
    def activate(self) -> bool:
        """Ahead of the baseline by one standard error, and of chance by two."""
        if self.baseline is None:
            return False
        return self.difference > 0 and self.difference >= self.error and not self.is_chance


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
    counts = np.unique(columns, return_counts=True)[1]
    by_guessing = math.sqrt(float((chance * (1 - chance) / counts).sum())) * chance
    net_error = max(
        net_error, by_guessing
    )  # few answers that are all right by luck have no error of their own
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


@dataclass(frozen=True)
class Baselines:
    """Out-of-fold classes of the answers by what is simpler than a network; None without an embedding.

    Attributes
    ----------
    majority, knn, head : (n,) int64
        Always the most frequent class; the five nearest answers on the embedding; the logistic head on it.
    """

    majority: npt.NDArray[np.int64]
    knn: npt.NDArray[np.int64] | None = None
    head: npt.NDArray[np.int64] | None = None

    @classmethod
    def of(
        cls, folder: Path, answers: Answers, folds: Ints, params: Mapping[str, Any], random_state: int = 0
    ) -> Baselines:
        """What the embedding in the folder gives, on the folds of the network.

        The head is fitted as the live model is: from what an earlier project brings (``prior.npz``, by the
        `class_names` of `params`), and with look-alikes where these teach as well (`semi_supervised`).
        """
        most = np.full(len(answers.columns), np.bincount(answers.columns).argmax(), np.int64)
        path = folder / "embedding.npz"
        if not path.is_file():
            return cls(most)
        arrays = files.load_arrays(path)
        place = {s: i for i, s in enumerate(arrays["seed"].tolist())}
        if not set(answers.seeds.tolist()) <= set(place):
            return cls(most)
        vectors = np.asarray(arrays["vector"], np.float64)
        rows = np.asarray([place[s] for s in answers.seeds.tolist()], np.int64)
        chosen, ids, widths = vectors[rows], answers.class_ids, arrays.get("widths")
        scaler = head.pool_scaler(vectors, widths)
        names = params.get("class_names") or [str(c) for c in ids]
        prior = read_prior(folder / "prior.npz", ids, names, vectors, widths)
        start = held(chosen, answers.class_of, ids, scaler, prior, random_state)
        teaches = bool(params.get("semi_supervised", False))
        alike = LookAlikes(head.scaled(vectors, *scaler), rows) if teaches else None
        logits = out_of_fold(vectors, rows, answers.class_of, ids, scaler, folds, start, alike)
        knn = nearest_votes(head.scaled(chosen, *scaler), answers.columns, folds)
        return cls(most, knn, np.asarray(logits.argmax(1), np.int64))

    def figures(self, columns: Ints) -> dict[str, float | None]:
        """Balanced accuracy of each."""
        found = {"majority": self.majority, "knn": self.knn, "head": self.head}
        return {k: None if v is None else balanced_accuracy(columns, v) for k, v in found.items()}


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: train the network, compare it out of fold with the live model, classify all seeds.

    Reads ``request.json`` (params ``scans``, ``class_ids``, ``settings`` = fields of
    :class:`~napari_seedlab.learn.net_input.NetSettings`, and those of :meth:`Baselines.of`), region tables,
    ``labels.npz``, ``embedding.npz`` and, where there is one, ``prior.npz``; writes ``net.safetensors``,
    ``probabilities.npz`` (seed int64, p float32 (n, C)) and ``losses.npz`` (see :func:`losses_of`).

    Raises
    ------
    NotReady
        Fewer than two classes have two answers each, or no scan has seeds.
    InputError
        The scans are not alike, or the crops do not fit into memory.
    """
    folder = Path(folder)
    request = crops_io.read_request(folder)
    training.use_threads()
    scans = crops_io.read_scans(folder, request.params)
    settings = settings_from(request.params, shape_of(scans))
    cutter = Cutter(scans, settings.size)
    answers = Answers.of(crops_io.read_labels(folder), cutter.seeds, request.params["class_ids"])
    crops = yield from cutter.cut(rows_of(answers, cutter.seeds)[0])
    job = _Job(folder, crops, answers, settings, request.random_state)
    logits, first_loss = yield from job.out_of_fold()
    baselines = Baselines.of(folder, answers, job.folds.fold, request.params, request.random_state)
    figures = baselines.figures(answers.columns)
    comparison = compare(answers.columns, logits.argmax(1), baselines.head)
    trainer = yield from job.final()
    temperature = fit_temperature(logits, answers.columns)
    facts = {"temperature": temperature, **asdict(settings)}
    yield from _publish(folder, trainer.model, cutter, answers, facts)
    losses = losses_of(softmax(logits / temperature), answers)
    files.save_arrays(folder / "losses.npz", **losses)
    values = {
        "balanced_accuracy": comparison.net,
        **figures,
        "difference": comparison.difference,
        "standard_error": comparison.error,
        "activate": comparison.activate and comparison.net >= (figures["knn"] or 0.0),
        "chance": comparison.chance,
        "is_chance": comparison.is_chance,
        "chance_loss": answers.chance_loss,
        "expected_loss": answers.expected_loss,
        "first_loss": first_loss,
        "is_warm": (folder / "start.npz").is_file(),
        "temperature": temperature,
        "n_labels": len(answers.seeds),
        "folds_by": job.folds.by,
        "memory_gib": cutter.n_bytes(len(crops)) / 2**30,
        "most_wrong": most_wrong(losses),
        "data_hash": crops_io.data_hash(folder),
        "versions": training.versions(trainer.device, trainer.is_bfloat16),
    }
    return JobResult(values, ("net.safetensors", "probabilities.npz", "losses.npz"))


def losses_of(p: Floats, answers: Answers) -> dict[str, npt.NDArray[Any]]:
    """All answers by the loss of their out-of-fold prediction, the largest first: mislabelled or hard.

    Returns
    -------
    dict
        ``seed``, ``said``, ``predicted`` (n,) int64, ``p`` and ``loss`` (n,) float64: the probability of
        what was said, and −ln of it.
    """
    own = np.maximum(p[np.arange(len(p)), answers.columns], 1e-12)
    order = np.argsort(own, kind="stable")
    return {
        "seed": answers.seeds[order],
        "said": answers.class_of[order],
        "predicted": np.asarray(answers.class_ids, np.int64)[p.argmax(1)[order]],
        "p": own[order].astype(np.float64),
        "loss": -np.log(own[order]).astype(np.float64),
    }


def most_wrong(losses: dict[str, npt.NDArray[Any]]) -> list[dict[str, Any]]:
    """Answers that the out-of-fold prediction contradicts, least likely first."""
    wrong = np.flatnonzero(losses["said"] != losses["predicted"])[:N_SHOWN]
    return [{k: losses[k][i].item() for k in ("seed", "said", "predicted", "p")} for i in wrong.tolist()]


@dataclass
class _Job:
    """The trainings of one job: comparison folds, then the network that is kept."""

    folder: Path
    crops: crops_io.SeedCrops
    answers: Answers
    settings: NetSettings
    random_state: int

    def __post_init__(self) -> None:
        self.rows, self.owner = rows_of(self.answers, self.crops.seeds)
        groups = read_groups(self.folder, self.answers.seeds)  # a scan or lot is never on both sides
        self.folds = folds_of(self.answers.columns, groups, self.random_state)
        self.n_folds = len(np.unique(self.folds.fold))
        self.total = self.settings.fold_steps * self.n_folds + self.settings.final_steps
        self.n_before = 0

    def out_of_fold(self) -> Generator[Progress, None, tuple[npt.NDArray[np.float64], float]]:
        """Logits (n, C) of each answer by a network that did not see it, and the very first loss."""
        logits = np.zeros((len(self.answers.seeds), len(self.answers.class_ids)))
        first_loss = float("nan")
        for fold in np.unique(self.folds.fold).tolist():
            held = self.folds.fold[self.owner] == fold
            trainer = self._trainer(~held, fold + 1)
            if fold == 0:
                first_loss = self._first_loss(trainer)
                if not self._checkpoint(1).is_file():
                    yield self._report_first(first_loss)
            yield from self._train(trainer, fold + 1, f"Comparison {fold + 1} of {self.n_folds}")
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
        return new_trainer(self.crops, self.rows[use], columns, self.settings, key, self.folder)

    def _first_loss(self, trainer: training.Trainer) -> float:
        """Loss of the untrained network; far from the chance loss it shows a wrong input."""
        trainer.model.eval()
        logits = row_logits(trainer.model, self.crops, self.rows)
        target = torch.from_numpy(self.answers.columns[self.owner])
        return float(functional.cross_entropy(torch.from_numpy(logits), target))

    def _report_first(self, loss: float) -> Progress:
        figures = {
            "loss": loss,
            "chance_loss": self.answers.chance_loss,
            "expected_loss": self.answers.expected_loss,
            "epoch": 0.0,
        }
        return Progress(0, self.total, "Before the first step", figures)

    def _checkpoint(self, number: int) -> Path:
        return self.folder / f"checkpoint-{number}.safetensors"

    def _train(self, trainer: training.Trainer, number: int, line: str) -> Generator[Progress, None, None]:
        n_before, chance = self.n_before, self.answers.chance_loss
        per_epoch = max(1.0, len(self.rows) / trainer.batch)

        def report(n_done: int, loss: float) -> Progress:
            figures = {"loss": loss, "chance_loss": chance, "epoch": n_done / per_epoch}
            return Progress(n_before + n_done, self.total, f"{line} on {trainer.device.type}", figures)

        yield from trainer.run(self._checkpoint(number), report)
        self.n_before += trainer.plan.n_steps


def class_probabilities(
    model: torch.nn.Module, cutter: Cutter, temperature: float
) -> Generator[Progress, None, tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """Seeds in order and their class probabilities (n, C): mean over the scans that show a seed.

    Crops are cut a few at a time: memory does not grow with the number of seeds.
    """
    pace, n_done, n = training.Pace(), 0, len(cutter.seeds)
    parts: list[Floats] = []
    seeds: list[Ints] = []
    for rows in cutter.chunks():
        cut = cutter.cut(rows)
        while True:
            try:
                next(cut)
            except StopIteration as end:
                crops: crops_io.SeedCrops = end.value
                break
            if pace.is_due():
                yield Progress(n_done, n, "Classifying seeds")
        n_done += len(crops)
        parts.append(softmax(row_logits(model, crops, np.arange(len(crops))) / temperature))
        seeds.append(crops.seeds)
        if pace.is_due():
            yield Progress(n_done, n, "Classifying seeds")
    ids, p = seed_means(np.concatenate(parts), np.concatenate(seeds))
    return ids, p.astype(np.float32)


def _publish(
    folder: Path, model: torch.nn.Module, cutter: Cutter, answers: Answers, settings: dict[str, Any]
) -> Generator[Progress, None, None]:
    """Write the weights and the probabilities of all seeds; nothing when a number went astray."""
    if not training.is_finite(model):
        raise training.not_finite("network")
    seeds, p = yield from class_probabilities(model, cutter, settings["temperature"])
    if not np.isfinite(p).all():
        raise training.not_finite("network")
    shape = {"n_channels": cutter.shape.n_channels, "n_dims": cutter.shape.n_dims}
    facts = {"kind": "net", "class_ids": answers.class_ids, "settings": settings, "shape": shape}
    training.save_model(folder / "net.safetensors", model, facts)
    files.save_arrays(folder / "probabilities.npz", seed=seeds, p=p)
