"""Sheets of single-seed pictures: how a folder becomes one, which file shows a seed, and the hidden truth.

The reference truth (class names of folders, masks of defects) judges scores. It is never a label, is not
shown, and no job gets it but one that is asked to train on what is known to be normal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_seedlab import files
from napari_seedlab.core import ProjectError, RegionTable
from napari_seedlab.imaging.tiles import Sheet
from napari_seedlab.session.desk import Step
from napari_seedlab.session.steps import same_scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from napari_seedlab.core import JobRequest, JobResult
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

RECIPE = {"one_seed_per_file": True}


@dataclass(frozen=True)
class SheetFiles:
    """Which picture lies on which tile of a sheet.

    Attributes
    ----------
    sheet : Sheet
    paths : tuple of str
        Within the imported folder, by tile.
    has_reference : bool
        Whether the first folder in them names the reference class.
    """

    sheet: Sheet
    paths: tuple[str, ...]
    has_reference: bool

    def tile_of(self, table: RegionTable, row: int) -> int | None:
        """The tile on which a region lies."""
        _, y, x = table.centroid[row]
        return self.sheet.tile_at(float(y), float(x))


def import_folder_step(session: Session, path: str, name: str | None, truth_from_folders: bool) -> Step:
    """Lay the pictures of a folder out on one sheet, and add it as a scan that is split already."""

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        if project.read_only:
            raise ProjectError(session.name, "is open read-only here", "Close the other window")
        first = project.next_region_id()
        for scan in project.scans():
            known = project.get_arrays(f"sheet-{scan.id}")
            if scan.facts.source_path == path and known is not None:  # of several, the newest
                files.save_arrays(folder / "known-sheet.npz", picture=known["picture"])
        return {"path": path, "name": name, "first_region": first, "truth_from_folders": truth_from_folders}

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        from napari_seedlab.io.facts import facts_from_json

        facts = facts_from_json(result.values["facts"])
        source = files.ArraySource.from_json(result.values["source"])
        scan = same_scan(project, facts, source)
        known = scan is not None and project.regions_source(scan.id) is not None
        if scan is None:
            scan = project.add_scan(facts, source, session.annotator, folder / "scan.zarr")
        _keep_reference(project, folder, scan.id)  # the truth may be asked for now only
        if known:
            session.reload_scans(project)
            session.message.emit("info", f"{facts.name} is scan {scan.id} already; nothing was added.")
            session.show_scan(scan.id)
        else:  # new, or an import that stopped before it had regions
            table = RegionTable.from_columns(files.load_arrays(folder / "regions-new.npz"))
            table = replace(table, scan=scan.id)
            project.add_split(scan.id, RECIPE, table, folder / "regions.zarr", session.annotator)
            session.reload_scans(project)
            session.reload_regions(project, scan.id)
            session.after_split(scan.id)
            for note in facts.notes:
                session.message.emit("info", note)
        n_seeds = len(project.regions(scan.id))
        told = {"scan": scan.id, "shape": list(facts.shape), "axes": list(facts.axes), "n_seeds": n_seeds}
        return {**told, "n_skipped": result.values["n_skipped"]}

    return Step("import", "napari_seedlab.io.sheets:run", prepare, adopt, lane="background")


def _keep_reference(project: Project, folder: Path, scan: int) -> None:
    project.put_arrays(f"sheet-{scan}", **files.load_arrays(folder / "sheet.npz"))
    if (folder / "reference.npz").exists():
        project.put_arrays(f"reference-{scan}", **files.load_arrays(folder / "reference.npz"))
    if (folder / "reference-mask.zarr").exists():
        project.put_tree(f"reference-mask-{scan}", folder / "reference-mask.zarr")


def read_sheets(project: Project, scans: Iterable[int]) -> dict[int, SheetFiles]:
    """The sheets among some scans."""
    found = {}
    for scan in scans:
        a = project.get_arrays(f"sheet-{scan}")
        if a is not None:
            rows, columns = (int(n) for n in a["tile"])
            sheet = Sheet(len(a["picture"]), (rows, columns), int(a["columns"]))
            has_reference = project.get_arrays(f"reference-{scan}") is not None
            found[scan] = SheetFiles(sheet, tuple(a["picture"].tolist()), has_reference)
    return found


def file_of(session: Session, seed: int) -> str:
    """The picture that shows a seed, within its folder; empty where no sheet does.

    A folder that names the hidden reference class is left out.
    """
    place = session.place_of(seed)
    known = None if place is None else session.sheets.get(place[0])
    if place is None or known is None:
        return ""
    path = _path_at(session, known, *place)
    return path.partition("/")[2] or path if known.has_reference else path


def _path_at(session: Session, known: SheetFiles, scan: int, row: int) -> str:
    table = session.regions(scan)
    tile = None if table is None else known.tile_of(table, row)
    return "" if tile is None else known.paths[tile]


def all_files(session: Session) -> dict[int, str]:
    """Whole path within its folder of every seed on a sheet."""
    found: dict[int, str] = {}
    for scan, known in session.sheets.items():
        table = session.regions(scan)
        for row, seed in enumerate([] if table is None else table.seed.tolist()):
            found.setdefault(seed, _path_at(session, known, scan, row))
    return found


def reference_classes(session: Session, pool: str) -> dict[int, str]:
    """Hidden reference class of the seeds of a pool, those that have one; waits for the project."""
    scans = [s.id for s in session.scans_of(pool) if s.id in session.sheets]
    tables = {scan: table for scan in scans if (table := session.regions(scan)) is not None}

    def read(project: Project) -> dict[int, Mapping[str, npt.NDArray[Any]] | None]:
        return {scan: project.get_arrays(f"reference-{scan}") for scan in tables}

    found: dict[int, str] = {}
    for scan, arrays in session.desk.do(read).result().items():
        names = [] if arrays is None else arrays["class_name"].tolist()
        for row, seed in enumerate(tables[scan].seed.tolist() if names else ()):
            tile = session.sheets[scan].tile_of(tables[scan], row)
            if tile is not None and names[tile]:
                found.setdefault(seed, names[tile])
    return found


def reference_mask(session: Session, scan: int) -> npt.NDArray[np.bool_] | None:
    """Reference mask (1, y, x) of the defects on a sheet, None where it has none; waits for the project."""
    source = session.desk.do(lambda project: project.tree_source(f"reference-mask-{scan}")).result()
    return None if source is None else files.open_array(source)[...] > 0
