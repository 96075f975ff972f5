"""What all background trainings share: device, precision, pace, checkpoints, guards."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.torch
import torch

from napari_seedlab import files
from napari_seedlab.core import InputError, JobError, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

CHECKPOINT_EVERY = 50  # steps
PAUSE = 0.3  # seconds between two reports of a job
MAX_BAD_STEPS = 3  # steps with a loss that is not a number, before a training stops
MAX_HALVINGS = 3  # of the batch when the device runs out of memory


def pick_device(wish: str = "auto") -> torch.device:
    """The device to train on: ``auto`` takes a GPU where there is one."""
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wish.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("device", f"{wish!r} is not on this machine", "Use 'auto' or 'cpu'")
    return torch.device(wish)


def use_threads(n: int | None = None) -> int:
    """Let torch use `n` threads, by default all cores of this process but one; return the number."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = n or int(os.environ.get("OMP_NUM_THREADS") or max(1, cores - 1))
    torch.set_num_threads(max(1, wanted))
    return int(torch.get_num_threads())


def is_bfloat16_fast(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16: a fact of the hardware, not a race to be timed.

    A timed trial may end differently twice; the same machine and `random_state` must give the same model.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return device.type == "cpu" and any(bool(is_there()) for is_there in has if is_there is not None)


def one_cycle(step: int, n_steps: int, peak: float) -> float:
    """Learning rate of a step: up by cosine in the first 30 %, down to nearly nothing.

    Smith & Topin 2018 with the constants of ``torch.optim.lr_scheduler.OneCycleLR``, as a function of
    the step so that a resumed training goes on exactly.
    """
    low, last, top = peak / 25, peak / 25e4, 0.3 * n_steps - 1
    if step <= top:
        return low + (peak - low) * (1 - math.cos(math.pi * step / max(top, 1))) / 2
    share = (step - top) / max(n_steps - 1 - top, 1)
    return last + (peak - last) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


class Pace:
    """Says when the next report is due, so that reports come often and cost nothing."""

    def __init__(self, pause: float = PAUSE) -> None:
        self._pause, self._next = pause, 0.0

    def is_due(self) -> bool:
        """True at most once per pause, and at once the first time."""
        now = time.perf_counter()
        if now < self._next:
            return False
        self._next = now + self._pause
        return True


class StepGuard:
    """Counts steps whose loss is not finite; the fourth in a row ends the training in one line."""

    def __init__(self, subject: str) -> None:
        self._subject, self._bad = subject, 0

    def is_good(self, loss: float) -> bool:
        """Whether to take the step of this loss."""
        if math.isfinite(loss):
            self._bad = 0
            return True
        self._bad += 1
        if self._bad > MAX_BAD_STEPS:
            raise JobError(
                self._subject,
                f"the loss was {loss} in {self._bad} steps in a row",
                "Check the scan for values that are not numbers, then train again",
            )
        return False


def versions(device: torch.device, is_bfloat16: bool) -> dict[str, str]:
    """What a model card tells of the machine and the libraries."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "device": name,
        "precision": "bfloat16" if is_bfloat16 else "float32",
        "threads": str(torch.get_num_threads()),
    }


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the device has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error).lower()


def is_finite(model: torch.nn.Module) -> bool:
    """Whether all weights and running statistics are finite numbers."""
    return all(bool(torch.isfinite(t).all()) for t in model.state_dict().values())


def not_finite(subject: str) -> JobError:
    """The line that refuses a model whose numbers went astray."""
    return JobError(subject, "has weights that are not numbers", "Train again with another random state")


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Publish tensors with plain JSON facts as one safetensors file, whole or not at all."""
    plain = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    files.atomic_write(path, safetensors.torch.save(plain, {"facts": json.dumps(dict(facts))}))


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and facts of :func:`save_tensors`."""
    try:
        with safetensors.safe_open(path, framework="pt") as stored:
            tensors = {k: stored.get_tensor(k) for k in stored.keys()}
            facts = json.loads((stored.metadata() or {}).get("facts", "{}"))
    except Exception as error:
        raise InputError(path.name, f"is not a model file ({error})", "Train the model again") from error
    return tensors, facts


def save_model(path: Path, model: torch.nn.Module, facts: Mapping[str, Any]) -> None:
    """Publish the weights of a model; a model with a weight that is not finite is refused."""
    if not is_finite(model):
        raise not_finite(path.stem)
    save_tensors(path, model.state_dict(), facts)


def stream(*numbers: int) -> np.random.Generator:
    """A random stream for a step: the same numbers give the same draws, whatever was drawn before."""
    return np.random.default_rng([abs(int(n)) for n in numbers])


def halved(batch: int, halvings: int, error: RuntimeError) -> int:
    """Half the batch after `error`, when that means that memory ran out; else the error goes on.

    Raises
    ------
    RuntimeError
        `error`, when it has another cause.
    JobError
        After three halvings, or when one item does not fit.
    """
    if not is_out_of_memory(error):
        raise error
    if halvings >= MAX_HALVINGS or batch < 4:
        raise JobError(
            "training", f"a batch of {batch} does not fit into memory", "Close other programs or use the CPU"
        ) from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return batch // 2


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train: steps, largest learning rate, batch, decay, precision."""

    n_steps: int
    peak_rate: float
    batch: int
    weight_decay: float = 0.0
    precision: str = "auto"  # or float32, bfloat16; auto tries both for a second


class Trainer:
    """One training of one network, a step at a time, resumable and robust.

    Parameters
    ----------
    subject : str
        What is trained, for error lines.
    model : torch.nn.Module
        On its device; changed in place.
    loss : callable
        ``loss(model, step, batch)`` → scalar tensor. What it draws must depend on `step` alone, so that
        a resumed training goes on exactly.
    plan : Plan
    """

    def __init__(
        self,
        subject: str,
        model: torch.nn.Module,
        loss: Callable[[torch.nn.Module, int, int], torch.Tensor],
        plan: Plan,
    ) -> None:
        self.subject, self.model, self.plan = subject, model, plan
        self.device = next(model.parameters()).device
        self.optimizer = torch.optim.AdamW(model.parameters(), plan.peak_rate, weight_decay=plan.weight_decay)
        self.n_done, self.batch = 0, plan.batch
        is_auto = plan.precision == "auto"
        self.is_bfloat16 = is_bfloat16_fast(self.device) if is_auto else plan.precision == "bfloat16"
        self._loss, self._halvings, self._guard = loss, 0, StepGuard(subject)

    def step(self) -> float:
        """Take one optimiser step and return its loss; a loss that is not finite changes nothing."""
        self.model.train()
        try:
            value = self._step()
        except RuntimeError as error:
            self.batch = halved(self.batch, self._halvings, error)
            self._halvings += 1
            return self.step()
        self.n_done += 1
        return value

    def _step(self) -> float:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_bfloat16):
            loss = self._loss(self.model, self.n_done, self.batch)
        value = float(loss.detach())
        if self._guard.is_good(value):
            for group in self.optimizer.param_groups:
                group["lr"] = one_cycle(self.n_done, self.plan.n_steps, self.plan.peak_rate)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return value

    def run(self, path: Path, report: Callable[[int, float], Progress]) -> Generator[Progress, None, None]:
        """Train to the end, from the checkpoint at `path` where there is one.

        Yields ``report(steps done, mean loss since the last report)``. A checkpoint is left every 50
        steps, at the end, and when the generator is closed.
        """
        if path.is_file():
            self.load(path)
        pace, losses = Pace(), []
        try:
            while self.n_done < self.plan.n_steps:
                losses.append(self.step())
                if self.n_done % CHECKPOINT_EVERY == 0:
                    self.save(path)
                if pace.is_due():
                    yield report(self.n_done, float(np.mean(losses)))
                    losses.clear()
        except GeneratorExit:
            self.save(path)
            raise
        self.save(path)

    def save(self, path: Path) -> None:
        """Publish a checkpoint: weights, optimiser state, place, precision and batch."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": torch.as_tensor(v) for k, v in state.items()}
        facts = {"n_done": self.n_done, "bfloat16": self.is_bfloat16, "batch": self.batch}
        save_tensors(path, tensors, facts)

    def load(self, path: Path) -> None:
        """Go on where :meth:`save` left."""
        tensors, facts = load_tensors(path)
        self.model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        states: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, i, name = key.split(".")
                states.setdefault(int(i), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})
        self.n_done, self.is_bfloat16, self.batch = facts["n_done"], facts["bfloat16"], facts["batch"]
