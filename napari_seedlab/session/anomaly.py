"""Oddness of seeds: which methods there are, what each job gets, and how its result is taken over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab import files
from napari_seedlab.core import InputError, Modality, ModelCard, RegionTable
from napari_seedlab.session.desk import Step
from napari_seedlab.session.painted import write_painted
from napari_seedlab.session.results import AnomalyScores
from napari_seedlab.session.steps import plain_metrics, scan_params, write_labels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_seedlab.core import JobRequest, JobResult
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

METHODS = {  # by what they are called: the job that each one is
    "fcdd": "napari_seedlab.learn.fcdd:run",
    "vae": "napari_seedlab.learn.vae:run",
    "distance": "napari_seedlab.learn.distance:run",
    "spectra": "napari_seedlab.learn.cubes:run",
    "rx": "napari_seedlab.learn.cubes:run",
    "local_rx": "napari_seedlab.learn.cubes:run",
}
DETECTORS = (
    "spectra",
    "rx",
    "local_rx",
)  # compare spectra and train nothing, so that there is nothing to resume
LEARNT = ("fcdd", "vae", "distance")  # known odd seeds are kept out of what these take for normal
METHODS_OF = {"ct": LEARNT, "image": LEARNT, "hsi": (*DETECTORS, "fcdd")}  # by pool, the default first


def method_for(pool: str, wish: str = "") -> str:
    """The method that is wished for, or the default of a pool.

    Raises
    ------
    InputError
        There is no such method, or it is not for scans of this kind.
    """
    fitting = METHODS_OF[pool]
    if wish and wish not in METHODS:
        raise InputError(f"method {wish!r}", "is not known", f"Use {', '.join(METHODS)}")
    if wish and wish not in fitting:
        raise InputError(f"method {wish!r}", f"is not for {pool} scans", f"Use {', '.join(fitting)}")
    return wish or fitting[0]


def taught_by(method: str, teachers: Sequence[int] | None) -> str | None:
    """Which seeds taught, in words; None where nothing is trained."""
    if method in DETECTORS:
        return None
    return "all but known odd seeds" if teachers is None else "reference normal"


def what_is_asked(
    session: Session, pool: str, normal_class: int, teachers: Sequence[int] | None, looked_at: int | None
) -> dict[str, Any]:
    """What a job is about: an interrupted one is taken up where all of this is the same.

    `looked_at` is the shown scan, if it is of the pool: a cube that is not split is looked at alone.
    """
    split = [s.id for s in session.scans_of(pool) if session.regions(s.id) is not None]
    is_split = pool != Modality.HSI or looked_at is None or looked_at in split
    about: dict[str, Any] = {
        "pool": pool,
        "normal_class": normal_class or session.scheme.ids[0],
        "scan_ids": split if is_split else [looked_at],
        "is_split": is_split,
    }
    return about if teachers is None else {**about, "teachers": list(teachers)}


def anomaly_step(
    session: Session,
    pool: str,
    settings: dict[str, Any],
    method: str = "",
    normal_class: int = 0,
    teachers: Sequence[int] | None = None,
) -> Step:
    """Learn what is normal without labels and score every seed; `method` is one of :data:`METHODS`.

    With `teachers` nothing is learnt from any other seed.
    """
    method = method_for(pool, method)
    if teachers is not None and pool == Modality.HSI:
        raise InputError(f"method {method!r}", "cannot be taught by chosen seeds", "Use a ct or image scan")
    looked_at = next((s.id for s in session.scans_of(pool) if s.id == session.current_scan), None)

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        asked = what_is_asked(session, pool, normal_class, teachers, looked_at)
        params: dict[str, Any] = {"settings": settings, "detector": method, **asked}
        if not params["is_split"]:
            return {**params, "scans": [_whole_scan(params["scan_ids"][0], project, folder)]}
        scans = scan_params(session, project, folder, pool)
        write_labels(session, folder, pool)
        params["painted"] = write_painted(session, project, folder, pool)
        params["labels_up_to"] = max((int(f.get("sequence", 0)) for f in session.facts.values()), default=0)
        return {**params, "scans": scans, "trained_on": taught_by(method, teachers)}

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        pool = request.params["pool"]
        model_id = f"{method}-{project.next_model_number(method)}"
        card = ModelCard(
            model_id, method, project.now(), (), str(result.values.get("data_hash", "")),
            config=_config(request), metrics=plain_metrics(result.values),
            versions=dict(result.values.get("versions", {})),
        )  # fmt: skip
        weights = [name for name in result.files if name.endswith(".safetensors")]
        project.register_model(card, {name: folder / name for name in weights})
        found = _take_over(project, folder, request, result, model_id)
        session.opinions.take(project, pool, found)
        session.reload_models(project)
        session.anomaly_changed.emit()
        if len(found.seeds):
            session.labelling.anomalies_found(pool)
        for note in result.values.get("notes", ()):
            session.message.emit("info", note)
        scores = dict(zip(found.seeds.tolist(), found.score.tolist(), strict=True))
        trained_on = request.params.get("trained_on")
        return {"method": method, "model": model_id, "trained_on": trained_on, "scores": scores}

    return Step(method, METHODS[method], prepare, adopt, lane="background", resumable=True)


def _config(request: JobRequest) -> dict[str, Any]:
    """What the scores were learnt with, for the model card."""
    asked = ("pool", "normal_class", "labels_up_to", "painted", "trained_on")
    known = {key: request.params[key] for key in asked if key in request.params}
    return {**known, **request.params["settings"]}


def _whole_scan(scan: int, project: Project, folder: Path) -> dict[str, Any]:
    """A cube with no seed on it: each of its pixels is looked at."""
    none = dict.fromkeys(("region", "seed", "box", "centroid", "n_voxels"), np.zeros(0))
    table = RegionTable.from_columns({"scan": np.asarray([scan]), **none})
    files.save_arrays(folder / f"regions-{scan}.npz", **table.columns())
    image = project.scan_source(scan).to_json()
    return {"scan": scan, "image": image, "regions": None, "modality": "hsi", "table": f"regions-{scan}.npz"}


def _take_over(
    project: Project, folder: Path, request: JobRequest, result: JobResult, model_id: str
) -> AnomalyScores:
    """Keep heatmaps and pixel scores of a job in the project; its scores."""
    heat = {}
    for entry in request.params["scans"]:
        scan = int(entry["scan"])
        tree, pixels = folder / f"heat-{scan}.zarr", folder / f"pixels-{scan}.npz"
        if tree.exists():
            heat[scan] = project.put_tree(f"heat-{scan}-{request.params['detector']}", tree)
        if pixels.exists():
            project.put_arrays(f"pixels-{scan}", **files.load_arrays(pixels))
    out = files.load_arrays(folder / "scores.npz")
    low, high = (float(v) for v in result.values["scale"])
    return AnomalyScores(out["seed"], out["score"], (low, high), model_id, heat)
