"""Steps around a project that need no window and no job: make, rebuild, label from a table, check."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_seedlab import files
from napari_seedlab.core import GRAIN_SCHEME, InputError, LabelState, NotReady, ProjectDamaged
from napari_seedlab.session.desk import Step
from napari_seedlab.session.places import seed_at
from napari_seedlab.session.sheets import all_files

if TYPE_CHECKING:
    from pathlib import Path

    from napari_seedlab.core import ClassScheme, JobRequest, JobResult
    from napari_seedlab.io import AnomalyTable, ClassProbabilities
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project


def new_project(
    path: Path, source: Path | None = None, classes: Path | None = None, earlier: Path | None = None
) -> dict[str, Any]:
    """Make a project folder: empty, from an export, or with the classes of an earlier project.

    It is closed again on return. What else an earlier project brings, :class:`.Origin` takes.
    """
    from napari_seedlab import io
    from napari_seedlab.store import Project

    refuse_file(path, "Name a new project folder")
    if earlier is not None:
        refuse_file(earlier, "Choose a project folder")
        with Project.open(earlier, read_only=True) as other:
            schemes = other.scheme("grain"), other.scheme("tissue")
        project = Project.create(path, *schemes)
    elif source is None:
        scheme: ClassScheme = GRAIN_SCHEME if classes is None else io.read_class_file(classes)
        project = Project.create(path, grain=scheme)
    else:
        project = _from_export(path, source)
    with project:
        classes_of = {c.id: c.name for c in project.scheme("grain")}
        return {"project": str(project.path), "classes": classes_of, "notes": project.changed_sources()}


def _from_export(path: Path, source: Path) -> Project:
    from napari_seedlab import io
    from napari_seedlab.io.export import ATTACHMENTS
    from napari_seedlab.store import Project

    refuse_file(source, "Choose the exported folder")
    export = io.read_export(source)
    attached = export.folder / ATTACHMENTS
    rasters = {s.id: tree for s in export.scans if (tree := attached / f"rasters/{s.id}.zarr").is_dir()}
    return Project.create_from(
        path, export.events, attached / "blobs", rasters, export.project_uuid, attached
    )


def refuse_file(path: Path, remedy: str) -> None:
    """Raise InputError where `path`, or what it lies in, is a file and not a folder."""
    found = next((p for p in (path, *path.parents) if os.path.exists(p)), None)
    if found is not None and not os.path.isdir(found):
        raise InputError(found.name, "is a file, not a folder", remedy)


def refuse_no_file(path: Path) -> None:
    """Raise InputError where no file can be written at `path`: it is a folder, or in none."""
    if path.is_dir():
        raise InputError(path.name, "is a folder, not a file", "Name a CSV file in it")
    if not path.absolute().parent.is_dir():
        cause = f"its folder {path.absolute().parent.name} is not there"
        raise InputError(path.name, cause, "Make it first, or name another")


def read_recipe(path: Path) -> dict[str, Any]:
    """Settings of a split from a JSON file."""
    from napari_seedlab.imaging.split import SplitRecipe
    from napari_seedlab.io.plain_files import parse_json, read_text

    value = parse_json(path.name, read_text(path))
    if not isinstance(value, dict):
        raise InputError(path.name, "is not a JSON object", "Write a recipe such as a split prints")
    return SplitRecipe.from_json(value).to_json()


def label_from_table(session: Session, path: Path) -> dict[str, Any]:
    """Answer from a CSV with the columns seed and class, in one event: all or nothing, one undo.

    In a table with places (columns z, y, x), such as the truth of a sample, the numbers of the seeds are
    its own: its rows are matched by what lies there in the current scan.

    Seeds that were merged into another or that no region shows any more may be named: an answer about
    the first goes to the survivor, one about the second is kept.
    """
    from napari_seedlab import io

    answers = io.read_labels_csv(path, session.scheme, session.seeds, partial(seed_at, session))
    if not answers:
        raise InputError(path.name, "has no row with a class", "Write seed,class rows")
    session.refuse_if_blocked()
    by_class: dict[int | str, list[int]] = defaultdict(list)
    for seed, said in answers:
        by_class[said].append(seed)
    said_of = [
        (seeds, LabelState.UNSURE, 0) if isinstance(said, str) else (seeds, LabelState.LABELLED, said)
        for said, seeds in by_class.items()
    ]

    def save(project: Project) -> None:
        event = project.label_many(said_of, session.annotator)
        session.reload_labels(project)
        session.saved.emit(event)

    session.desk.do(save).result()
    for pool in session.pools_of(seed for seed, _ in answers):
        session.refit(pool)
    return {"labels": len(answers), "counts": {str(k): v for k, v in session.counts().items()}}


def predict_pools(session: Session, pool: str | None = None) -> None:
    """Fit the head of each pool (or of one) to the present answers, as far as there are enough.

    Raises
    ------
    NotReady
        No pool has predictions, and why.
    """
    why: NotReady | None = None
    pools = [pool] if pool else _pools(session) or [session.pool]
    for each in pools:
        try:
            session.embed(each).wait()
            is_labelled = any(session.label(s).state is LabelState.LABELLED for s in session.seeds_of(each))
            if is_labelled or session.origin.serves(each):
                session.draw(n=0, pool=each).wait()
        except NotReady as error:
            why = why or error
    if all(session.predictions_of(each) is None for each in pools):
        raise why or NotReady("predict", "nothing is labelled yet", "Label seeds of two classes first")


def write_predictions(session: Session, to: Path, pool: str | None = None) -> dict[str, Any]:
    """Write seed, predicted class and probabilities of the shown models as CSV.

    Parameters
    ----------
    session : Session
        Open.
    to : Path
        CSV; replaced when it exists.
    pool : str, optional
        Only its seeds; else those of all pools.

    Raises
    ------
    InputError
        `to` is a folder, or nothing is predicted yet.
    """
    from napari_seedlab.io.csv_text import csv_bytes
    from napari_seedlab.io.export_tables import all_class_ids, class_name

    refuse_no_file(to)
    shown = [t for p in _pools(session) if pool in (None, p) and (t := session.predictions_of(p)) is not None]
    if not shown:
        raise InputError("predict", "there is no model", "Train one first")
    class_ids = all_class_ids(table.class_ids for table in shown)
    rows: dict[int, list[Any]] = {}
    for table in shown:
        for seed, best in zip(table.seeds.tolist(), table.best.tolist(), strict=True):
            p = table.of(seed)
            cells = [seed, best, class_name(session.scheme, best), *map(p.get, class_ids), table.model_id]
            rows.setdefault(seed, cells)
    head = ["seed", "class_id", "class", *(f"p_{class_name(session.scheme, c)}" for c in class_ids), "model"]
    files.atomic_write(to, csv_bytes(head, [rows[seed] for seed in sorted(rows)]))
    return {"rows": len(rows), "model": ", ".join(t.model_id for t in shown), "file": str(to)}


def _pools(session: Session) -> list[str]:
    """Pools of the project, that of the first scan first."""
    return list(dict.fromkeys(str(session.scans[scan].facts.modality) for scan in sorted(session.scans)))


def check_project(path: Path) -> dict[str, Any]:
    """Verify every hash and the journal; ProjectDamaged names the first problem and how many there are."""
    from napari_seedlab.store import Project

    with Project.open(path, read_only=True) as project:
        problems = project.check(deep=True)
        events = len(project.events())
    if problems:
        several = f"{len(problems)} problems, the first is " if len(problems) > 1 else ""
        raise ProjectDamaged(path.name, f"{several}{problems[0].rstrip('.')}")  # each says what to do
    return {"ok": True, "events": events}


def export_step(session: Session, to: Path) -> Step:
    """Write tables, label volumes and manifest of the present state."""

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        from napari_seedlab import io

        refuse_file(to, "Choose a new folder")
        io.write_snapshot(_snapshot(session, project, folder), folder)
        return {"to": str(to)}

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        session.message.emit("success", f"Exported to {to}.")
        return dict(result.values)

    return Step("export", "napari_seedlab.io.export:run", prepare, adopt, lane="export")


def _probabilities(session: Session) -> tuple[ClassProbabilities, ...]:
    from napari_seedlab.io import ClassProbabilities

    shown = filter(None, map(session.predictions_of, _pools(session)))
    return tuple(ClassProbabilities(t.seeds, t.p, t.class_ids, t.model_id) for t in shown)


def _anomaly(session: Session) -> tuple[AnomalyTable, ...]:
    from napari_seedlab.io import AnomalyTable

    found = filter(None, map(session.anomalies.get, _pools(session)))
    return tuple(AnomalyTable(t.seeds, t.score.astype("f8"), t.model_id) for t in found)


def _rejected(session: Session) -> dict[int, bool]:
    """Which predictions should not be used; nothing of a network's: the live model is what is judged."""
    by_net = {seed for net in session.nets.values() for seed in net.seeds.tolist()}
    return {seed: is_so for seed, is_so in session.figures.used_or_not().items() if seed not in by_net}


def _snapshot(session: Session, project: Project, folder: Path) -> Any:
    """The present state, frozen: what the window does meanwhile does not reach the export."""
    from napari_seedlab import io

    scans = tuple(project.scans())
    split = [s.id for s in scans if project.regions_source(s.id) is not None]
    rasters = {scan: project.raster_snapshot(scan, folder) for scan in split}
    attachments = project.attach(folder / "attached")
    attachments |= {f"rasters/{scan}.zarr": source.path for scan, source in rasters.items()}
    return io.ExportSnapshot(
        project_uuid=project.uuid,
        scheme=project.scheme("grain"),
        tissue_scheme=project.scheme("tissue"),
        scans=scans,
        image_sources={s.id: project.stored_source(s.id) for s in scans},
        regions_sources=rasters,
        regions={scan: project.regions(scan) for scan in rasters},
        seeds=project.seeds(),
        labels=project.labels(),
        label_facts=project.label_facts(),
        events=tuple(project.events()),
        probabilities=_probabilities(session),
        anomaly=_anomaly(session),
        suggestions={s.seed: asdict(s) for s in session.queue},
        files=all_files(session),
        attachments=attachments,
        rejected=_rejected(session),
        metadata=project.seed_columns(),
    )
