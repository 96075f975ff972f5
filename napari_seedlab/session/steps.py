"""Each kind of job: which arrays it gets, and how its result is taken over.

A function here returns a :class:`~napari_seedlab.session.desk.Step`. `prepare` and `adopt` run on the
desk's thread; what they change on the session is replaced whole, never edited in place, so that the
window can read it at any time.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab import files
from napari_seedlab.core import (
    InputError,
    LabelState,
    Modality,
    ModelCard,
    NotReady,
    RegionTable,
    ScanFacts,
    Suggestion,
)
from napari_seedlab.session.desk import Step
from napari_seedlab.session.figures import write_groups
from napari_seedlab.session.labelling import ASKABLE
from napari_seedlab.session.opinions import METHOD_NAMES
from napari_seedlab.session.results import Layout, Predictions

if TYPE_CHECKING:
    from pathlib import Path

    from napari_seedlab.core import JobRequest, JobResult, Scan
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

BATCH = 10  # suggestions drawn at a time


def import_step(session: Session, path: str, modality: str | None, name: str | None) -> Step:
    """Describe a file (and decode it where it is compressed), then add it as a scan."""

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        return {"path": path, "modality": modality, "name": name}

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        raw = dict(result.values["facts"])
        for key in ("shape", "axes", "voxel_size_um", "wavelengths_nm", "notes"):
            raw[key] = None if raw[key] is None else tuple(raw[key])
        facts = ScanFacts(**{**raw, "modality": Modality(raw["modality"])})
        source = files.ArraySource.from_json(result.values["source"])
        scan = same_scan(project, facts, source)
        if scan is not None:
            session.message.emit("info", f"{facts.name} is scan {scan.id} already; nothing was added.")
            session.show_scan(scan.id)
            facts = scan.facts
        else:
            older = scans_of_file(project, facts)
            scan = project.add_scan(facts, source, session.annotator, folder / "scan.zarr")
            session.reload_scans(project)
            if older:
                line = f"{facts.name} is not what it was as scan {older[-1].id}; added as scan {scan.id}."
                session.message.emit("info", line)
            for note in facts.notes:
                session.message.emit("info", note)
        return {
            "scan": scan.id,
            "shape": list(facts.shape),
            "axes": list(facts.axes),
            "voxel_size_um": None if facts.voxel_size_um is None else list(facts.voxel_size_um),
            "wavelengths_nm": None if facts.wavelengths_nm is None else list(facts.wavelengths_nm),
        }

    return Step("import", "napari_seedlab.io.importing:run", prepare, adopt, lane="background")


def scans_of_file(project: Project, facts: ScanFacts) -> list[Scan]:
    """The scans that were made of a file or folder, taken for the same kind, by id."""
    made_of = (facts.source_path, facts.modality)
    return [s for s in project.scans() if (s.facts.source_path, s.facts.modality) == made_of]


def same_scan(project: Project, facts: ScanFacts, source: files.ArraySource) -> Scan | None:
    """The scan that this very file is already: by path, kind, content, and how a header says to read it."""
    for scan in scans_of_file(project, facts):
        stored = project.stored_source(scan.id)
        if source.sha256 and _as_read(facts, source) == _as_read(scan.facts, stored):
            return scan
    return None


def _as_read(facts: ScanFacts, source: files.ArraySource) -> tuple[object, ...]:
    """All that decides which voxels are read from where, and what they mean."""
    where = replace(source, path="", size=0)  # a copy lies elsewhere once the project holds it
    return where, facts.shape, facts.axes, facts.dtype, facts.voxel_size_um, facts.wavelengths_nm


def split_step(session: Session, scan: int, recipe: dict[str, Any]) -> Step:
    """Split the touching seeds of a scan; known seeds keep their identity by overlap."""
    if scan in session.sheets:
        cause = "is a sheet of pictures, each of one seed, and split already"
        raise InputError(session.scans[scan].facts.name, cause, "Repair seeds by hand where one is wrong")

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        old = project.regions_source(scan)
        if old is not None:
            files.save_arrays(folder / "regions.npz", **project.regions(scan).columns())
        return {
            "scan": scan,
            "image": project.scan_source(scan).to_json(),
            "modality": str(session.scans[scan].facts.modality),
            "voxel_size_um": session.scans[scan].facts.voxel_size_um,
            "recipe": recipe,
            "first_region": project.next_region_id(),
            "old_regions": None if old is None else old.to_json(),
        }

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        table = RegionTable.from_columns(files.load_arrays(folder / "regions-new.npz"))
        if not len(table):
            grey = f"at grey value {float(result.values.get('threshold') or 0):g}"
            raise InputError(
                "split", f"finds no seed {grey}; nothing was changed", "Choose another threshold"
            )
        recipe_used = dict(result.values.get("recipe", recipe))
        project.add_split(scan, recipe_used, table, folder / "regions.zarr", session.annotator)
        session.reload_regions(project, scan)
        session.after_split(scan)
        threshold = result.values.get("threshold")
        return {"n_seeds": len(table), "scan": scan, "threshold": threshold, "recipe": recipe_used}

    return Step("split", "napari_seedlab.learn.splitting:run", prepare, adopt)


def scan_params(session: Session, project: Project, folder: Path, pool: str) -> list[dict[str, Any]]:
    """Write the region table of every split scan of a pool; returns the job's ``scans`` list."""
    scans = []
    for scan in session.scans_of(pool):
        if project.regions_source(scan.id) is None:
            continue
        source = project.raster_snapshot(scan.id, folder)  # later repairs do not reach the job
        table = f"regions-{scan.id}.npz"
        files.save_arrays(folder / table, **project.regions(scan.id).columns())
        scans.append(
            {
                "scan": scan.id,
                "image": project.scan_source(scan.id).to_json(),
                "regions": source.to_json(),
                "modality": str(scan.facts.modality),
                "voxel_size_um": scan.facts.voxel_size_um,
                "wavelengths_nm": scan.facts.wavelengths_nm,
                "table": table,
            }
        )
    if not session.scans:
        raise NotReady("this project", "has no scan yet", "Import one first")
    if not scans:
        raise NotReady(f"the {pool} scans", "are not split into seeds yet", "Split one first")
    return scans


def map_step(session: Session, pool: str, method: str, n_clusters: int | None) -> Step:
    """The 2-D map and its clusters."""

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        _write_embedding(session, folder, pool)
        previous = session.layouts.get(pool)
        if previous is not None:
            files.save_arrays(
                folder / "previous.npz", seed=previous.seeds, xy=previous.xy, cluster=previous.cluster
            )
        return {"method": method, "n_clusters": n_clusters}

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        if not session.desk.is_newest(f"map {pool}", request):
            return {"method": method}
        out = files.load_arrays(folder / "layout.npz")
        before = session.layouts.get(pool)
        by = before.method if method == "place" and before is not None else method
        layout = Layout(out["seed"], out["xy"], out["cluster"], by)
        session.layouts[pool] = layout
        project.put_arrays(
            f"layout-{pool}",
            seed=layout.seeds,
            xy=layout.xy,
            cluster=layout.cluster,
            method=np.asarray(by),
        )
        session.clusters.take(project, pool, out, int(result.values.get("proposed", 0)))
        session.layout_changed.emit()
        return {"n_seeds": len(layout.seeds), "n_clusters": len(np.unique(layout.cluster)), "method": method}

    return Step(
        f"map{method}", "napari_seedlab.learn.layout:run", prepare, adopt, latest_only=True, about=pool
    )


def _write_embedding(session: Session, folder: Path, pool: str) -> None:
    embedding = session.embeddings.get(pool)
    if embedding is None or not len(embedding.seeds):
        raise NotReady(f"the {pool} seeds", "have no embedding yet", "Split a scan first")
    files.save_arrays(folder / "embedding.npz", **embedding.columns())


def write_labels(session: Session, folder: Path, pool: str) -> int:
    """The labels that may be trained on, those of hidden classes left out; returns how many."""
    known, taught = set(session.seeds_of(pool)), {c.id for c in session.scheme.active}
    rows = [
        (label.seed, label.class_id, *session.label_origin(label.seed))
        for label in session.labels.values()
        if label.class_id in taught and label.state is LabelState.LABELLED and label.seed in known
    ]
    rows.sort(key=lambda row: row[2])
    files.save_arrays(
        folder / "labels.npz",
        seed=np.asarray([r[0] for r in rows], np.int64),
        class_id=np.asarray([r[1] for r in rows], np.int32),
        sequence=np.asarray([r[2] for r in rows], np.int64),
        inclusion_p=np.asarray([r[3] for r in rows], np.float64),
        strategy=np.asarray([r[4] for r in rows], "U16"),
    )
    return len(rows)


def round_step(session: Session, pool: str, n: int, asked_by: str | None, ahead: bool = False) -> Step:
    """One labelling round: fit the live head on all answers, draw `n` new suggestions.

    Without a strategy in `asked_by` they are drawn as the user wished; where that cannot be, by the mixture.
    """
    wished = asked_by or session.labelling.strategy(pool)

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        strategy = wished
        if wished == "disagreement" and asked_by:
            session.opinions.refuse_one_opinion(pool)
        elif wished == "disagreement" and not session.labelling.can_ask_by_disagreement(pool):
            strategy = "default"
            session.message.emit(
                "info", "Two methods scored no seed that is left; the usual mixture is asked."
            )
        _write_embedding(session, folder, pool)
        n_labels = write_labels(session, folder, pool)
        origin = session.origin.write(project, folder, pool)
        anomaly = session.anomalies.get(pool)
        if anomaly is not None:
            files.save_arrays(folder / "anomaly.npz", seed=anomaly.seeds, score=anomaly.score)
        apart = session.opinions.disagreement(pool)
        if apart is not None:
            files.save_arrays(folder / "ranks.npz", seed=apart.seeds, rank=apart.ranks)
        if n:
            where, places = session.labelling.places(pool)
            files.save_arrays(folder / "places.npz", seed=where, place=places)
        spreads = pool in session.labelling.spreads
        skip = [s for s, label in session.labels.items() if label.state not in ASKABLE]
        if ahead:  # what is asked already is not asked again
            skip += [asked.seed for asked in session.queue]
        files.save_arrays(folder / "skip.npz", seed=np.asarray(skip, np.int64))
        return {
            "class_ids": [c.id for c in session.scheme.active],
            "class_names": [c.name for c in session.scheme.active],
            "n": n,
            "strategy": strategy,
            "model_id": f"head-{_data_hash(folder)}{origin}{'s' * spreads}",
            "pool": pool,
            "nearest_first": True,
            "semi_supervised": spreads,
            "round": n_labels + session.labelling.n_drawn,
            "method_names": [METHOD_NAMES[m] for m in (() if apart is None else apart.methods)],
        }

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        model_id = str(request.params["model_id"])
        _adopt_head(session, project, folder, request, result)
        session.origin.told(project, pool, result.values)
        drawn = _read_suggestions(folder)
        session.labelling.offer(drawn, pool, ahead)
        return {"model": model_id, "suggestions": drawn, **result.values}

    kind = "round" if n else "refit"
    return Step(kind, "napari_seedlab.learn.round:run", prepare, adopt, latest_only=not n, about=pool)


def _data_hash(folder: Path) -> str:
    """Ten digits that name what a head is fitted to: equal data, equal name."""
    digest = hashlib.sha256()
    for name in ("embedding.npz", "labels.npz"):
        for key, column in sorted(files.load_arrays(folder / name).items()):
            digest.update(key.encode() + np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:10]


def _adopt_head(
    session: Session, project: Project, folder: Path, request: JobRequest, result: JobResult
) -> None:
    pool, model_id = request.params["pool"], str(request.params["model_id"])
    if not session.desk.is_newest(f"head {pool}", request):
        return
    n_classes = sum(n > 0 for n in result.values.get("n_per_class", ()))
    if n_classes < 2 and not result.values.get("from_origin"):  # one class alone predicts nothing
        if pool in session.heads:
            forget_head(session, project, pool)
            session.predictions_changed.emit()
        return
    out = files.load_arrays(folder / "probabilities.npz")
    class_ids = tuple(int(c) for c in request.params["class_ids"])
    predictions = Predictions(out["seed"], out["p"], class_ids, model_id)
    session.heads[pool] = predictions
    session.head_report[pool] = dict(result.values)
    project.put_arrays(
        f"head-{pool}",
        seed=predictions.seeds,
        p=predictions.p,
        model=np.asarray(model_id),
        class_ids=np.asarray(class_ids, np.int32),
    )
    if request.params["n"] > 0:  # a model that suggested something is kept, so that it can be traced
        card = ModelCard(
            model_id, "head", project.now(), class_ids, str(result.values.get("data_hash", "")),
            config={"pool": pool}, metrics=plain_metrics(result.values),
        )  # fmt: skip
        project.register_model(card, {"head.safetensors": folder / "head.safetensors"})
        session.reload_models(project)
    session.predictions_changed.emit()


def forget_head(session: Session, project: Project, pool: str) -> None:
    """Let go of the predictions of the live model, in memory and in the project."""
    session.heads = {k: v for k, v in session.heads.items() if k != pool}
    session.head_report = {k: v for k, v in session.head_report.items() if k != pool}
    none = np.zeros(0, np.int64)
    project.put_arrays(f"head-{pool}", seed=none, p=np.zeros((0, 0)), model=np.asarray(""), class_ids=none)


def plain_metrics(values: Any) -> dict[str, Any]:
    """The plain values of a result, for a model card."""
    return {k: v for k, v in dict(values).items() if isinstance(v, int | float | str | bool)}


def _read_suggestions(folder: Path) -> list[Suggestion]:
    path = folder / "suggestions.json"
    return [Suggestion(**entry) for entry in files.read_json(path)] if path.exists() else []


def net_step(session: Session, pool: str, settings: dict[str, Any]) -> Step:
    """Train a network on the crops of the labelled seeds."""

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        scans = scan_params(session, project, folder, pool)
        _write_embedding(session, folder, pool)
        write_labels(session, folder, pool)
        write_groups(session, folder, pool)
        session.origin.write_net(project, folder, pool)
        session.origin.write(project, folder, pool)  # the live model that it is compared with starts there
        return {
            "scans": scans,
            "class_ids": [c.id for c in session.scheme.active],
            "class_names": [c.name for c in session.scheme.active],
            "semi_supervised": pool in session.labelling.spreads,
            "settings": settings,
            "pool": pool,
            "kind": settings.get("kind", "seed"),
        }

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        pool = request.params["pool"]
        class_ids = tuple(int(c) for c in request.params["class_ids"])
        model_id = f"net-{project.next_model_number('net')}"
        metrics = plain_metrics(result.values)
        card = ModelCard(
            model_id, "net", project.now(), class_ids, str(result.values.get("data_hash", "")),
            config={"pool": pool, **request.params["settings"]}, metrics=metrics,
            versions=dict(result.values.get("versions", {})),
        )  # fmt: skip
        project.register_model(card, {"net.safetensors": folder / "net.safetensors"})
        out = files.load_arrays(folder / "probabilities.npz")
        project.put_arrays(f"probabilities-{model_id}", seed=out["seed"], p=out["p"])
        session.net_checks.take_losses(project, folder, pool)
        if metrics.get("activate"):
            project.activate(model_id)
        session.reload_models(project)
        verdict = (
            "used from now on" if metrics.get("activate") else "not used: not clearly ahead of the live model"
        )
        number = model_id.rpartition("-")[2]
        session.message.emit("success", f"Network {number} is trained; it is {verdict}.")
        return {"model": model_id, **result.values}

    return Step("net", "napari_seedlab.learn.net:run", prepare, adopt, lane="background", resumable=True)


def predict_step(session: Session, pool: str, model_id: str) -> Step:
    """Predictions of a trained network for all seeds, those that came after its training included."""

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        shutil.copyfile(project.model_path(model_id, "net.safetensors"), folder / "net.safetensors")
        return {"scans": scan_params(session, project, folder, pool), "weights": "net.safetensors"}

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        out = files.load_arrays(folder / "probabilities.npz")
        project.put_arrays(f"probabilities-{model_id}", seed=out["seed"], p=out["p"])
        session.reload_models(project)
        return {"model": model_id, "n_seeds": len(out["seed"])}

    return Step("predict", "napari_seedlab.learn.predict:run", prepare, adopt, lane="background")


def slice_step(session: Session, scan: int, axis: int, index: int) -> Step:
    """Predict the tissue classes of one slice from the strokes on it."""
    about = f"{scan}/{axis}/{index}"

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        points, classes = session.strokes.on_slice(project, scan, axis, index)
        if len(points) == 0:
            raise NotReady("the slice", "has no strokes", "Paint embryo, cavity or background on it")
        files.save_arrays(folder / "strokes.npz", points=points, **{"class": classes})
        return {
            "image": project.scan_source(scan).to_json(),
            "scan": scan,
            "axis": axis,
            "index": index,
            "class_ids": [0, *session.tissues.ids],
        }

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        if not session.desk.is_newest(f"slice {about}", request):
            return {"scan": scan, "axis": axis, "index": index}
        out = files.load_arrays(folder / "slice.npz")
        session.strokes.predicted = (scan, axis, index, out["classes"])
        session.slice_predicted.emit(scan, axis, index, out["classes"])
        return {"scan": scan, "axis": axis, "index": index, **result.values}

    return Step("slice", "napari_seedlab.learn.strokes:run", prepare, adopt, latest_only=True, about=about)
