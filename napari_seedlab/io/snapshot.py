"""Everything that an export needs, frozen, so that another process can write it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from napari_seedlab.core import (
    ClassScheme,
    Event,
    EventKind,
    Label,
    LabelState,
    RegionTable,
    Scan,
    Seed,
    SeedClass,
)
from napari_seedlab.files import ArraySource, load_arrays, read_json, save_arrays, write_json
from napari_seedlab.io.facts import facts_from_json, facts_to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

JSON, ARRAYS = "snapshot.json", "snapshot.npz"


@dataclass(frozen=True)
class ClassProbabilities:
    """Predictions: `seeds` (n,) int64, `p` (n, C) float32 in the order of `class_ids`, and their model."""

    seeds: npt.NDArray[np.int64]
    p: npt.NDArray[np.float32]
    class_ids: tuple[int, ...]
    model_id: str


@dataclass(frozen=True)
class AnomalyTable:
    """Anomaly scores: `seeds` (n,) int64, `scores` (n,) float64, larger is odder, and their model."""

    seeds: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    model_id: str = ""


@dataclass(frozen=True)
class ExportSnapshot:
    """The state of a project at one event.

    Attributes
    ----------
    project_uuid : str
        Of the project.
    scheme, tissue_scheme : ClassScheme
        Grain classes and tissues.
    scans : tuple of Scan
        With voxel sizes in their facts.
    image_sources, regions_sources : mapping of int to ArraySource
        Voxels and region raster of each scan; a scan without regions is missing in the second.
    regions : mapping of int to RegionTable
        By scan.
    seeds : mapping of int to Seed
        Archived ones and aliases included.
    labels : mapping of int to Label
        By seed.
    label_facts : mapping
        By seed: ``annotator``, ``utc``, ``suggestion`` (strategy, reason, inclusion_p, model_id) or None.
    events : tuple of Event
        The whole journal.
    probabilities, anomaly : tuples of tables
        Predictions of the active models, one table per pool of seeds; of two rows about a seed the
        first counts.
    suggestions : mapping
        By seed: what is asked next, same keys as ``suggestion`` above.
    files : mapping of int to str
        By seed: the picture that shows it, for sheets of single-seed pictures.
    rejected : mapping of int to bool
        By seed: whether its prediction should not be used; seeds that were not judged are missing.
    metadata : mapping of str to mapping of int to value
        By name of the column what tables told of each seed, beside its lot.
    attachments : mapping of str to str
        Name in the export → path of a file or folder that is copied as it is (archives that
        events refer to).
    """

    project_uuid: str
    scheme: ClassScheme
    tissue_scheme: ClassScheme
    scans: tuple[Scan, ...] = ()
    image_sources: Mapping[int, ArraySource] = field(default_factory=dict)
    regions_sources: Mapping[int, ArraySource] = field(default_factory=dict)
    regions: Mapping[int, RegionTable] = field(default_factory=dict)
    seeds: Mapping[int, Seed] = field(default_factory=dict)
    labels: Mapping[int, Label] = field(default_factory=dict)
    label_facts: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    probabilities: tuple[ClassProbabilities, ...] = ()
    anomaly: tuple[AnomalyTable, ...] = ()
    suggestions: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    files: Mapping[int, str] = field(default_factory=dict)
    attachments: Mapping[str, str] = field(default_factory=dict)
    rejected: Mapping[int, bool] = field(default_factory=dict)
    metadata: Mapping[str, Mapping[int, str | int | float]] = field(default_factory=dict)


def write_snapshot(snapshot: ExportSnapshot, folder: Path) -> None:
    """Write `snapshot` into a job folder as ``snapshot.json`` and ``snapshot.npz``."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for scan, table in snapshot.regions.items():
        arrays.update({f"regions/{scan}/{key}": value for key, value in table.columns().items()})
    value: dict[str, Any] = {
        "project_uuid": snapshot.project_uuid,
        "schemes": [scheme_to_json(s) for s in (snapshot.scheme, snapshot.tissue_scheme)],
        "scans": [{"id": s.id, "facts": facts_to_json(s.facts)} for s in snapshot.scans],
        "image_sources": {k: s.to_json() for k, s in snapshot.image_sources.items()},
        "regions_sources": {k: s.to_json() for k, s in snapshot.regions_sources.items()},
        "seeds": [asdict(seed) for seed in snapshot.seeds.values()],
        "labels": [[x.seed, str(x.state), x.class_id] for x in snapshot.labels.values()],
        "label_facts": {k: dict(v) for k, v in snapshot.label_facts.items()},
        "events": [event_to_json(event) for event in snapshot.events],
        "suggestions": {k: dict(v) for k, v in snapshot.suggestions.items()},
        "files": dict(snapshot.files),
        "attachments": dict(snapshot.attachments),
        "rejected": dict(snapshot.rejected),
        "metadata": [[name, dict(cells)] for name, cells in snapshot.metadata.items()],
        "probabilities": [
            {"class_ids": list(t.class_ids), "model_id": t.model_id} for t in snapshot.probabilities
        ],
        "anomaly": [{"model_id": t.model_id} for t in snapshot.anomaly],
    }
    for i, p in enumerate(snapshot.probabilities):
        arrays.update({f"probabilities/{i}/seeds": p.seeds, f"probabilities/{i}/p": p.p})
    for i, a in enumerate(snapshot.anomaly):
        arrays.update({f"anomaly/{i}/seeds": a.seeds, f"anomaly/{i}/scores": a.scores})
    save_arrays(folder / ARRAYS, **arrays)
    write_json(folder / JSON, value)


def read_snapshot(folder: Path) -> ExportSnapshot:
    """The snapshot of :func:`write_snapshot`."""
    value, arrays = read_json(folder / JSON), load_arrays(folder / ARRAYS)
    grain, tissue = (scheme_from_json(s) for s in value["schemes"])
    regions: dict[int, dict[str, npt.NDArray[Any]]] = {}
    for key, column in arrays.items():
        room, _, rest = key.partition("/")
        if room == "regions":
            scan, _, name = rest.partition("/")
            regions.setdefault(int(scan), {})[name] = column
    return ExportSnapshot(
        project_uuid=value["project_uuid"],
        scheme=grain,
        tissue_scheme=tissue,
        scans=tuple(Scan(s["id"], facts_from_json(s["facts"])) for s in value["scans"]),
        image_sources={int(k): ArraySource.from_json(s) for k, s in value["image_sources"].items()},
        regions_sources={int(k): ArraySource.from_json(s) for k, s in value["regions_sources"].items()},
        regions={scan: RegionTable.from_columns(columns) for scan, columns in regions.items()},
        seeds={s["id"]: Seed(**s) for s in value["seeds"]},
        labels={seed: Label(seed, LabelState(state), c) for seed, state, c in value["labels"]},
        label_facts={int(k): v for k, v in value["label_facts"].items()},
        events=tuple(event_from_json(e) for e in value["events"]),
        probabilities=tuple(
            ClassProbabilities(
                *_columns(arrays, f"probabilities/{i}", "p"), tuple(t["class_ids"]), t["model_id"]
            )
            for i, t in enumerate(value["probabilities"])
        ),
        anomaly=tuple(
            AnomalyTable(*_columns(arrays, f"anomaly/{i}", "scores"), t["model_id"])
            for i, t in enumerate(value["anomaly"])
        ),
        suggestions={int(k): v for k, v in value["suggestions"].items()},
        files={int(k): v for k, v in value.get("files", {}).items()},
        attachments=value["attachments"],
        rejected={int(k): v for k, v in value.get("rejected", {}).items()},
        metadata=columns_from_json(value.get("metadata", [])),
    )


def _columns(
    arrays: Mapping[str, npt.NDArray[Any]], name: str, column: str
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    return arrays[f"{name}/seeds"], arrays[f"{name}/{column}"]


def columns_from_json(
    value: Iterable[tuple[str, Mapping[str, str | int | float]]],
) -> dict[str, dict[int, str | int | float]]:
    """Columns about seeds from pairs of a name and the value of each seed."""
    return {str(name): {int(seed): cell for seed, cell in cells.items()} for name, cells in value}


def scheme_to_json(scheme: ClassScheme) -> dict[str, Any]:
    """Plain dict of a class scheme."""
    return {"kind": scheme.kind, "classes": [asdict(c) for c in scheme.classes]}


def scheme_from_json(value: Mapping[str, Any]) -> ClassScheme:
    """The scheme of :func:`scheme_to_json`."""
    return ClassScheme(value["kind"], tuple(SeedClass(**c) for c in value["classes"]))


def event_to_json(event: Event) -> dict[str, Any]:
    """Plain dict of an event."""
    return {**asdict(event), "kind": str(event.kind), "payload": dict(event.payload)}


def event_from_json(value: Mapping[str, Any]) -> Event:
    """The event of :func:`event_to_json`."""
    return Event(**{**value, "kind": EventKind(value["kind"])})
