"""Training and inference of the seed networks on a GPU (or ``--device cpu``): one JSON line each.

Needs torch, numpy and scipy; no window. Times exclude the first steps, peak memory is the device's.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_seedlab.learn import fcdd, net, training
from napari_seedlab.learn.crops_io import SeedCrops
from napari_seedlab.learn.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable

WARM = 3  # steps that are not timed


def make_seeds(n: int, edge: int) -> SeedCrops:
    """Noisy balls in scan units; every second one has a hole."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, edge, dtype=np.float32)] * 3, indexing="ij"))
    radius = np.sqrt((grid**2).sum(0))
    masks = np.stack([radius < rng.uniform(0.7, 0.9) for _ in range(n)])
    crops = masks * rng.normal(1, 0.1, masks.shape).astype(np.float32)
    for i in range(0, n, 2):
        hole = ((grid - rng.uniform(-0.3, 0.3, (3, 1, 1, 1))) ** 2).sum(0) < 0.04
        crops[i][hole] *= 0.3
    ids = np.arange(1, n + 1)
    boxes = np.tile(np.array([0, 0, 0, edge, edge, edge], np.int32), (n, 1))
    return SeedCrops(ids, np.ones(n, np.int64), boxes, ids.astype(np.int32), crops.astype(np.float16), masks)


def emit(name: str, device: torch.device, n_items: int, seconds: float, **facts: object) -> None:
    """Write one JSON line."""
    is_cuda = device.type == "cuda"
    peak = (
        torch.cuda.max_memory_allocated(device)
        if is_cuda
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    line = {
        "benchmark": f"gpu-{name}",
        "device": torch.cuda.get_device_name(device) if is_cuda else "cpu",
        "seconds": round(seconds, 4),
        "items_per_s": round(n_items / max(seconds, 1e-9), 2),
        "peak_mib": round(peak / 2**20, 1),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": round(os.getloadavg()[0], 2),
        **facts,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def timed(device: torch.device, call: Callable[[], object]) -> float:
    """Seconds of `call`, the device's own work included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def train(name: str, trainer: training.Trainer, n_steps: int) -> None:
    """Time the steps of a training."""
    if trainer.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(trainer.device)
    for _ in range(WARM):
        trainer.step()
    losses: list[float] = []
    seconds = timed(trainer.device, lambda: losses.extend(trainer.step() for _ in range(n_steps)))
    facts = {
        "steps": n_steps,
        "batch": trainer.batch,
        "precision": trainer.plan.precision,
        "loss": losses[-1],
    }
    emit(name, trainer.device, n_steps * trainer.batch, seconds, **facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seeds", type=int, default=256)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    wish = parser.parse_args()
    device = training.pick_device(wish.device)
    seeds = make_seeds(wish.seeds, 32)
    rows, columns = np.arange(len(seeds)), np.arange(len(seeds)) % 2
    common = {"batch": wish.batch, "device": wish.device, "precision": wish.precision}
    cnn = net.new_trainer(
        seeds, rows, columns, net.NetSettings(final_steps=wish.steps + WARM, **common), (0, 0, 2)
    )
    train("cnn", cnn, wish.steps)
    pool = Pool(seeds.crops[:, None], seeds.masks)
    settings = fcdd.FCDDSettings(size=32, n_steps=wish.steps + WARM, **common)
    anomaly = fcdd.new_trainer(pool, rows, settings, 0)
    train("fcdd", anomaly, wish.steps)
    net.row_logits(cnn.model, seeds, rows)
    emit("cnn-inference", device, len(rows), timed(device, lambda: net.row_logits(cnn.model, seeds, rows)))
    emit(
        "fcdd-inference", device, len(rows), timed(device, lambda: list(fcdd.heat_maps(anomaly.model, pool)))
    )


if __name__ == "__main__":
    main()
