"""What shows a mistake before a training is paid for: the batch as a network gets it, one batch by heart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from napari_seedlab import files
from napari_seedlab.core import JobResult, Progress
from napari_seedlab.learn import crops_io, net, training
from napari_seedlab.learn.net_input import (
    Cutter,
    NetSettings,
    Samples,
    new_model,
    settings_from,
    shape_of,
    step_of,
    to_device,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    import numpy.typing as npt

N_STEPS = 100  # in which a network has to learn one batch by heart
LOW_LOSS = 0.05  # that it has to reach
N_SETTLING = 40  # batches after which the running means of batch norm are those of the last weights
MOST_APART = 0.1  # share of the batch that may be predicted otherwise than it was learnt
N_TOLD = 3  # seeds that a line names


class Prepared(NamedTuple):
    """What the jobs here begin with.

    Attributes
    ----------
    answers : Answers
    settings : NetSettings
        Filled.
    cutter : Cutter
    rows : (n,) int64
        Rows of labelled seeds among all that can be cut.
    owner : (n,) int64
        Place of the seed of each among the answers.
    """

    answers: net.Answers
    settings: NetSettings
    cutter: Cutter
    rows: npt.NDArray[np.int64]
    owner: npt.NDArray[np.int64]


def prepare(folder: Path, params: Mapping[str, Any]) -> Prepared:
    """Read the request of a training as :func:`~napari_seedlab.learn.net.run` does."""
    training.use_threads()
    scans = crops_io.read_scans(folder, params)
    shape = shape_of(scans)
    settings = settings_from(params, shape)
    cutter = Cutter(scans, settings.size)
    answers = net.Answers.of(crops_io.read_labels(folder), cutter.seeds, params["class_ids"])
    rows, owner = net.rows_of(answers, cutter.seeds)
    return Prepared(answers, settings, cutter, rows, owner)


def preview(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: the very tensor that the first step of a training gets, changed at random as there.

    Reads what :func:`~napari_seedlab.learn.net.run` reads; writes ``batch.npz`` (``batch`` (n, c, *cells)
    float32 with the mask as the last channel, ``seed`` and ``class_id`` (n,) int64).

    Raises
    ------
    NotReady
        Fewer than two classes have two answers each, or no scan has seeds.
    """
    folder = Path(folder)
    request = crops_io.read_request(folder)
    made = prepare(folder, request.params)
    picks, _, rng = step_of(request.random_state, 0, 0, len(made.rows), made.settings.batch)
    samples = yield from _cut(made, picks)
    inputs, columns = samples.draw(np.arange(len(picks)), rng)
    batch = inputs.numpy()
    seeds = made.answers.seeds[made.owner[picks]]
    files.save_arrays(
        folder / "batch.npz",
        batch=batch,
        seed=seeds,
        class_id=np.asarray(made.answers.class_ids, np.int64)[columns.numpy()],
    )
    values = {
        "axes": list(axes_of(batch.ndim)),
        "shape": list(batch.shape),
        "low": float(batch[:, :-1].min()),
        "high": float(batch[:, :-1].max()),
        "is_finite": bool(np.isfinite(batch).all()),
        "memory_gib": made.cutter.n_bytes(len(made.rows)) / 2**30,
    }
    return JobResult(values, ("batch.npz",))


def axes_of(n_dims: int) -> tuple[str, ...]:
    """Names of the axes of a batch."""
    return ("seed", "channel", "z", "y", "x") if n_dims == 5 else ("seed", "channel", "y", "x")


def _cut(made: Prepared, picks: npt.NDArray[np.int64]) -> Generator[Progress, None, Samples]:
    """Only the crops of `picks`, in their order."""
    wanted = made.rows[picks]
    crops = yield from made.cutter.cut(wanted)
    return Samples(crops, wanted.argsort().argsort(), made.answers.columns[made.owner[picks]])


def balanced_picks(columns: npt.NDArray[np.int64], n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Up to `n` places, of each class about equally many."""
    order = rng.permutation(len(columns))
    turn = np.zeros(len(columns), np.int64)  # how many of its class come before
    for c in np.unique(columns):
        own = order[columns[order] == c]
        turn[own] = np.arange(len(own))
    return order[np.argsort(turn[order], kind="stable")][:n]


def overfit(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: let the network learn one batch by heart, and say what is wrong where it cannot.

    A network that does not bring the loss of 16 seeds below 0.05 in 100 steps will not learn 1,000: the
    labels or the crops change between steps, contradict each other, or say nothing about the class. One that
    learns them but then classifies the same seeds otherwise got crops and labels out of step.

    Reads what :func:`~napari_seedlab.learn.net.run` reads; writes no file.

    Raises
    ------
    NotReady
        Fewer than two classes have two answers each, or no scan has seeds.
    """
    folder = Path(folder)
    request = crops_io.read_request(folder)
    made = prepare(folder, request.params)
    rng = training.stream(request.random_state, 0)
    picks = balanced_picks(made.answers.columns[made.owner], made.settings.batch, rng)
    samples = yield from _cut(made, picks)
    seeds = made.answers.seeds[made.owner[picks]]
    if wrong := what_changes(samples, seeds):
        return JobResult({"passed": False, "line": wrong, "loss": None, "n_steps": 0}, ())
    trainer = _trainer(made, samples, request.random_state)
    losses: list[float] = []
    pace = training.Pace()
    while trainer.n_done < N_STEPS and (not losses or losses[-1] >= LOW_LOSS):
        losses.append(trainer.step())
        if pace.is_due():
            yield Progress(trainer.n_done, N_STEPS, f"Learning one batch by heart, loss {losses[-1]:.2f}")
    wrong = what_is_wrong(samples, seeds, losses[-1]) or _out_of_step(trainer, samples)
    is_learnt = f"One batch of {len(picks)} seeds learnt by heart: loss {losses[-1]:.2f}"
    line = wrong or f"{is_learnt} after {len(losses)} steps. Crops and labels fit together."
    values = {"passed": not wrong, "line": line, "loss": losses[-1], "n_steps": len(losses)}
    return JobResult(values, ())


def _trainer(made: Prepared, samples: Samples, random_state: int) -> training.Trainer:
    settings = replace(made.settings, dropout=0.0)
    device = training.pick_device(settings.device)
    every = np.arange(len(samples))

    def loss(model: torch.nn.Module, step: int, batch: int) -> torch.Tensor:
        inputs, target = samples.draw(every[:batch], None)
        return functional.cross_entropy(model(to_device(inputs, device)).float(), target.to(device))

    plan = training.Plan(N_STEPS, settings.peak_rate, len(samples), 0.0, settings.precision)
    model = new_model(settings, len(made.answers.class_ids), random_state, made.cutter.shape)
    return training.Trainer("one batch", model.to(device), loss, plan)


def what_changes(samples: Samples, seeds: npt.NDArray[np.int64]) -> str:
    """Whether the same samples are not the same when they are drawn twice, in one line; else empty."""
    every = np.arange(len(samples))
    (inputs, target), (again, target_again) = samples.draw(every, None), samples.draw(every, None)
    if not torch.equal(target, target_again):
        n = int((target != target_again).sum())
        return f"The labels of {n} of {len(seeds)} seeds change from step to step: nothing can be learnt."
    if not bool(torch.isfinite(inputs).all()):
        return "Some values of the batch are no numbers: look at the batch, then at the scan."
    if not torch.equal(inputs, again):
        return "The crops of the same seeds change from step to step: nothing can be learnt by heart."
    return ""


def what_is_wrong(samples: Samples, seeds: npt.NDArray[np.int64], loss: float) -> str:
    """Why a network cannot learn the samples, in one line; empty where it did.

    Parameters
    ----------
    samples : Samples
        All of them are one batch.
    seeds : (n,) int64
        Their seeds, for the line.
    loss : float
        That the network came down to.
    """
    if loss < LOW_LOSS:
        return ""
    inputs, target = samples.draw(np.arange(len(samples)), None)
    flat = inputs[:, :-1].flatten(1)
    if not bool((flat != 0).any()):
        return "All crops of the batch are empty: look at the batch, then at the split."
    twins = [
        (int(seeds[i]), int(seeds[j]))
        for i in range(len(flat))
        for j in range(i)
        if target[i] != target[j] and torch.equal(flat[i], flat[j])
    ]
    head = f"Loss {loss:.2f} after {N_STEPS} steps on one batch, {LOW_LOSS} is needed"
    if twins:
        pairs = ", ".join(f"{b} and {a}" for a, b in twins[:N_TOLD])
        return f"{head}: seeds {pairs} look the same but are labelled differently."
    return f"{head}: the crops do not tell the classes apart. Look at the batch."


def _out_of_step(trainer: training.Trainer, samples: Samples) -> str:
    """Whether the network, shown the same seeds as predictions are made, gives the classes that it learnt."""
    every = np.arange(len(samples))
    trainer.model.train()
    with torch.no_grad():
        for _ in range(N_SETTLING):
            trainer.model(to_device(samples.draw(every, None)[0], trainer.device))
    found = net.row_logits(trainer.model, samples.crops, samples.rows).argmax(1)
    apart = found != samples.columns
    if apart.mean() <= MOST_APART:
        return ""
    return (
        f"Learnt by heart, but {int(apart.sum())} of {len(samples)} seeds get another class when they are "
        "predicted: crops and labels are out of step, by order or by swapped axes."
    )
