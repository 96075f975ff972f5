"""Steps around a project that need no window and no job: make, rebuild, label from a table, check."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from napari_seedlab import files
from napari_seedlab.core import GRAIN_SCHEME, InputError, ProjectDamaged
from napari_seedlab.session.desk import Step

if TYPE_CHECKING:
    from pathlib import Path

    from napari_seedlab.core import ClassScheme, JobRequest, JobResult
    from napari_seedlab.io import ClassProbabilities
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project


def new_project(path: Path, source: Path | None = None, classes: Path | None = None) -> dict[str, Any]:
    """Make a project folder, empty or from an export; closed again on return."""
    from napari_seedlab import io
    from napari_seedlab.store import Project

    if source is None:
        scheme: ClassScheme = GRAIN_SCHEME if classes is None else io.read_class_file(classes)
        project = Project.create(path, grain=scheme)
    else:
        project = _from_export(path, source)
    with project:
        return {"project": str(project.path), "classes": {c.id: c.name for c in project.scheme("grain")}}


def _from_export(path: Path, source: Path) -> Project:
    from napari_seedlab import io
    from napari_seedlab.io.export import ATTACHMENTS
    from napari_seedlab.store import Project

    export = io.read_export(source)
    attached = export.folder / ATTACHMENTS
    rasters = {s.id: tree for s in export.scans if (tree := attached / f"rasters/{s.id}.zarr").is_dir()}
    return Project.create_from(path, export.events, attached / "blobs", rasters, export.project_uuid)


def read_recipe(path: Path) -> dict[str, Any]:
    """Settings of a split from a JSON file."""
    from napari_seedlab.imaging.split import SplitRecipe
    from napari_seedlab.io.plain_files import parse_json, read_text

    value = parse_json(path.name, read_text(path))
    if not isinstance(value, dict):
        raise InputError(path.name, "is not a JSON object", "Write a recipe such as a split prints")
    return SplitRecipe.from_json(value).to_json()


def label_from_table(session: Session, path: Path) -> dict[str, Any]:
    """Answer from a CSV with the columns seed and class; one event per class."""
    from napari_seedlab import io

    known = [s for s, seed in session.seeds.items() if not seed.archived and seed.alias_of is None]
    answers = io.read_labels_csv(path, session.scheme, known)
    by_class: dict[int | str, list[int]] = defaultdict(list)
    for seed, said in answers:
        by_class[said].append(seed)
    for said, seeds in by_class.items():
        session.answer(said, seeds)
    session.desk.do(lambda project: None).result()
    if session.labelling.failed:
        raise InputError(session.name, session.labelling.failed, "Nothing more was labelled")
    return {"labels": len(answers), "counts": {str(k): v for k, v in session.counts().items()}}


def write_predictions(session: Session, to: Path) -> dict[str, Any]:
    """Write seed, predicted class and probabilities of the shown model as CSV."""
    from napari_seedlab.io.csv_text import csv_bytes

    shown = session.predictions
    if shown is None:
        raise InputError("predict", "there is no model", "Train one first")
    names = [session.scheme.by_id(c).name for c in shown.class_ids]
    rows: list[list[Any]] = [
        [int(seed), int(best), session.scheme.by_id(int(best)).name, *map(float, p)]
        for seed, best, p in zip(shown.seeds, shown.best, shown.p, strict=True)
    ]
    head = ["seed", "class_id", "class", *(f"p_{name}" for name in names)]
    files.atomic_write(to, csv_bytes(head, rows))
    return {"rows": len(rows), "model": shown.model_id, "file": str(to)}


def check_project(path: Path) -> dict[str, Any]:
    """Verify every hash and the journal; ProjectDamaged names the first problem and how many there are."""
    from napari_seedlab.store import Project

    with Project.open(path, read_only=True) as project:
        problems = project.check(deep=True)
        events = len(project.events())
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ProjectDamaged(
            path.name, f"{problems[0].rstrip('.')}{more}", "Restore it from a copy or an export"
        )
    return {"ok": True, "events": events}


def export_step(session: Session, to: Path) -> Step:
    """Write tables, label volumes and manifest of the present state."""

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        from napari_seedlab import io

        io.write_snapshot(_snapshot(session, project), folder)
        return {"to": str(to)}

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        session.message.emit("success", f"Exported to {to}.")
        return dict(result.values)

    return Step("export", "napari_seedlab.io.export:run", prepare, adopt, lane="background")


def _probabilities(session: Session) -> ClassProbabilities | None:
    from napari_seedlab.io import ClassProbabilities

    shown = session.predictions
    if shown is None:
        return None
    return ClassProbabilities(shown.seeds, shown.p, shown.class_ids, shown.model_id)


def _snapshot(session: Session, project: Project) -> Any:
    from dataclasses import asdict

    from napari_seedlab import io

    scans = tuple(project.scans())
    rasters = {s.id: source for s in scans if (source := project.regions_source(s.id)) is not None}
    odd = session.anomaly
    attachments = {f"blobs/{sha}.npz": str(path) for sha, path in project.blob_paths().items()}
    attachments |= {f"rasters/{scan}.zarr": source.path for scan, source in rasters.items()}
    return io.ExportSnapshot(
        project_uuid=project.uuid,
        scheme=project.scheme("grain"),
        tissue_scheme=project.scheme("tissue"),
        scans=scans,
        image_sources={s.id: project.scan_source(s.id) for s in scans},
        regions_sources=rasters,
        regions={scan: project.regions(scan) for scan in rasters},
        seeds=project.seeds(),
        labels=project.labels(),
        label_facts=project.label_facts(),
        events=tuple(project.events()),
        probabilities=_probabilities(session),
        anomaly=None if odd is None else io.AnomalyTable(odd.seeds, odd.score.astype("f8"), odd.model_id),
        suggestions={s.seed: asdict(s) for s in session.queue},
        attachments=attachments,
    )
