"""The ``seedlab`` command: every step without a window."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_seedlab.cli.frame import look_at, opened, run, say
from napari_seedlab.cli.report import report
from napari_seedlab.cli.simulate import simulate
from napari_seedlab.core import InputError

app = typer.Typer(
    name="seedlab",
    help="Label, train and look inside thousands of scanned seeds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ProjectArg = Annotated[Path, typer.Argument(metavar="P", help="Project folder.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object as the last line.")]
Scheduler = Annotated[str, typer.Option(help="Address of a running dask scheduler.")]
RandomState = Annotated[int, typer.Option(help="Same number, same answer.")]
ScanOption = Annotated[int | None, typer.Option("--scan", help="Scan id; the current scan by default.")]
PoolOption = Annotated[
    int | None,
    typer.Option("--scan", help="A scan of the kind that is meant; the current scan by default."),
]


@app.command()
def demo(
    autoplay: Annotated[bool, typer.Option(help="Play the whole story, then exit.")] = False,
    screenshots: Annotated[Path | None, typer.Option(help="Folder for pictures.")] = None,
    random_state: RandomState = 0,
    n_answers: Annotated[int, typer.Option(help="Answers that the autoplay gives.")] = 60,
    size: Annotated[str, typer.Option(help="Window size, WIDTHxHEIGHT.")] = "1366x768",
    as_json: Json = False,
) -> None:
    """Open napari with the docks and a demo project."""

    def work() -> dict[str, Any]:
        from napari_seedlab.ui.demo import play, show

        if not autoplay:
            return show()
        width, height = _pixels(size)
        return play(screenshots, random_state, n_answers, (width, height))

    run(work, as_json)


def _pixels(size: str) -> tuple[int, int]:
    parts = size.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() for p in parts):
        raise InputError(f"--size {size}", "is not WIDTHxHEIGHT", "Write for example 1366x768")
    return int(parts[0]), int(parts[1])


@app.command()
def sample(
    to: Annotated[Path, typer.Option(help="Folder to write.")],
    kind: Annotated[str, typer.Option(help="ct, tube or hsi.")] = "ct",
    n_seeds: Annotated[int, typer.Option(help="Number of seeds.")] = 120,
    random_state: RandomState = 0,
    as_json: Json = False,
) -> None:
    """Write a synthetic tray with its truth."""

    def work() -> dict[str, Any]:
        from napari_seedlab.io.samples import write_sample

        scan = write_sample(kind, n_seeds, random_state, to)
        return {"scan": str(scan), "files": sorted(p.name for p in scan.parent.iterdir())}

    run(work, as_json)


@app.command()
def new(
    project: ProjectArg,
    source: Annotated[Path | None, typer.Option("--from", help="An export to rebuild from.")] = None,
    classes: Annotated[Path | None, typer.Option(help="JSON file with the class scheme.")] = None,
    start_from: Annotated[
        Path | None,
        typer.Option(help="An earlier project, for its classes, split, encoders and model; may exist."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a project folder; with --start-from P may be there already."""

    def work() -> dict[str, Any]:
        from napari_seedlab.cli import start

        return start.new(project, source, classes, start_from)

    run(work, as_json)


@app.command(name="import")
def import_(
    project: ProjectArg,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="TIFF, OME-TIFF, ENVI, MATLAB cube, .npy, PNG, JPEG, BMP; or a folder."
        ),
    ],
    modality: Annotated[str | None, typer.Option(help="ct, hsi or image.")] = None,
    name: Annotated[str | None, typer.Option(help="Shown name.")] = None,
    one_seed_per_file: Annotated[
        bool, typer.Option("--one-seed-per-file", help="FILE is a folder of pictures with one seed each.")
    ] = False,
    truth_from_folders: Annotated[
        bool,
        typer.Option(
            "--truth-from-folders", help="Its folders name the class; judges scores, labels nothing."
        ),
    ] = False,
    scheduler: Scheduler = "",
    as_json: Json = False,
) -> None:
    """Add a file, or a folder of single-seed pictures, as a scan."""

    def work() -> dict[str, Any]:
        if modality not in (None, "ct", "hsi", "image"):
            raise InputError(f"--modality {modality}", "is not known", "Use ct, hsi or image")
        if truth_from_folders and not one_seed_per_file:
            raise InputError("--truth-from-folders", "is for folders of pictures", "Add --one-seed-per-file")
        if one_seed_per_file and modality not in (None, "image"):
            cause = "is not what a folder of pictures is"
            raise InputError(f"--modality {modality}", cause, "Use --modality image")
        with opened(project, scheduler) as session:
            if one_seed_per_file:
                return session.import_folder(file, name, truth_from_folders).wait()
            return session.import_scan(file, modality, name).wait()

    run(work, as_json)


@app.command()
def split(
    project: ProjectArg,
    scan: ScanOption = None,
    threshold: Annotated[
        float | None, typer.Option(help="Grey value; found by itself when left out.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="JSON file with settings of another split.")] = None,
    scheduler: Scheduler = "",
    as_json: Json = False,
) -> None:
    """Split touching seeds."""

    def work() -> dict[str, Any]:
        from napari_seedlab.session import making

        settings = making.read_recipe(recipe) if recipe else {}
        if threshold is not None and not math.isfinite(threshold):
            raise InputError(f"--threshold {threshold}", "is no grey value", "Give a number")
        if threshold is not None:
            settings["threshold"] = threshold
        with opened(project, scheduler) as session:
            return session.split(scan, settings).wait()

    run(work, as_json)


@app.command()
def embed(
    project: ProjectArg,
    encoder: Annotated[
        str,
        typer.Option(
            help="To use from now on, separated by commas: descriptors, bundled, own (taught first), "
            "spectral, vgg16, hf. Those in use when left out."
        ),
    ] = "",
    weights: Annotated[
        Path | None, typer.Option(help="Folder of a vision backbone for hf; .pth or .safetensors for vgg16.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare the usable encoders on the labels so far.")
    ] = False,
    scan: PoolOption = None,
    random_state: RandomState = 0,
    scheduler: Scheduler = "",
    as_json: Json = False,
) -> None:
    """Compute the vectors of all seeds."""

    def work() -> dict[str, Any]:
        from napari_seedlab.cli import encode, start

        with opened(project, scheduler, random_state) as session:
            look_at(session, scan)
            return encode.encode(session, encoder, weights, compare) | start.predicted(session)

    run(work, as_json)


@app.command(name="map")
def map_(
    project: ProjectArg,
    method: Annotated[str, typer.Option(help="umap, tsne, pca, or place: only new seeds.")] = "umap",
    n_clusters: Annotated[int | None, typer.Option(min=1, help="Found by itself when left out.")] = None,
    scan: PoolOption = None,
    random_state: RandomState = 0,
    scheduler: Scheduler = "",
    as_json: Json = False,
) -> None:
    """Lay the seeds out in two dimensions and cluster them."""

    def work() -> dict[str, Any]:
        if method not in ("umap", "tsne", "pca", "place"):
            raise InputError(f"--method {method}", "is not known", "Use umap, tsne, pca or place")
        with opened(project, scheduler, random_state) as session:
            look_at(session, scan)
            session.embed().wait()
            return session.make_map(method, n_clusters).wait()

    run(work, as_json)


@app.command()
def suggest(
    project: ProjectArg,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 10,
    strategy: Annotated[
        str | None, typer.Option(help="default, random, margin_kmeans, k_center, anomaly, typiclust, …")
    ] = None,
    scan: PoolOption = None,
    random_state: RandomState = 0,
    scheduler: Scheduler = "",
    as_json: Json = False,
) -> None:
    """Say which seeds to label next, and why."""

    def work() -> dict[str, Any]:
        from napari_seedlab.learn.queries import today

        if strategy is not None:
            today(strategy)  # refused before the work
        with opened(project, scheduler, random_state) as session:
            look_at(session, scan)
            if strategy == "disagreement":
                session.opinions.refuse_one_opinion(session.pool)
            session.embed().wait()
            drawn = session.draw(n, strategy).wait()["suggestions"]
            if not drawn:
                again = "No label is contradicted by the other answers; there is nothing to ask again."
                say(again if strategy == "label_errors" else "No seed is left to ask about.")
            rows: list[dict[str, Any]] = [
                {"seed": s.seed, "score": s.score, "reason": s.reason} for s in drawn
            ]
            for row, s in zip(rows, drawn, strict=True):
                if s.strategy == "typiclust" and not as_json:
                    row["score"] = None  # a density: it says nothing to a person
            return {"suggestions": rows}

    run(work, as_json)


@app.command()
def label(
    project: ProjectArg,
    source: Annotated[
        Path, typer.Option("--from", help="CSV with columns seed,class; z,y,x count more than seed.")
    ],
    as_json: Json = False,
) -> None:
    """Take labels over from a table; refused whole when a seed or class is unknown."""

    def work() -> dict[str, Any]:
        from napari_seedlab.session import making

        with opened(project) as session:
            return making.label_from_table(session, source)

    run(work, as_json)


@app.command()
def metadata(
    project: ProjectArg,
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="CSV with a row per seed; column seed, file, or place.")
    ],
    lot: Annotated[str, typer.Option(help="Column that is the lot; the one called lot by default.")] = "",
    as_json: Json = False,
) -> None:
    """Add what a table tells of seeds: lot, treatment, weight, …; never a label."""

    def work() -> dict[str, Any]:
        with opened(project) as session:
            return session.metadata.add_table(table, lot).wait()

    run(work, as_json)


@app.command()
def train(
    project: ProjectArg,
    model: Annotated[str, typer.Option(help="head (seconds) or net (minutes).")] = "head",
    kind: Annotated[
        str, typer.Option(help="Of the net: seed, or screening, the baseline CNN of Dürr & Sick 2016.")
    ] = "",
    scan: PoolOption = None,
    random_state: RandomState = 0,
    scheduler: Scheduler = "",
    as_json: Json = False,
) -> None:
    """Train on the labels."""

    def work() -> dict[str, Any]:
        if model not in ("head", "net"):
            raise InputError(f"--model {model}", "is not known", "Use head or net")
        if kind not in ("", "seed", "screening"):
            raise InputError(f"--kind {kind}", "is not known", "Use seed or screening")
        if kind and model != "net":
            raise InputError(f"--kind {kind}", "is for the net", "Add --model net")
        with opened(project, scheduler, random_state) as session:
            look_at(session, scan)
            session.embed().wait()
            values = session.train(model, {"kind": kind} if kind else {}).wait()
            return {k: v for k, v in values.items() if k != "suggestions"}

    run(work, as_json)


@app.command()
def anomaly(
    project: ProjectArg,
    method: Annotated[
        str,
        typer.Option(help="fcdd, vae or distance; spectra, rx or local_rx for cubes. The first by default."),
    ] = "",
    normal_class: Annotated[
        str, typer.Option(help="Name of a class, or of a folder of the truth; the first class by default.")
    ] = "",
    train_on_normal: Annotated[
        bool,
        typer.Option(
            "--train-on-normal", help="Half of the true normal seeds teach, the rest judge; to evaluate only."
        ),
    ] = False,
    truth: Annotated[Path | None, typer.Option(help="CSV with seed,class that judges the scores.")] = None,
    truth_mask: Annotated[Path | None, typer.Option(help="Label file or .mat of the defects.")] = None,
    scan: PoolOption = None,
    random_state: RandomState = 0,
    scheduler: Scheduler = "",
    as_json: Json = False,
) -> None:
    """Score every seed by oddness, without labels; heatmaps go into the project."""

    def work() -> dict[str, Any]:
        from napari_seedlab.cli import truth as judge
        from napari_seedlab.cli.reference import reference_of

        with opened(project, scheduler, random_state) as session:
            look_at(session, scan)
            known = reference_of(session, truth, normal_class)  # refused before the work
            teachers = known.half_of_normal(random_state) if train_on_normal else None
            defects = judge.defects_of(session, truth_mask)
            begun = time.perf_counter()
            values = session.find_odd(method=method, normal_class=known.normal_id, teachers=teachers).wait()
            told: dict[str, Any] = {key: values[key] for key in ("method", "model", "trained_on")}
            told |= dict.fromkeys(("auc", "auc_interval", "average_precision", "voxel_auc_inside"))
            told["seconds"] = round(time.perf_counter() - begun, 2)
            scores = values["scores"]
            if judges := known.judges(teachers):
                told |= judge.judged(scores, judges, known.normal, random_state)
                told |= {"normal_class": known.normal, "n_judged": len(judges.keys() & scores)}
            if defects is not None and session.pool == "hsi":
                told |= judge.pixel_figures(session, defects, random_state)
            elif defects is not None:
                told["voxel_auc_inside"] = judge.voxel_auc(session, defects)
            told |= judge.on_labels(session, values["method"], known.normal_id, random_state)
            return {**told, "scores": dict(sorted(scores.items(), key=lambda entry: -entry[1]))}

    run(work, as_json)


@app.command()
def predict(
    project: ProjectArg,
    to: Annotated[Path, typer.Option(help="CSV to write.")],
    scan: PoolOption = None,
    scheduler: Scheduler = "",
    as_json: Json = False,
) -> None:
    """Write class probabilities of all seeds, or of those of one kind of scan."""

    def work() -> dict[str, Any]:
        from napari_seedlab.session import making

        making.refuse_no_file(to)  # before the work
        with opened(project, scheduler) as session:
            look_at(session, scan)
            pool = None if scan is None else session.pool
            making.predict_pools(session, pool)
            return making.write_predictions(session, to, pool) | session.origin.told_in_json(session.pool)

    run(work, as_json)


@app.command()
def export(
    project: ProjectArg,
    to: Annotated[Path, typer.Option(help="Folder to write.")],
    as_json: Json = False,
) -> None:
    """Write tables, label volumes and a manifest."""

    def work() -> dict[str, Any]:
        with opened(project) as session:
            return session.export(to).wait()

    run(work, as_json)


@app.command()
def check(project: ProjectArg, as_json: Json = False) -> None:
    """Verify every hash and the journal of a project."""

    def work() -> dict[str, Any]:
        from napari_seedlab.session import making

        return making.check_project(project)

    run(work, as_json)


@app.command()
def doctor(
    project: Annotated[Path | None, typer.Option(help="Project folder to look at as well.")] = None,
    as_json: Json = False,
) -> None:
    """Look at GPU, OpenGL, Qt, disk and memory."""

    def work() -> dict[str, Any]:
        from napari_seedlab.cli.doctor import examine

        findings = examine(project)
        return {
            "findings": [{"name": f.name, "ok": f.ok, "line": f.line, "remedy": f.remedy} for f in findings]
        }

    run(work, as_json)


app.command()(simulate)
app.command()(report)


def main() -> None:
    """Entry point of the ``seedlab`` command."""
    app()


if __name__ == "__main__":
    main()
