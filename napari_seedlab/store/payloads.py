"""What events say: checked against the present state, before and after written out."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select

from napari_seedlab.core import EventKind, InputError, LabelState, RegionTable
from napari_seedlab.files import open_zarr
from napari_seedlab.store import edits, journal, projection, queries, schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from sqlalchemy import Connection

    from napari_seedlab.core import ClassScheme
    from napari_seedlab.store.blobs import Blobs

AGAIN = "Run the split again"


def scheme(connection: Connection, wanted: ClassScheme) -> dict[str, Any]:
    """Payload that sets a class scheme; ids keep their meaning for ever."""
    past = [e.payload for e in journal.read(connection, kinds=[EventKind.SCHEME])]
    past = [p for p in past if p["kind"] == wanted.kind]
    names = {c["id"]: c["name"] for payload in past for c in payload["classes"]}
    present = {c["id"] for c in past[-1]["classes"]} if past else set()
    subject = f"class scheme '{wanted.kind}'"
    lost = present - set(wanted.ids)
    if wanted.kind == "grain" and lost:
        used = {label.class_id for label in queries.labels(connection).values()} & lost
        if used:
            cause = f"class {min(used)} {names[min(used)]} is used by labels"
            raise InputError(subject, cause, "Keep it, or label those seeds anew first")
    for c in wanted.classes:
        if c.id in names and c.id not in present and names[c.id] != c.name:
            cause = f"class id {c.id} once meant {names[c.id]}"
            raise InputError(subject, cause, f"Use {max(names) + 1} for {c.name}")
    return {"kind": wanted.kind, "classes": [asdict(c) for c in wanted.classes]}


def label(connection: Connection, seeds: Iterable[int], state: LabelState, class_id: int) -> dict[str, Any]:
    """Payload of an answer, with what was said before."""
    if state is LabelState.CONFLICT:
        raise InputError("label", "a conflict cannot be said by hand", "Say the class")
    if state is LabelState.LABELLED:
        known_classes = queries.scheme(connection, "grain")
        if known_classes is not None:
            known_classes.by_id(class_id)
    chosen = queries.survivors(connection, seeds)
    known = queries.said(connection, chosen)
    return {
        "seeds": chosen,
        "state": str(state),
        "class_id": class_id if state is LabelState.LABELLED else 0,
        "before": [known.get(seed, edits.NOTHING) for seed in chosen],
    }


def label_many(
    connection: Connection, answers: Iterable[tuple[Iterable[int], LabelState | str, int]]
) -> dict[str, Any]:
    """Payload of unequal answers about several seeds: `said` holds state and class id per seed."""
    parts = [label(connection, seeds, LabelState(state), class_id) for seeds, state, class_id in answers]
    seeds = [seed for part in parts for seed in part["seeds"]]
    if not seeds:
        raise InputError("label", "no seed was given", "Choose one")
    seed, count = Counter(seeds).most_common(1)[0]
    if count > 1:
        cause = "has two answers (seeds that were merged into it count as it)"
        raise InputError(f"seed {seed}", cause, "Keep one of them")
    return {
        "seeds": seeds,
        "state": str(LabelState.LABELLED),
        "class_id": 0,
        "said": [(part["state"], part["class_id"]) for part in parts for _ in part["seeds"]],
        "before": [before for part in parts for before in part["before"]],
    }


def require_stroke(
    connection: Connection,
    where: tuple[int, int, int],
    points: npt.NDArray[np.int32],
    classes: npt.NDArray[np.int8],
) -> None:
    """Raise InputError unless a stroke at `where` (scan, axis, index) fits its scan and scheme."""
    scan, axis, index = where
    shape = queries.region_shape(connection, scan)
    if axis not in (0, 1, 2) or not 0 <= index < shape[axis]:
        raise InputError("stroke", f"slice {index} of axis {axis} is not in {shape}", "Paint inside the scan")
    plane = tuple(n for a, n in enumerate(shape) if a != axis)
    if not len(points) or len(points) != len(classes):
        raise InputError(
            "stroke", f"{len(points)} pixels, {len(classes)} classes", "Give one class per pixel"
        )
    if (points < 0).any() or (points >= np.asarray(plane)).any():
        raise InputError("stroke", f"reaches out of the slice {plane}", "Paint inside it")
    tissues = queries.scheme(connection, "tissue")
    for class_id in sorted(set(classes.tolist()) - {-1, 0}):
        if tissues is not None:
            tissues.by_id(class_id)


def require_raster(raster: Path, table: RegionTable, shape: tuple[int, int, int]) -> None:
    """Raise InputError unless a region raster and its table fit a scan of `shape`."""
    array = open_zarr(raster)
    if tuple(array.shape) != shape or array.dtype != np.int32:
        cause = f"its raster is {tuple(array.shape)} {array.dtype}, the scan needs {shape} int32"
        raise InputError("split", cause, AGAIN)
    box = table.box
    if len(box) and ((box[:, :3] < 0).any() or (box[:, 3:] > np.asarray(shape)).any()):
        raise InputError("split", "a box reaches out of the scan", AGAIN)
    if len(table) and table.region.min() < 1:
        raise InputError("split", f"region id {table.region.min()} is below 1", AGAIN)


def link_split(connection: Connection, scan: int, table: RegionTable) -> tuple[RegionTable, dict[str, Any]]:
    """Give every new region a seed; the table, and what changes for seeds."""
    subject = f"split of scan {scan}"
    seeds = queries.seeds(connection)
    taken = set(connection.execute(select(schema.regions.c.region)).scalars())
    if len(np.unique(table.region)) != len(table) or taken & set(table.region.tolist()):
        raise InputError(subject, "region ids are used twice", AGAIN)
    order = np.argsort(table.region, kind="stable")
    seed = _surviving(connection, table.seed[order])
    matched = set(seed[seed > 0].tolist())
    if len(matched) != (seed > 0).sum():
        raise InputError(subject, "one seed is shown twice", AGAIN)
    first, new = projection.next_number(connection, "seed"), seed == 0
    seed[new] = first + np.arange(new.sum())
    vanished = {int(s) for s in queries.regions(connection, scan).seed} - matched
    vanished -= {row[2] for row in queries.rows_elsewhere(connection, scan, vanished)}
    linked = RegionTable(
        scan, table.region[order], seed, table.box[order], table.centroid[order], table.n_voxels[order]
    )
    return linked, {
        "first_seed": first,
        "n_new_seeds": int(new.sum()),
        "archived": sorted(s for s in vanished if not seeds[s].archived),
        "revived": sorted(s for s in matched if seeds[s].archived),
    }


def _surviving(connection: Connection, seed: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Matched seed ids with aliases resolved; 0 stays 0."""
    known = [int(s) for s in seed if s]
    resolved = {s: queries.survivors(connection, [s])[0] for s in _aliases(connection, known)}
    return np.asarray([resolved.get(int(s), int(s)) for s in seed], np.int64)


def _aliases(connection: Connection, seed_ids: list[int]) -> list[int]:
    known = queries.seeds(connection)
    for seed in seed_ids:
        if seed not in known:
            raise InputError(f"seed {seed}", "is not in this project", AGAIN)
    return [seed for seed in seed_ids if known[seed].alias_of is not None]


def repair_input(
    connection: Connection,
    scan: int,
    box: Sequence[int],
    old: npt.NDArray[np.int32],
    new: npt.NDArray[np.int32],
) -> edits.RepairInput:
    """All that decides what a repair of `box` does."""
    new = np.asarray(new, np.int32)
    table = queries.regions(connection, scan)
    touched = np.unique(old[old != new]) if old.shape == new.shape else np.empty(0, np.int32)
    ids = table.seed[np.isin(table.region, np.append(touched, np.unique(new)))].tolist()
    z0, y0, x0, z1, y1, x1 = (int(v) for v in box)
    return edits.RepairInput(
        (z0, y0, x0, z1, y1, x1),
        old,
        new,
        table,
        queries.seeds(connection),
        queries.said(connection, ids),
        queries.rows_elsewhere(connection, scan, ids),
        projection.next_number(connection, "seed"),
        projection.next_number(connection, "region"),
    )


def repair(given: edits.RepairInput, op: str, blobs: Blobs) -> dict[str, Any]:
    """Payload of a repair; its raster patch is a blob, durable before the event is."""
    result = edits.repair(given)
    index = np.flatnonzero(given.old != given.new)
    old, new = given.old.reshape(-1)[index], given.new.reshape(-1)[index]
    patch = blobs.put(box=np.asarray(given.box), index=index, old=old, new=new)
    changes = {name: getattr(result, name).to_json() for name in projection.ROWS}
    return {"scan": given.table.scan, "op": op, "box": given.box, "patch": patch, **changes}
