"""What a job over seed crops is given: scans, region tables, labels, and the crops of all seeds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab import files
from napari_seedlab.core import JobRequest, NotReady, Progress, RegionTable
from napari_seedlab.imaging.crops import Raster, seed_crops
from napari_seedlab.learn.training import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    import numpy.typing as npt

    Float = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]
    Scaling = Callable[[Float, Mask], Float]

MARGIN = 2.0  # cells between a seed and the faces of its cube
N_SAMPLED = 64  # seeds that tell the grey levels of a scan
SLAB_BYTES = 96 * 2**20  # of planes kept while neighbouring seeds are cut
SEEDS_PER_SLAB = 8  # from which reading whole planes pays


@dataclass(frozen=True)
class ScanInput:
    """One scan of a job: its id, kind, voxels, region raster and region table."""

    scan: int
    modality: str
    image: files.LazyArray
    regions: files.LazyArray
    table: RegionTable
    voxel_size_um: tuple[float, float, float]


class Slabs:
    """A volume whose planes around the last read are kept: many small neighbours cost one read.

    Parameters
    ----------
    array : (z, y, x) array or lazy array
    n_reads : int
        How many boxes will be read, in ascending z; few of them are read one by one.
    """

    def __init__(self, array: files.LazyArray, n_reads: int) -> None:
        self._array, self.shape, self.dtype = array, array.shape, array.dtype
        depth = SLAB_BYTES // max(1, array.nbytes // max(1, array.shape[0]))
        n_slabs = array.shape[0] / max(depth, 1)
        self._depth = int(depth) if n_reads >= SEEDS_PER_SLAB * n_slabs else 0
        self._first = self._last = 0
        self._planes: npt.NDArray[Any] | None = None

    def __getitem__(self, key: tuple[slice, slice, slice]) -> npt.NDArray[Any]:
        z = key[0]
        if 2 * (z.stop - z.start) > self._depth:
            return self._array[key]
        if self._planes is None or z.start < self._first or z.stop > self._last:
            self._planes = None  # not two slabs at once
            self._first = max(0, z.start - self._depth // 4)
            self._last = min(self.shape[0], self._first + self._depth)
            self._planes = self._array[self._first : self._last]
        return self._planes[(slice(z.start - self._first, z.stop - self._first), *key[1:])]


def upwards(table: RegionTable) -> npt.NDArray[np.int64]:
    """Rows of a table in the order in which their cubes begin along z."""
    low, high = table.box[:, :3], table.box[:, 3:]
    begin = (low[:, 0] + high[:, 0]) / 2 - (high - low).max(1, initial=0) / 2
    return np.argsort(begin, kind="stable")


@dataclass(frozen=True)
class SeedCrops:
    """Crops of seeds, one row per region that shows a seed.

    Attributes
    ----------
    seeds : (n,) int64
    scans : (n,) int64
        Scan id of each row.
    boxes : (n, 6) int32
    regions : (n,) int32
    crops : (n, size, size, size) float16
        Grey values after the scaling that was asked for.
    masks : (n, size, size, size) bool
    """

    seeds: npt.NDArray[np.int64]
    scans: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.int32]
    regions: npt.NDArray[np.int32]
    crops: npt.NDArray[np.float16]
    masks: Mask

    def __len__(self) -> int:
        return len(self.seeds)


def read_request(folder: Path) -> JobRequest:
    """The request of a job folder."""
    return JobRequest.from_json(files.read_json(Path(folder) / "request.json"))


def read_scans(folder: Path, params: Mapping[str, Any], modalities: tuple[str, ...] = ()) -> list[ScanInput]:
    """Open the scans of a request; with `modalities`, only scans of these kinds.

    Raises
    ------
    NotReady
        No scan of these kinds has a seed.
    """
    entries = params.get("scans") or [{**params, "table": "regions.npz"}]
    scans = [
        _open_scan(Path(folder), e)
        for e in entries
        if not modalities or e.get("modality", "ct") in modalities
    ]
    kept = [s for s in scans if (s.table.seed > 0).any()]
    if not kept:
        raise NotReady("seeds", "no scan of this kind has any", "Split a scan into seeds first")
    return kept


def _open_scan(folder: Path, entry: Mapping[str, Any]) -> ScanInput:
    table = RegionTable.from_columns(files.load_arrays(folder / entry.get("table", "regions.npz")))
    size = entry.get("voxel_size_um") or (1.0, 1.0, 1.0)
    return ScanInput(
        scan=int(entry.get("scan", table.scan)),
        modality=str(entry.get("modality", "ct")),
        image=files.open_array(files.ArraySource.from_json(entry["image"])),
        regions=files.open_array(files.ArraySource.from_json(entry["regions"])),
        table=table,
        voxel_size_um=(float(size[0]), float(size[1]), float(size[2])),
    )


def read_labels(folder: Path) -> dict[int, int]:
    """Class id of each labelled seed, the last answer counting; empty without ``labels.npz``."""
    path = Path(folder) / "labels.npz"
    if not path.is_file():
        return {}
    arrays = files.load_arrays(path)
    order = np.argsort(arrays["sequence"], kind="stable") if "sequence" in arrays else slice(None)
    return dict(zip(arrays["seed"][order].tolist(), arrays["class_id"][order].tolist(), strict=True))


def data_hash(folder: Path) -> str:
    """The sha256 over the labels and region tables of a job folder: what a model was trained on."""
    digest = hashlib.sha256()
    for path in sorted((*Path(folder).glob("regions*.npz"), *Path(folder).glob("labels.npz"))):
        digest.update(f"{path.name} {files.file_hash(path)} ".encode())
    return digest.hexdigest()


def rows(table: RegionTable, keep: npt.NDArray[Any]) -> RegionTable:
    """The rows `keep` (mask or positions) of a region table."""
    columns = (getattr(table, name)[keep] for name in ("region", "seed", "box", "centroid", "n_voxels"))
    return RegionTable(table.scan, *columns)


def cut_seeds(
    scans: list[ScanInput], size: int, scaling: Callable[[ScanInput], Scaling]
) -> Generator[Progress, None, SeedCrops]:
    """Cut all seeds of the scans onto cubes; rows without a seed are left out.

    `scaling` makes, for a scan, the function (crop, mask) → crop that sets the grey values.
    """
    tables = [rows(s.table, s.table.seed > 0) for s in scans]
    n = sum(len(t) for t in tables)
    crops = np.zeros((n, size, size, size), np.float16)
    masks = np.zeros((n, size, size, size), np.bool_)
    pace, first = Pace(), 0
    for scan, table in zip(scans, tables, strict=True):
        order, scale = upwards(table), scaling(scan)
        for i, crop, mask in _cut_upwards(scan, table, order, size):
            crops[first + i], masks[first + i] = np.clip(scale(crop, mask), -6e4, 6e4), mask
            if pace.is_due():
                yield Progress(first + i, n, "Cutting out seeds")
        first += len(table)
    return SeedCrops(
        seeds=np.concatenate([t.seed for t in tables]),
        scans=np.concatenate([np.full(len(t), s.scan, np.int64) for s, t in zip(scans, tables, strict=True)]),
        boxes=np.concatenate([t.box for t in tables]),
        regions=np.concatenate([t.region for t in tables]),
        crops=crops,
        masks=masks,
    )


def _cut_upwards(
    scan: ScanInput, table: RegionTable, order: npt.NDArray[np.int64], size: int
) -> Iterator[tuple[int, Float, Mask]]:
    """Row, crop and mask of the rows of a table in an order."""
    voxel = scan.voxel_size_um
    image: Raster = scan.image
    regions: Raster = scan.regions
    if scan.modality == "hsi":
        voxel = (1.0, *voxel[1:])
    if regions.shape[0] > 1:
        image, regions = Slabs(scan.image, len(order)), Slabs(scan.regions, len(order))
    cuts = seed_crops(image, regions, rows(table, order), size, MARGIN, voxel)
    for i, (crop, mask) in zip(order.tolist(), cuts, strict=True):
        yield i, crop, mask


def scan_scaling(scan: ScanInput) -> Scaling:
    """Grey values in units of the scan: 0 = its air, 1 = the median of its seeds.

    Both levels come from up to 64 seeds spread over the table. Outside the seed the result is 0.
    """
    table = rows(scan.table, scan.table.seed > 0)
    spread = np.unique(np.linspace(0, len(table) - 1, min(N_SAMPLED, len(table))).astype(int))
    airs, levels = [], []
    for crop, mask in seed_crops(
        scan.image, scan.regions, rows(table, spread), 16, MARGIN, scan.voxel_size_um
    ):
        airs.append(float(np.percentile(crop, 2)))
        levels.append(float(np.median(crop[mask])) if mask.any() else float(crop.max()))
    air, level = float(np.median(airs)), float(np.median(levels))
    unit = np.float32(level - air if abs(level - air) > 1e-6 else 1.0)

    def scale(crop: Float, mask: Mask) -> Float:
        return np.where(mask, (crop - np.float32(air)) / unit, np.float32(0)).astype(np.float32)

    return scale
