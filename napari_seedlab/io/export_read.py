"""An export read back: every file checked, its contents parsed."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.core import ClassScheme, Event, InputError, RegionTable, Scan, Seed, event_hash
from napari_seedlab.files import ArraySource, file_hash
from napari_seedlab.io.export import ATTACHMENTS, FORMAT, MANIFEST, PROJECT, VERSION
from napari_seedlab.io.facts import facts_from_json
from napari_seedlab.io.gate import shown_name
from napari_seedlab.io.plain_files import parse_json, read_text
from napari_seedlab.io.snapshot import columns_from_json, event_from_json, scheme_from_json

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

AGAIN = "Export it again or copy it again from its origin"


@dataclass(frozen=True)
class Export:
    """What an export holds.

    Attributes
    ----------
    folder : Path
        Where it lies.
    project_uuid : str
        Of the project that was exported.
    scheme, tissue_scheme : ClassScheme
        Grain classes and tissues.
    scans : tuple of Scan
    sources : mapping of int to ArraySource
        Voxels of each scan, where they lay when it was exported.
    seeds : mapping of int to Seed
    metadata : mapping of str to mapping of int to value
        By name of the column what tables told of each seed; empty in older exports.
    regions : mapping of int to RegionTable
        By scan.
    events : tuple of Event
        The journal, its chain of hashes verified.
    attachments : mapping of str to Path
        Copied archives by name.
    volumes : mapping of (int, str) to Path
        By scan and ``classes`` or ``instances``: the OME-TIFF.
    """

    folder: Path
    project_uuid: str
    scheme: ClassScheme
    tissue_scheme: ClassScheme
    scans: tuple[Scan, ...]
    sources: Mapping[int, ArraySource]
    seeds: Mapping[int, Seed]
    metadata: Mapping[str, Mapping[int, str | int | float]]
    regions: Mapping[int, RegionTable]
    events: tuple[Event, ...]
    attachments: Mapping[str, Path]
    volumes: Mapping[tuple[int, str], Path]


def read_export(folder: str | os.PathLike[str]) -> Export:
    """Verify and parse an export.

    Raises
    ------
    InputError
        It is no export of ours, a file is missing or not what was written, or the journal's chain is
        broken.
    """
    root = Path(folder)
    names = verify(root)
    try:
        return _parse(root, names)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        cause = f"its contents cannot be used ({type(error).__name__}: {str(error)[:40]})"
        raise InputError(shown_name(root), cause, AGAIN) from error


def verify(root: Path) -> list[str]:
    """Check every file of the manifest; return their names."""
    name = shown_name(root)
    if not (root / MANIFEST).is_file():
        raise InputError(name, f"is no export: it has no {MANIFEST}", "Choose the exported folder")
    manifest = parse_json(MANIFEST, read_text(root / MANIFEST))
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(name, "is not an export of Seedlab", "Choose the exported folder")
    if manifest.get("version") != VERSION or not isinstance(manifest.get("files"), dict):
        cause = f"has version {str(manifest.get('version'))[:20]}, this Seedlab reads {VERSION}"
        raise InputError(name, cause, "Update Seedlab")
    for file, facts in manifest["files"].items():
        _verify_file(root, file, facts)
    return list(manifest["files"])


def _verify_file(root: Path, file: str, facts: Any) -> None:
    shown = f"{shown_name(root)}/{shown_name(file)}"
    parts = PurePosixPath(file).parts
    path = root.joinpath(*parts)
    if ".." in parts or file.startswith("/") or not path.resolve().is_relative_to(root.resolve()):
        raise InputError(shown, "points outside the export", AGAIN)
    if not path.is_file():
        raise InputError(shown, "is missing from the export", AGAIN)
    stated, held = facts.get("bytes") if isinstance(facts, dict) else None, path.stat().st_size
    if held != stated:
        raise InputError(shown, f"has {held:,} bytes, the manifest says {stated}", AGAIN)
    if file_hash(path) != facts.get("sha256"):
        raise InputError(shown, "is not what was exported (hash differs)", AGAIN)


def _parse(root: Path, names: list[str]) -> Export:
    project = parse_json(PROJECT, read_text(root / PROJECT))
    grain, tissue = (scheme_from_json(s) for s in project["schemes"])
    scans = {s["id"]: s for s in project["scans"]}
    volumes = {
        (i, kind): root / file
        for i, s in scans.items()
        for kind in ("classes", "instances")
        if (file := f"{s['stem']}_{kind}.ome.tif") in names
    }
    return Export(
        folder=root,
        project_uuid=str(project["project_uuid"]),
        scheme=grain,
        tissue_scheme=tissue,
        scans=tuple(Scan(i, facts_from_json(s["facts"])) for i, s in scans.items()),
        sources={i: ArraySource.from_json(s["source"]) for i, s in scans.items() if s["source"]},
        seeds={s["id"]: Seed(**s) for s in project["seeds"]},
        metadata=columns_from_json(project.get("metadata", [])),
        regions=_regions(read_text(root / "regions.csv")),
        events=_events(root),
        attachments=_attachments(root, names),
        volumes=volumes,
    )


def _attachments(root: Path, names: list[str]) -> dict[str, Path]:
    """Every attached file by its name below the attachments."""
    prefix = ATTACHMENTS + "/"
    return {name.removeprefix(prefix): root / name for name in names if name.startswith(prefix)}


def _events(root: Path) -> tuple[Event, ...]:
    events, before = [], None
    with open(root / "events.jsonl", "rb") as stream:
        for number, line in enumerate(stream, 1):
            event = event_from_json(parse_json(f"events.jsonl, line {number}", line.decode("utf-8")))
            fields = (event.sequence, event.uuid, event.utc, event.annotator, event.kind, event.payload)
            is_next = before is None or event.prev_hash == before
            if not is_next or event_hash(*fields, event.prev_hash) != event.hash:
                cause = f"the chain of events breaks at event {event.sequence}"
                raise InputError(shown_name(root), cause, AGAIN)
            before = event.hash
            events.append(event)
    return tuple(events)


def _regions(text: str) -> dict[int, RegionTable]:
    rows = list(csv.reader(text.splitlines()))[1:]
    scans = sorted({int(row[0]) for row in rows})
    return {scan: _region_table(scan, [row for row in rows if int(row[0]) == scan]) for scan in scans}


def _region_table(scan: int, rows: list[list[str]]) -> RegionTable:
    whole = np.asarray([[int(v) for v in (*row[1:9], row[12])] for row in rows], np.int64)
    centroid = np.asarray([[float(v) for v in row[9:12]] for row in rows], np.float64)
    columns = {"region": whole[:, 0], "seed": whole[:, 1], "box": whole[:, 2:8], "n_voxels": whole[:, 8]}
    return RegionTable.from_columns({"scan": np.asarray([scan]), "centroid": centroid, **columns})
