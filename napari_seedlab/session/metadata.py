"""What tables tell of seeds, such as their lot, treatment or weight. Nothing of it is ever a label."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_seedlab import files
from napari_seedlab.core import NotReady
from napari_seedlab.session.desk import Step
from napari_seedlab.session.sheets import all_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from napari_seedlab.core import JobRequest, JobResult
    from napari_seedlab.session.desk import Task
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

    Fact = str | int | float


class Metadata:
    """Facts of seeds that tables told; the lot is in :class:`Seed`.

    Parameters
    ----------
    session : Session

    Attributes
    ----------
    columns : mapping of str to mapping of int to value
        By name of the column the text or number of each seed that has one; replaced, never edited.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self.columns: Mapping[str, Mapping[int, Fact]] = {}
        self._lots: dict[int, str] = {}
        self._arrays: dict[str, tuple[Mapping[int, Fact], npt.NDArray[np.int64], npt.NDArray[Any]]] = {}

    def load(self, project: Project) -> None:
        """Read the columns again, after the seeds; tell where they, or a lot, changed."""
        columns = project.seed_columns()
        lots = {s.id: s.lot for s in self._session.seeds.values() if s.lot}
        is_new = columns != self.columns or lots != self._lots
        self.columns, self._lots = columns, lots
        for name in columns:  # here, so that no slot of the window has to
            self.values(name)
        if is_new:
            self.changed.emit()

    def values(self, name: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Seeds (n,) that have a value in a column, and their values (n,): float64, or text."""
        column = self.columns.get(name, {})
        known = self._arrays.get(name)
        if known is not None and known[0] is column:
            return known[1:]
        told = list(column.values())
        kinds = set(map(type, told))
        texts = told if kinds == {str} else [text_of(v) for v in told] if str in kinds else None
        values = np.asarray(told, np.float64) if texts is None else np.asarray(texts, str)
        seeds = np.fromiter(column, np.int64, len(column))
        self._arrays[name] = column, seeds, values
        return seeds, values

    def of(self, seed: int) -> dict[str, str]:
        """What is known of a seed, by name of the column, as text."""
        return {name: text_of(cells[seed]) for name, cells in self.columns.items() if seed in cells}

    def add_table(self, path: Path | str, lot: str = "") -> Task:
        """Add what a table tells, in one edit that can be taken back (see ``io/seed_table.py``).

        Parameters
        ----------
        path : path-like
            CSV with one row for each seed.
        lot : str
            Name of the column that is the lot; empty takes one called ``lot``, where there is one.
        """
        self._session.refuse_if_blocked()
        return self._session.desk.start(table_step(self._session, str(Path(path).absolute()), lot))


def text_of(value: Fact) -> str:
    """A value as a person reads it."""
    return value if isinstance(value, str) else f"{value:.10g}"


def table_step(session: Session, path: str, lot: str) -> Step:
    """Read a table about seeds, and keep what it tells of those that are here."""

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        if not session.seeds:
            raise NotReady(
                "a table of seeds", "needs seeds that it tells of", "Open a scan and split it first"
            )
        tables = [t for scan in session.scans if (t := session.regions(scan)) is not None]
        files.save_arrays(
            folder / "places.npz",
            seed=np.fromiter(session.seeds, np.int64),
            now=np.asarray([_now(session, s) for s in session.seeds], np.int64),
            scan=np.concatenate([np.zeros(0, np.int64), *(np.full(len(t), t.scan) for t in tables)]),
            region=np.concatenate([np.zeros(0, np.int64), *(t.region for t in tables)]),
            shows=np.concatenate([np.zeros(0, np.int64), *(t.seed for t in tables)]),
        )
        files.write_json(folder / "files.json", {str(s): f for s, f in all_files(session).items()})
        return {
            "path": path,
            "lot": lot,
            "scans": scan_names(session),
            "rasters": {str(t.scan): project.raster_snapshot(t.scan, folder).to_json() for t in tables},
            "current": session.current_scan or 0,
            "known": list(session.metadata.columns),
        }

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        told, values = files.read_json(folder / "told.json"), dict(result.values)
        project.add_seed_table(
            told["seeds"], dict(told["columns"]), told["lots"], str(values["table"]), session.annotator
        )
        session.seeds = project.seeds()
        session.metadata.load(project)
        _tell(session, values)
        if told["lots"] is not None and session.follow_up:  # lots are held out together from now on
            for pool in session.figures.reports:
                if not session.figures.lacks(pool):
                    session.figures.ask(pool)
        return values

    # not behind a training, and not before an answer: a million rows take ten seconds
    return Step("table", "napari_seedlab.io.seed_table:run", prepare, adopt, lane="export")


def _now(session: Session, seed: int) -> int:
    """The seed itself, or the one that it was merged into."""
    seen = set()
    while (alias := session.seeds[seed].alias_of) and alias in session.seeds and seed not in seen:
        seen.add(seed)
        seed = alias
    return seed


def scan_names(session: Session) -> dict[str, int]:
    """Scan ids by their numbers and by the names of scans in lower case; 0 where several share one."""
    found = {str(number): number for number in session.scans}
    for number, scan in session.scans.items():
        name = scan.facts.name.lower()
        found[name] = number if found.get(name, number) == number else 0
    return found


def _tell(session: Session, values: Mapping[str, Any]) -> None:
    lot = (
        [f"lot (from {values['lot']})" if values["lot"].lower() != "lot" else "lot"] if values["lot"] else []
    )
    listed = ", ".join([*lot, *values["columns"]])
    session.message.emit("success", f"{values['table']} tells of {values['seeds']:,} seeds: {listed[:120]}.")
    if values["left_out"]:
        n, rows = values["left_out"], values["rows"]
        line = f"{values['table']}: {n:,} of {rows:,} rows are left out: {values['why']}."
        session.message.emit("warning", line)
    if n := values["errors"]:
        what = "cell holds an error" if n == 1 else "cells hold an error"
        counts = "counts" if n == 1 else "count"
        line = f"{values['table']}: {n:,} {what} of the spreadsheet, such as #N/A, and {counts} as empty."
        session.message.emit("warning", line)
