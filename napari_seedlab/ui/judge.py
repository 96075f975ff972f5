"""What a sample's truth says about the answers of the app; never shown to a model."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import GRAIN_SCHEME
from napari_seedlab.files import open_array

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_seedlab.session.session import Session


@dataclass(frozen=True)
class Truth:
    """The truth beside a sample: instances (z, y, x) int32, tissues uint8, class id per instance."""

    instances: npt.NDArray[np.int32]
    tissues: npt.NDArray[np.uint8]
    class_of: dict[int, int]


def read_truth(folder: Path) -> Truth:
    """Read the truth that lies beside a sample scan."""
    import tifffile

    with open(folder / "truth.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    classes = {int(r["seed"]): GRAIN_SCHEME.by_name(r["class"]).id for r in rows}
    instances = tifffile.imread(folder / "instances.tif").astype(np.int32)
    return Truth(instances, tifffile.imread(folder / "tissues.tif"), classes)


@dataclass(frozen=True)
class Match:
    """Found regions against true seeds at IoU 0.5: `f1`, and the true class of each matched seed id."""

    n_true: int
    n_found: int
    f1: float
    class_of: dict[int, int]


def match(session: Session, scan: int, truth: Truth) -> Match:
    """Match the regions of a scan with the true instances; an IoU above 0.5 is one to one by itself."""
    source, table = session.regions_source(scan), session.regions(scan)
    if source is None or table is None:
        return Match(len(truth.class_of), 0, 0.0, {})
    found = np.asarray(open_array(source)[...]).astype(np.int64)
    width = int(truth.instances.max()) + 1
    pairs, counts = np.unique(found * width + truth.instances, return_counts=True)
    region, instance = pairs // width, pairs % width
    n_region = dict(zip(*np.unique(found, return_counts=True), strict=True))
    n_instance = np.bincount(truth.instances.ravel(), minlength=width)
    partner = {}
    for r, i, both in zip(region.tolist(), instance.tolist(), counts.tolist(), strict=True):
        if r and i and both > 0.5 * (int(n_region[r]) + int(n_instance[i]) - both):
            partner[r] = i
    seed_of = dict(zip(table.region.tolist(), table.seed.tolist(), strict=True))
    classes = {int(seed_of[r]): truth.class_of[i] for r, i in partner.items()}
    f1 = 2 * len(partner) / max(1, len(table) + len(truth.class_of))
    return Match(len(truth.class_of), len(table), f1, classes)


def balanced_accuracy(class_of: dict[int, int], seeds: npt.ArrayLike, best: npt.ArrayLike) -> float:
    """Mean recall over the classes that are there."""
    rows = [(class_of[s], b) for s, b in zip(_ints(seeds), _ints(best), strict=True) if s in class_of]
    true, said = np.asarray(rows, int).reshape(-1, 2).T
    return float(np.mean([(said[true == c] == c).mean() for c in np.unique(true)]))


def anomaly_auc(class_of: dict[int, int], seeds: npt.ArrayLike, scores: Iterable[float]) -> float:
    """Area under the curve of the score: all classes but the first (normal) should score higher."""
    rows = [(class_of[s] != 1, x) for s, x in zip(_ints(seeds), scores, strict=True) if s in class_of]
    odd = np.asarray([r[0] for r in rows], bool)
    values = np.asarray([r[1] for r in rows], float)
    below = (values[odd, None] > values[None, ~odd]).mean() + 0.5 * (
        values[odd, None] == values[None, ~odd]
    ).mean()
    return float(below)


def _ints(values: npt.ArrayLike) -> list[int]:
    return [int(v) for v in np.asarray(values)]


def rounded(value: Any, digits: int = 4) -> Any:
    """Floats of a nested result cut to `digits`."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, dict):
        return {k: rounded(v, digits) for k, v in value.items()}
    return [rounded(v, digits) for v in value] if isinstance(value, list | tuple) else value
