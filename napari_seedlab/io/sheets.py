"""A folder of pictures with one seed each as one scan: a sheet of tiles, one region on each."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.core import InputError, JobRequest, JobResult, Modality, Progress, RegionTable, ScanFacts
from napari_seedlab.files import (
    ArraySource,
    create_zarr,
    load_arrays,
    publish_tree,
    read_json,
    save_arrays,
    tree_hash,
)
from napari_seedlab.imaging import tiles
from napari_seedlab.io import image_folder
from napari_seedlab.io.facts import facts_to_json
from napari_seedlab.io.gate import shown_name

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_seedlab.io.image_folder import Found

    Array = np.ndarray[Any, Any]

CHUNK = 512  # columns of a chunk, about; whole tiles
PARTIAL = ".part"
KNOWN = "known-sheet.npz"


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job ``napari_seedlab.io.sheets:run``: params path, name, first_region, truth_from_folders.

    Optional input ``known-sheet.npz``: ``picture`` on each tile of a sheet that the folder is already.
    Writes ``scan.zarr`` (c, y, x), ``regions.zarr`` (1, y, x) int32, ``regions-new.npz`` and ``sheet.npz``
    (the picture on each tile, rows and columns of a tile, tiles in a row); with the truth from
    folders ``reference.npz`` (class name of each tile), with reference masks ``reference-mask.zarr``
    (1, y, x) uint8.
    """
    params = JobRequest.from_json(read_json(folder / "request.json")).params
    yield Progress(0, 0, "looking for pictures")
    found = image_folder.list_pictures(Path(params["path"]))
    tiles.longest_edge(len(found.paths))  # too many are refused before any is looked at
    class_of = image_folder.classes_of(found) if params.get("truth_from_folders") else None
    yield from image_folder.describe_pictures(found)
    notes = image_folder.notes_of(found)
    known = load_arrays(folder / KNOWN)["picture"].tolist() if (folder / KNOWN).exists() else ()
    usable = [path for path in found.paths if path in found.facts]
    paths = image_folder.in_order(usable, class_of is not None, known)
    if class_of is not None:
        names = [class_of[path] for path in paths]
        save_arrays(folder / "reference.npz", class_name=np.asarray(names, np.str_))
        if n := names.count(""):
            notes.append(f"{n:,} of {len(paths):,} pictures lie in no folder that names their class")
    writer = SheetWriter(folder, found, paths)
    table = yield from writer.write(int(params["first_region"]))
    save_arrays(folder / "regions-new.npz", **table.columns())
    sheet = writer.sheet
    save_arrays(
        folder / "sheet.npz",
        picture=np.asarray(paths, np.str_),
        tile=np.asarray(sheet.tile),
        columns=np.asarray(sheet.columns),
    )
    facts = writer.facts(str(params.get("name") or ""), (*notes, *writer.notes))
    values = {"facts": facts_to_json(facts), "source": writer.source(facts).to_json()}
    names = [p.name for p in sorted(folder.iterdir()) if p.suffix in (".zarr", ".npz") and p.name != KNOWN]
    return JobResult({**values, "n_skipped": len(found.skipped)}, tuple(names))


class SheetWriter:
    """Lays pictures out on a sheet, one row of tiles in memory at a time.

    Parameters
    ----------
    folder : Path
        Of the job; what is not finished is removed again.
    found : Found
        With the facts of all `paths`.
    paths : sequence of str
        In the order of the tiles.

    Attributes
    ----------
    sheet : Sheet
    notes : list of str
        What was done to pictures that were too large or showed no clear object.
    """

    def __init__(self, folder: Path, found: Found, paths: Sequence[str]) -> None:
        self._folder, self._found, self._paths = folder, found, paths
        known = [found.facts[path] for path in paths]
        self.sheet, self._factors = tiles.plan_sheet([(f.shape[1], f.shape[2]) for f in known])
        self._n_bands = max(f.shape[0] for f in known)
        self._dtype = np.dtype("uint16" if any(f.dtype == "uint16" for f in known) else "uint8")
        self._n_whole = 0
        self._several: list[str] = []  # pictures of more than one object
        self._is_masked = any(path in found.masks for path in paths)
        self.notes = _said_of_factors(self._factors)
        n_grey = sum(f.shape[0] == 1 for f in known)
        if self._n_bands > 1 and n_grey:
            self.notes.append(f"{n_grey:,} grey pictures lie among the colours of the others")

    def facts(self, name: str, notes: tuple[str, ...]) -> ScanFacts:
        """Facts of the sheet."""
        height, width = self.sheet.shape
        known = [self._found.facts[path] for path in self._paths]
        return ScanFacts(
            name or shown_name(self._found.folder), Modality.IMAGE, (self._n_bands, height, width),
            ("band" if self._n_bands > 1 else "z", "y", "x"), self._dtype.name, None, None,
            str(self._found.folder), sum(f.source_size for f in known), max(f.source_mtime_ns for f in known),
            notes,
        )  # fmt: skip

    def source(self, facts: ScanFacts) -> ArraySource:
        """Where the finished sheet lies."""
        path = self._folder / "scan.zarr"
        digest = tree_hash(path)
        return ArraySource(str(path), "zarr", facts.shape, facts.axes, self._dtype.str, sha256=digest)

    def write(self, first_region: int) -> Generator[Progress, None, RegionTable]:
        """Write the arrays; the table of regions, one for each picture, in their order."""
        targets = {"scan": (self._n_bands, self._dtype), "regions": (1, np.dtype(np.int32))}
        if self._is_masked:
            targets["reference-mask"] = (1, np.dtype(np.uint8))
        partial = {name: self._folder / f"{name}.zarr{PARTIAL}" for name in targets}
        height, width = self.sheet.shape
        rows, columns = self.sheet.tile
        chunk = (1, rows, columns * max(1, CHUNK // columns))
        placed: list[tuple[list[int], list[float], int]] = []
        try:
            arrays = {
                name: create_zarr(partial[name], (n, height, width), chunk, dtype)
                for name, (n, dtype) in targets.items()
            }
            for index in range(self.sheet.n):
                top, left = self.sheet.corner(index)
                if left == 0:
                    strips = {name: np.zeros((n, rows, width), dtype) for name, (n, dtype) in targets.items()}
                cut = {name: strip[:, :, left : left + columns] for name, strip in strips.items()}
                placed.append(self._fill(cut, index, first_region + index))
                if index % self.sheet.columns == self.sheet.columns - 1 or index == self.sheet.n - 1:
                    for name, strip in strips.items():
                        arrays[name][:, top : top + rows] = strip
                yield Progress(self.sheet.n + index + 1, 2 * self.sheet.n, "laying out the pictures")
            for name, path in partial.items():
                publish_tree(path, self._folder / f"{name}.zarr")
        finally:
            for path in partial.values():
                shutil.rmtree(path, ignore_errors=True)
        if self._n_whole:
            n = f"{self._n_whole:,} of {self.sheet.n:,} pictures"
            self.notes.append(f"{n} show no clear object: the whole picture is taken for the seed")
        if self._several:
            self.notes.append(_said_of_several(self._several, self.sheet.n))
        return self._table(placed, first_region)

    def _fill(self, cut: dict[str, Array], index: int, region: int) -> tuple[list[int], list[float], int]:
        """Draw one picture into its tile of each array; box, centroid and size of its region on the sheet."""
        path, factor = self._paths[index], self._factors[index]
        full = image_folder.read_picture(self._found, path)
        picture = self._alike(tiles.averaged(full, factor))
        inside, n_objects = tiles.find_object(picture)
        self._n_whole += n_objects == 0
        self._several += [path.rpartition("/")[2]] * (n_objects > 1)
        rows, columns = self.sheet.tile
        y, x = (rows - picture.shape[1]) // 2, (columns - picture.shape[2]) // 2
        place = (slice(y, y + picture.shape[1]), slice(x, x + picture.shape[2]))
        cut["scan"][:] = tiles.background(picture)[:, None, None]
        cut["scan"][:, place[0], place[1]] = picture
        cut["regions"][0, place[0], place[1]][inside] = region
        if path in self._found.masks:
            cut["reference-mask"][0, place[0], place[1]] = self._mask(path, factor, full.shape[1:])
        top, left = self.sheet.corner(index)
        at = np.argwhere(inside) + np.asarray((top + y, left + x))
        low, high = at.min(axis=0), at.max(axis=0) + 1
        return [0, *low.tolist(), 1, *high.tolist()], [0.0, *at.mean(axis=0).tolist()], len(at)

    def _alike(self, picture: Array) -> Array:
        """A picture with as many bands and as deep a type as the sheet."""
        if picture.dtype != self._dtype:
            picture = picture.astype(self._dtype) * np.uint16(257)
        return picture if len(picture) == self._n_bands else np.repeat(picture[:1], self._n_bands, axis=0)

    def _mask(self, path: str, factor: int, shape: tuple[int, ...]) -> Array:
        """Reference mask of a picture as it lies on the sheet; nothing where it cannot be used."""
        try:
            marked = image_folder.read_mask(self._found, self._found.masks[path], (shape[0], shape[1]))
        except InputError as error:
            self.notes.append(f"reference mask left out: {error}")
            marked = np.zeros(shape, np.bool_)
        return np.asarray(tiles.averaged(255 * marked[None].astype(np.uint8), factor)[0] > 0, np.uint8)

    @staticmethod
    def _table(placed: list[tuple[list[int], list[float], int]], first_region: int) -> RegionTable:
        boxes, centroids, sizes = zip(*placed, strict=True)
        n = len(placed)
        return RegionTable(
            scan=0,
            region=np.arange(first_region, first_region + n, dtype=np.int32),
            seed=np.zeros(n, np.int64),
            box=np.asarray(boxes, np.int32),
            centroid=np.asarray(centroids, np.float64),
            n_voxels=np.asarray(sizes, np.int64),
        )


def _said_of_several(names: Sequence[str], n: int) -> str:
    """One line about pictures of more than one object."""
    shown = ", ".join(names[: image_folder.SHOWN])
    more = f" and {len(names) - image_folder.SHOWN:,} more" * (len(names) > image_folder.SHOWN)
    seem, count = ("seems", "counts") if len(names) == 1 else ("seem", "count")
    seen = f"{len(names):,} of {n:,} pictures {seem} to show several seeds and {count} as one"
    return f"{seen}: look at {shown}{more}"


def _said_of_factors(factors: Sequence[int]) -> list[str]:
    """One line for each factor by which pictures were averaged down."""
    counts = Counter(factor for factor in factors if factor > 1)
    return [
        f"{n:,} of {len(factors):,} pictures are averaged down {k} times" for k, n in sorted(counts.items())
    ]
