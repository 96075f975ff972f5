"""Jobs about encoders: taught by the own pool, read from a folder or file, fetched, compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_seedlab import files
from napari_seedlab.core import ModelCard, NotReady
from napari_seedlab.session import steps
from napari_seedlab.session.desk import Step
from napari_seedlab.session.figures import write_groups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_seedlab.core import JobRequest, JobResult
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

KINDS = ("own", "vgg16", "hf")  # of models that are encoders; they predict nothing
FOLDER_PLACE = "backbone"  # where the project remembers which folder `hf` is
TABLE_PLACE = "encoder-table"  # what the last comparison of each pool said


def _register(
    session: Session, project: Project, kind: str, config: Mapping[str, Any], values: Mapping[str, Any],
    weights: Mapping[str, Path],
) -> str:  # fmt: skip
    """Keep the weights of an encoder as a model; its id."""
    model_id = f"{kind}-{project.next_model_number(kind)}"
    card = ModelCard(
        model_id, kind, project.now(), (), "", config=dict(config), metrics=steps.plain_metrics(values)
    )
    project.register_model(card, dict(weights))
    session.reload_models(project)
    return model_id


def own_step(session: Session, pool: str, settings: dict[str, Any]) -> Step:
    """Teach the bundled encoder further by the seeds of a pool."""

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        return {
            "scans": steps.scan_params(session, project, folder, pool),
            "settings": settings,
            "pool": pool,
        }

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        pool = str(request.params["pool"])
        weights = {"encoder.safetensors": folder / "encoder.safetensors"}
        model_id = _register(session, project, "own", {"pool": pool}, result.values, weights)
        session.encoders_changed.emit(pool)
        session.message.emit("success", f"Encoder {model_id} was taught by the {pool} seeds.")
        return {"model": model_id, **steps.plain_metrics(result.values)}

    function = "napari_seedlab.learn.own_encoder:run"
    return Step("own", function, prepare, adopt, lane="background", resumable=True)


def folder_step(session: Session, path: Path) -> Step:
    """Look whether a folder holds a backbone, and use it as ``hf`` from then on."""

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        return {"path": str(path)}

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        session.encoders.keep_backbone(project, {"path": str(path), "name": path.name})
        return dict(result.values)

    return Step("backbone", "napari_seedlab.learn.hf:run_look", prepare, adopt, lane="background")


def fetch_step(session: Session, model: str) -> Step:
    """Fetch a backbone from the hub into the project, by the explicit wish of the user."""

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        return {"model": model}

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        weights = {name: folder / "backbone" / name for name in result.values["names"]}
        model_id = _register(session, project, "hf", {"model": model}, result.values, weights)
        session.encoders.keep_backbone(project, {"model": model_id, "name": model})
        return {"model": model, "length": result.values["length"]}

    return Step("fetch", "napari_seedlab.learn.hf:run_fetch", prepare, adopt, lane="background")


def weights_step(session: Session, path: Path, config: Mapping[str, Any] | None = None) -> Step:
    """Take the weights of a VGG16 into the project."""

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        return {"path": str(path), "config": None if config is None else dict(config)}

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        weights = {"vgg16.safetensors": folder / "vgg16.safetensors"}
        facts = {"file": path.name, "sizes": request.params["config"]}
        model_id = _register(session, project, "vgg16", facts, result.values, weights)
        for pool in {str(scan.facts.modality) for scan in session.scans.values()}:
            session.encoders_changed.emit(pool)
        return {"model": model_id, "length": result.values["length"]}

    return Step("vgg16", "napari_seedlab.learn.vgg16:run_convert", prepare, adopt, lane="background")


def compare_step(session: Session, pool: str, names: Sequence[str]) -> Step:
    """Compare encoders that have vectors on the labels so far."""

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        for name in names:
            known = session.encoders.known(project, pool, name)
            if known is None or not len(known.seeds):
                raise NotReady(f"encoder {name}", "has no vectors yet", "Use it once")
            files.save_arrays(folder / f"vectors-{name}.npz", **known.columns())
        steps.write_labels(session, folder, pool)
        write_groups(session, folder, pool)
        return {"encoders": list(names), "in_use": list(session.encoders.chosen(pool)), "pool": pool}

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        session.encoders.keep_table(project, pool, dict(result.values))
        return dict(result.values)

    return Step("compare", "napari_seedlab.learn.compare:run", prepare, adopt, lane="background")
