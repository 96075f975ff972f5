"""``seedlab report``: the honest figures of a project."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_seedlab.cli.frame import look_at, opened, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_seedlab.session import Session


def report(
    project: Annotated[Path, typer.Argument(metavar="P", help="Project folder.")],
    scan: Annotated[
        int | None,
        typer.Option("--scan", help="A scan of the kind that is meant; the current scan by default."),
    ] = None,
    random_state: Annotated[int, typer.Option(help="Same number, same answer.")] = 0,
    scheduler: Annotated[str, typer.Option(help="Address of a running dask scheduler.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line.")] = False,
) -> None:
    """Say how good the live model is, how sure that is, and whether more answers would help."""

    def work() -> dict[str, Any]:
        with opened(project, scheduler, random_state) as session:
            look_at(session, scan)
            session.embed().wait()
            values = {**session.figures.ask().wait(), "p0": session.figures.p0()}
            return values if as_json else _lines(session, values)

    run(work, as_json)


def _lines(session: Session, values: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that a person reads."""
    names = {c.id: c.name for c in session.scheme}
    reject = values["reject"]
    i = min(int(100 * values["p0"]), len(reject["p0"]) - 1)
    return {
        "accuracy": values["accuracy"]["text"],
        "found": {names.get(r["class_id"], "?"): r["text"] for r in values["recall"]},
        "of whom": values["untold"]["text"] or "all seeds",
        "labels": values["n_labels"],
        "drawn by chance": values["n_random"],
        "seconds": round(values["seconds"]),
        "go on": values["stop"]["text"],
        "forecast": values["curve"]["text"] or None,
        "calibration error": f"{values['calibration']['ece']:.3f}",
        "p0": f"{values['p0']:.2f}, keeps {100 * reject['coverage'][i]:.0f} % of the seeds",
        "scans": values["gauge"]["text"] or None,
        "most wrong": [{"seed": w["seed"], "said": names.get(w["said"], "?")} for w in values["most_wrong"]],
    }
