"""Anomaly maps by feature distance: how far a place is from everything that normal seeds show anywhere.

The features are those of a short FCDD training (features made by hand rank seeds the wrong way round); the
memory bank is a tenth of the cells of normal seeds, chosen by greedy k-center.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from napari_seedlab.learn import crops_io, fcdd, training
from napari_seedlab.learn.refits import Method, fit_and_publish, read_settings
from napari_seedlab.models.memory_bank import MemoryBank, features, inner_cells, k_center

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy as np
    import numpy.typing as npt

    from napari_seedlab.core import JobResult, Progress
    from napari_seedlab.learn.pool import Pool
    from napari_seedlab.models.fcdd import FCDD

    Members = npt.NDArray[np.int64]

MAX_CELLS = 8000  # normal cells from which the bank is chosen
BATCH = 16


@dataclass(frozen=True)
class DistanceSettings(fcdd.FCDDSettings):
    """How features are learnt and remembered."""

    n_steps: int = 200
    share: float = 0.1  # of the normal cells that are remembered


@torch.inference_mode()
def remember(
    trunk: FCDD, pool: Pool, members: Members, settings: DistanceSettings, random_state: int
) -> MemoryBank:
    """The memory bank of what the `members` of a pool show."""
    trunk.eval()
    device = next(trunk.parameters()).device
    rng = training.stream(random_state, len(members))
    most = max(1, MAX_CELLS // len(members)) if len(members) < MAX_CELLS else 1
    kept = []
    for first in range(0, len(members), BATCH):
        part = members[first : first + BATCH]
        crops = pool.shown(pool.crops[part], pool.masks[part]).to(device)
        found = features(trunk, crops).movedim(1, -1)
        inner = inner_cells(torch.from_numpy(pool.masks[part])[:, None].to(device))
        for cells, inside in zip(found, inner, strict=True):
            rows = cells[inside]
            drawn = rng.permutation(len(rows))[:most]
            kept.append(rows[torch.from_numpy(drawn).to(device)])
    rows = torch.cat(kept)
    centre, spread = rows.mean(0), rows.std(0) + 1e-6
    rows = (rows - centre) / spread
    return MemoryBank(trunk, centre, spread, rows[k_center(rows, max(1, round(settings.share * len(rows))))])


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: learn features, remember those of normal seeds, score every seed and write the heat of every scan.

    Reads and writes what :func:`napari_seedlab.learn.fcdd.run` does, with ``distance.safetensors``.

    Raises
    ------
    NotReady
        No scan has seeds, or fewer than 8 of them may be normal.
    InputError
        As there.
    """
    folder = Path(folder)
    request = crops_io.read_request(folder)
    settings = read_settings(request, DistanceSettings)

    def banked(trunk: torch.nn.Module, pool: Pool, members: Members) -> torch.nn.Module:
        return remember(trunk, pool, members, settings, request.random_state)

    method = Method("distance", "Learning features", fcdd.new_trainer, fcdd.heat_maps, banked)
    return (yield from fit_and_publish(folder, request, method, settings))
