"""The tables of an export, and what each of their columns means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.core import EventKind, InputError, LabelState, answers_of, canonical_json
from napari_seedlab.io.csv_text import Cell, csv_bytes
from napari_seedlab.io.plain_files import UNSURE
from napari_seedlab.io.snapshot import ExportSnapshot, event_to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from napari_seedlab.core import ClassScheme, RegionTable, Scan

AXES = ("z", "y", "x")

LABEL_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("seed", "id of the seed, never reused; value in the instances volumes", ""),
    ("lot", "lot that the seed belongs to", ""),
    ("scan", "id of the first scan that shows it; empty when none does any more", ""),
    ("scan_name", "name of that scan", ""),
    ("file", "picture that shows it, within the imported folder of single-seed pictures", ""),
    ("class_id", "class that a person gave; 0 = none", ""),
    ("class", "name of that class, or unsure", ""),
    ("state", "labelled, unsure, not_whole (to repair), conflict (merged seeds disagree) or none", ""),
    ("annotator", "who answered last", ""),
    ("utc", "when, ISO 8601", "UTC"),
    ("asked_reason", "why it was asked", ""),
    ("asked_strategy", "which strategy asked", ""),
    ("inclusion_p", "chance with which it was drawn", "probability"),
    ("predicted_class_id", "most probable class; empty without a prediction", ""),
    ("predicted_class", "its name", ""),
    ("model", "model that predicted", ""),
    ("rejected", "1 where that should not be used: too unsure, or unlike anything labelled; else 0", ""),
    ("anomaly_score", "larger is odder; empty without a score", "score"),
    ("anomaly_model", "model that scored", ""),
    ("alias_of", "seed that took this one in after a merge", ""),
    ("archived", "1 when no scan shows it any more", ""),
    ("region", "id of its region in that scan", ""),
    ("n_voxels", "size of the region", "voxel"),
    *((f"centroid_{a}", f"mean position along {a}, voxel centres at whole numbers", "voxel") for a in AXES),
    *((f"centroid_{a}_um", f"mean position along {a}, 0 at the centre of voxel 0", "µm") for a in AXES),
    *((f"box_{a}0", f"first voxel of its box along {a}", "voxel") for a in AXES),
    *((f"box_{a}1", f"voxel after the last of its box along {a}", "voxel") for a in AXES),
    *((f"box_{a}0_um", f"lower face of its box along {a}", "µm") for a in AXES),
    *((f"box_{a}1_um", f"upper face of its box along {a}", "µm") for a in AXES),
)
EVENT_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("sequence", "place in the journal; one row for each seed of an answer", ""),
    ("uuid", "id of the event", ""),
    ("utc", "when, ISO 8601", "UTC"),
    ("annotator", "who did it", ""),
    ("kind", "scan, scheme, split, repair, label, stroke, undo, model or table", ""),
    ("seed", "seed that an answer is about", ""),
    ("state", "state that the answer gave", ""),
    ("class_id", "class that the answer gave; 0 = none", ""),
    ("class", "its name", ""),
    ("suggestion", "id of the suggestion that was shown", ""),
    ("strategy", "strategy that asked", ""),
    ("reason", "why it was asked", ""),
    ("inclusion_p", "chance with which the seed was drawn", "probability"),
    ("model", "model whose predictions were used to ask", ""),
    ("undoes", "sequence of the event that this one takes back", ""),
)
REGION_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("scan", "id of the scan", ""),
    ("region", "id of the region, value in the region raster", ""),
    ("seed", "seed that it shows", ""),
    *((f"box_{a}0", f"first voxel of its box along {a}", "voxel") for a in AXES),
    *((f"box_{a}1", f"voxel after the last along {a}", "voxel") for a in AXES),
    *((f"centroid_{a}", f"mean position along {a}", "voxel") for a in AXES),
    ("n_voxels", "size of the region", "voxel"),
)


@dataclass(frozen=True)
class _Place:
    """Where a seed is first shown."""

    scan: Scan
    table: RegionTable
    row: int


def tables(snapshot: ExportSnapshot) -> dict[str, bytes]:
    """Name → content of each table; equal states give equal bytes."""
    labels = _label_columns(snapshot)
    columns = [("labels.csv", *c) for c in labels]
    columns += [("events.csv", *c) for c in EVENT_COLUMNS] + [("regions.csv", *c) for c in REGION_COLUMNS]
    lines = (canonical_json(event_to_json(event)) + "\n" for event in snapshot.events)
    return {
        "labels.csv": csv_bytes([c[0] for c in labels], _label_rows(snapshot)),
        "events.csv": csv_bytes([c[0] for c in EVENT_COLUMNS], _event_rows(snapshot)),
        "regions.csv": csv_bytes([c[0] for c in REGION_COLUMNS], _region_rows(snapshot)),
        "columns.csv": csv_bytes(("table", "column", "meaning", "unit"), columns),
        "events.jsonl": "".join(lines).encode("utf-8", "backslashreplace"),
    }


def n_label_rows(snapshot: ExportSnapshot) -> int:
    """Number of rows of ``labels.csv``."""
    return len(_seed_ids(snapshot))


def class_name(scheme: ClassScheme, class_id: int) -> str:
    """Name of a class, empty for 0, the id itself for one that the scheme lacks."""
    try:
        return scheme.by_id(class_id).name if class_id else ""
    except InputError:
        return str(class_id)


def _label_columns(snapshot: ExportSnapshot) -> list[tuple[str, str, str]]:
    names = [class_name(snapshot.scheme, c) for c in _class_ids(snapshot)]
    p = [(f"p_{name}", f"predicted probability of {name}", "probability") for name in names]
    at = [c[0] for c in LABEL_COLUMNS].index("model")
    return [*LABEL_COLUMNS[:at], *p, *LABEL_COLUMNS[at:], *_told_columns(snapshot, [c[0] for c in p])]


def _told_columns(snapshot: ExportSnapshot, predicted: list[str]) -> list[tuple[str, str, str]]:
    """What tables told of seeds, by their own names, with "(table)" behind one that is taken."""
    taken = {name.lower() for name in (*(c[0] for c in LABEL_COLUMNS), *predicted)}
    found = []
    for name in snapshot.metadata:
        shown = name
        while shown.lower() in taken:
            shown += " (table)"
        taken.add(shown.lower())
        found.append((shown, "from a table that was added", ""))
    return found


def _class_ids(snapshot: ExportSnapshot) -> tuple[int, ...]:
    tables = snapshot.probabilities
    return all_class_ids([t.class_ids for t in tables]) if tables else snapshot.scheme.ids


def all_class_ids(parts: Iterable[Iterable[int]]) -> tuple[int, ...]:
    """Class ids of several tables, each once, as the first names them."""
    return tuple(dict.fromkeys(class_id for part in parts for class_id in part))


def _seed_ids(snapshot: ExportSnapshot) -> list[int]:
    shown = {int(s) for table in snapshot.regions.values() for s in table.seed if s > 0}
    return sorted(shown | set(snapshot.seeds) | set(snapshot.labels))


def _label_rows(snapshot: ExportSnapshot) -> Iterator[list[Cell]]:
    places, predicted, scored = _places(snapshot), _predictions(snapshot), _scores(snapshot)
    empty: list[Cell] = [None] * (3 + len(_class_ids(snapshot)))
    for seed in _seed_ids(snapshot):
        place = places.get(seed)
        facts = snapshot.seeds.get(seed)
        yield [
            seed,
            facts.lot if facts else "",
            place.scan.id if place else None,
            place.scan.facts.name if place else "",
            snapshot.files.get(seed),
            *_answer(snapshot, seed),
            *predicted.get(seed, empty),
            None if seed not in snapshot.rejected else int(snapshot.rejected[seed]),
            *scored.get(seed, (None, None)),
            facts.alias_of if facts else None,
            int(facts.archived) if facts else 0,
            *_geometry(place),
            *(cells.get(seed) for cells in snapshot.metadata.values()),
        ]


def _answer(snapshot: ExportSnapshot, seed: int) -> list[Cell]:
    label, said = snapshot.labels.get(seed), snapshot.label_facts.get(seed, {})
    state = label.state if label else LabelState.NONE
    class_id = label.class_id if label and state is LabelState.LABELLED else 0
    name = UNSURE if state is LabelState.UNSURE else class_name(snapshot.scheme, class_id)
    asked = said.get("suggestion") or snapshot.suggestions.get(seed) or {}
    answer: list[Cell] = [class_id, name, str(state), said.get("annotator"), said.get("utc")]
    return [*answer, asked.get("reason"), asked.get("strategy"), _float(asked.get("inclusion_p"))]


def _geometry(place: _Place | None) -> list[Cell]:
    if place is None:
        return [None] * 20
    table, row, facts = place.table, place.row, place.scan.facts
    centre, box = table.centroid[row].tolist(), table.box[row].tolist()
    size: list[float | None] = list(facts.voxel_size_um) if facts.voxel_size_um else [None, None, None]
    if facts.has_bands:
        size[0] = None  # bands have no length
    lower = _scaled([b - 0.5 for b in box[:3]], size)
    upper = _scaled([b - 0.5 for b in box[3:]], size)
    cells: list[Cell] = [int(table.region[row]), int(table.n_voxels[row]), *centre]
    return [*cells, *_scaled(centre, size), *box, *lower, *upper]


def _scaled(values: list[float], size: list[float | None]) -> list[Cell]:
    return [None if s is None else v * s for v, s in zip(values, size, strict=True)]


def _places(snapshot: ExportSnapshot) -> dict[int, _Place]:
    places: dict[int, _Place] = {}
    for scan in sorted(snapshot.scans, key=lambda s: s.id):
        table = snapshot.regions.get(scan.id)
        for row, seed in enumerate(table.seed.tolist() if table else ()):
            if table is not None and seed > 0:
                places.setdefault(seed, _Place(scan, table, row))
    return places


def _predictions(snapshot: ExportSnapshot) -> dict[int, list[Cell]]:
    """Seed → predicted class id and name, one probability per class, model."""
    columns = _class_ids(snapshot)
    rows: dict[int, list[Cell]] = {}
    for table in snapshot.probabilities:
        best = table.p.argmax(axis=1) if table.p.size else np.zeros(0, int)
        at = [table.class_ids.index(c) if c in table.class_ids else None for c in columns]
        for seed, row, top in zip(table.seeds.tolist(), table.p, best.tolist(), strict=True):
            class_id = table.class_ids[top]
            p: list[Cell] = [None if i is None else round(float(row[i]), 6) for i in at]
            head: list[Cell] = [class_id, class_name(snapshot.scheme, class_id)]
            rows.setdefault(seed, [*head, *p, table.model_id])
    return rows


def _scores(snapshot: ExportSnapshot) -> dict[int, tuple[Cell, Cell]]:
    """Seed → score and model."""
    rows: dict[int, tuple[Cell, Cell]] = {}
    for table in snapshot.anomaly:
        for seed, score in zip(table.seeds.tolist(), table.scores.tolist(), strict=True):
            rows.setdefault(seed, (float(score), table.model_id))
    return rows


def _event_rows(snapshot: ExportSnapshot) -> Iterator[list[Cell]]:
    for event in snapshot.events:
        head: list[Cell] = [event.sequence, event.uuid, event.utc, event.annotator, str(event.kind)]
        payload = event.payload
        if event.kind is not EventKind.LABEL:
            yield [*head, *[None] * 9, payload.get("undoes")]
            continue
        asked = payload.get("suggestion") or {}
        for seed, state, class_id in answers_of(payload):
            said: list[Cell] = [state, class_id, class_name(snapshot.scheme, class_id)]
            yield [*head, seed, *said, *_asked(asked.get(str(seed)) or {}), None]


def _asked(suggestion: Mapping[str, Any]) -> list[Cell]:
    keys = ("uuid", "strategy", "reason")
    texts: list[Cell] = [suggestion.get(key) for key in keys]
    return [*texts, _float(suggestion.get("inclusion_p")), suggestion.get("model_id")]


def _region_rows(snapshot: ExportSnapshot) -> Iterator[list[Cell]]:
    for scan, table in sorted(snapshot.regions.items()):
        for i in range(len(table)):
            ids: list[Cell] = [scan, int(table.region[i]), int(table.seed[i])]
            yield [*ids, *table.box[i].tolist(), *table.centroid[i].tolist(), int(table.n_voxels[i])]


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
