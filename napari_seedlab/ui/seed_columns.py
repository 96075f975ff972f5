"""What is known of each seed beside answers and models: its scan, lot and size, and what tables told."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_seedlab.session.session import Session

Ids = npt.NDArray[np.int64]
Column = npt.NDArray[Any]  # text for categories, float64 for numbers

UM_PER_MM = 1000.0
TAKEN = ("label", "prediction", "confidence", "anomaly", "disagreement", "cluster", "scan", "lot", "size")


@dataclass(frozen=True, eq=False)
class Same:
    """What equals itself alone: values of a session are replaced, never edited."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


@lru_cache(maxsize=1)
def _have_lots(seeds: Same) -> bool:
    return any(seed.lot for seed in seeds.value.values())


def names(session: Session | None) -> tuple[str, ...]:
    """The columns that tell seeds apart in this project."""
    if session is None:
        return ()
    tables = [scan for scan in session.scans if session.regions(scan) is not None]
    found = ["scan"] if len(tables) > 1 else []
    if _have_lots(Same(session.seeds)):
        found.append("lot")
    return (*found, "size", *_told(session)) if tables else ()


def _told(session: Session) -> dict[str, str]:
    """Columns of tables by what they are called here: their name, with "(table)" behind one that is taken."""
    return {f"{name} (table)" if name in TAKEN else name: name for name in session.metadata.columns}


def values(session: Session, name: str) -> tuple[Ids, Column, str]:
    """Seeds that have a value, their values, and the unit of numbers.

    A seed that several scans show has the value of the first.
    """
    if (told := _told(session).get(name)) is not None:
        ids, column = session.metadata.values(told)
        return ids, column, ""
    if name == "lot":
        there = {s.id: s.lot for s in session.seeds.values() if s.lot}
        return np.fromiter(there, np.int64), np.asarray(list(there.values()), str), ""
    if name not in ("scan", "size"):
        return np.zeros(0, np.int64), np.zeros(0, str), ""
    seeds, parts, unit = [], [], ""
    for number, scan in session.scans.items():
        table = session.regions(number)
        if table is None or not len(table):
            continue
        seeds.append(table.seed)
        if name == "scan":
            parts.append(np.full(len(table), scan.facts.name))
        else:
            size, unit = _size(table.n_voxels, scan.facts)
            parts.append(size)
    if not seeds:
        return np.zeros(0, np.int64), np.zeros(0, str), ""
    ids, first = np.unique(np.concatenate(seeds), return_index=True)
    return ids, np.concatenate(parts)[first], unit


def _size(n_voxels: npt.NDArray[np.int64], facts: Any) -> tuple[npt.NDArray[np.float64], str]:
    """Volumes of seeds in mm³, areas in mm² where the scan is flat; voxels or pixels of unknown size."""
    is_flat = facts.region_shape[0] == 1
    if facts.voxel_size_um is None:
        return n_voxels.astype(np.float64), "pixels" if is_flat else "voxels"
    edges = np.asarray(facts.scale_um, np.float64) / UM_PER_MM
    if is_flat:
        return np.asarray(n_voxels * edges[1:].prod(), np.float64), "mm²"
    return np.asarray(n_voxels * edges.prod(), np.float64), "mm³"
