"""Everything in standard formats, in one folder, in full or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from napari_seedlab import __version__
from napari_seedlab.core import InputError, JobRequest, JobResult, Progress, ProjectError, Scan
from napari_seedlab.files import file_hash, publish_tree, read_json
from napari_seedlab.io.export_tables import n_label_rows, tables
from napari_seedlab.io.export_volumes import write_volumes
from napari_seedlab.io.facts import facts_to_json
from napari_seedlab.io.gate import shown_name
from napari_seedlab.io.snapshot import ExportSnapshot, read_snapshot, scheme_to_json

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

FORMAT = "napari-seedlab export"
VERSION = 1
MANIFEST = "manifest.json"
PROJECT = "project.json"
ATTACHMENTS = "attachments"
HASHED_AT_ONCE = 2**26  # bytes between two looks at whether the export is cancelled


def write_export(snapshot: ExportSnapshot, folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Write an export into the new folder `folder`; see :func:`export_steps`."""
    steps = export_steps(snapshot, folder)
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return dict(end.value)


def export_steps(
    snapshot: ExportSnapshot, folder: str | os.PathLike[str]
) -> Generator[Progress, None, dict[str, Any]]:
    """Write an export step by step; the folder appears with the last one, or not at all.

    Parameters
    ----------
    snapshot : ExportSnapshot
        What is written.
    folder : path-like
        Must not exist, or be an empty folder.

    Yields
    ------
    Progress

    Returns
    -------
    dict
        ``rows`` of the label table, number of ``files``, and the ``folder``.

    Raises
    ------
    InputError
        Something stands at `folder` already.
    ProjectError
        The drive refused to take the files.
    """
    target = Path(os.path.abspath(folder))
    _check_free(target)
    temporary = target.with_name(f".{target.name[:80]}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir(mode=0o700)
        yield Progress(0, 0, "writing tables")
        _write_all(temporary, {**tables(snapshot), PROJECT: project_bytes(snapshot)})
        for scan in snapshot.scans:
            if scan.id in snapshot.regions_sources and scan.id in snapshot.regions:
                yield from write_volumes(snapshot, scan, scan_stem(scan), temporary)
        yield from _attach(snapshot, temporary / ATTACHMENTS)
        n_files = yield from _write_manifest(snapshot, temporary)
        _check_free(target)
        publish_tree(temporary, target)
    except OSError as error:
        name = shown_name(target)
        raise ProjectError(
            name, f"cannot be written ({error.strerror or error})", "Check the drive"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return {"rows": n_label_rows(snapshot), "files": n_files, "folder": str(target)}


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job ``napari_seedlab.io.export:run``: a snapshot in the folder, param ``to``."""
    params = JobRequest.from_json(read_json(folder / "request.json")).params
    values = yield from export_steps(read_snapshot(folder), params["to"])
    return JobResult(values)


def scan_stem(scan: Scan) -> str:
    """First part of the file names of a scan: its id, and what of its name is safe in any file name."""
    words = re.sub(r"[^A-Za-z0-9._-]+", "_", scan.facts.name).strip("._-")[:60]
    return f"scan{scan.id}_{words}" if words else f"scan{scan.id}"


def project_bytes(snapshot: ExportSnapshot) -> bytes:
    """``project.json``: schemes, scans, seeds and what tables told of them."""
    value = {
        "project_uuid": snapshot.project_uuid,
        "schemes": [scheme_to_json(s) for s in (snapshot.scheme, snapshot.tissue_scheme)],
        "scans": [
            {
                "id": scan.id,
                "stem": scan_stem(scan),
                "facts": facts_to_json(scan.facts),
                "source": source.to_json() if (source := snapshot.image_sources.get(scan.id)) else None,
            }
            for scan in sorted(snapshot.scans, key=lambda s: s.id)
        ],
        "seeds": [asdict(snapshot.seeds[seed]) for seed in sorted(snapshot.seeds)],
        "metadata": [
            [name, {str(s): v for s, v in cells.items()}] for name, cells in snapshot.metadata.items()
        ],
    }
    return json_bytes(value)


def json_bytes(value: object) -> bytes:
    """Indented JSON with sorted keys: equal values give equal bytes."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"


def _check_free(target: Path) -> None:
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        raise InputError(shown_name(target), "exists already and is not overwritten", "Choose a new folder")


def _write_all(folder: Path, contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def _attach(snapshot: ExportSnapshot, folder: Path) -> Iterator[Progress]:
    for name in snapshot.attachments:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts:
            raise InputError(name, "cannot be the name of an attachment", "Use a plain name")
    origins = [f for name, path in sorted(snapshot.attachments.items()) for f in _files(name, Path(path))]
    for done, (name, origin) in enumerate(origins):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin, place)
        yield Progress(done + 1, len(origins), "copying archives")


def _files(name: str, origin: Path) -> list[tuple[str, Path]]:
    """Name in the export and path of a file, or of every file of a folder."""
    if not origin.is_dir():
        return [(name, origin)]
    return [
        (f"{name}/{p.relative_to(origin).as_posix()}", p) for p in sorted(origin.rglob("*")) if p.is_file()
    ]


def _write_manifest(snapshot: ExportSnapshot, folder: Path) -> Generator[Progress, None, int]:
    """Hash every file, then write the manifest, last."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    listed, n_bytes = {}, 0
    for done, path in enumerate(paths):
        name = path.relative_to(folder).as_posix()
        listed[name] = {"sha256": file_hash(path), "bytes": path.stat().st_size}
        n_bytes += path.stat().st_size
        if done % 64 == 0 or n_bytes >= HASHED_AT_ONCE:
            n_bytes = 0
            yield Progress(done, len(paths), "writing the manifest")
    journal = snapshot.events[-1].hash if snapshot.events else hashlib.sha256(b"").hexdigest()
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "seedlab": __version__,
        "project_uuid": snapshot.project_uuid,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "last_event": journal,
        "files": listed,
    }
    (folder / MANIFEST).write_bytes(json_bytes(manifest))
    return len(paths) + 1
