"""What a job over seed crops is given: scans, region tables, labels, and the crops of all seeds.

A scan is flat when its region raster is one plane; its image then is (channel, y, x): a grey plane,
colours or the bands of a cube.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab import files
from napari_seedlab.core import InputError, JobRequest, NotReady, Progress, RegionTable
from napari_seedlab.imaging.crops import Raster, SeedCut, seed_crops, seed_planes, with_gaps
from napari_seedlab.learn.training import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    import numpy.typing as npt

    Float = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]
    Members = npt.NDArray[np.int64]
    Scaling = Callable[[Float, Mask], Float]
    View = Callable[[Float], Float]

MARGIN = 2.0  # cells between a seed and the faces of its grid
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

    @property
    def is_flat(self) -> bool:
        """Whether its seeds are planes."""
        return self.regions.shape[0] == 1

    @property
    def n_channels(self) -> int:
        """Channels of a plane; a volume has one."""
        return int(self.image.shape[0]) if self.is_flat else 1


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
    crops : (n, size, size, size), or (n, channel, size, size) or (n, channel, size, size, size) float16
        Values after the scaling that was asked for.
    masks : (n, size, size, size) or (n, size, size) bool
    n_unknown : int
        Voxels of seeds with NaN or infinite values, which no mask holds.
    gaps : dict of row to (m,) int
        Flat places of the cells of a mask that the region leaves out, for the rows that have any.
    """

    seeds: npt.NDArray[np.int64]
    scans: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.int32]
    regions: npt.NDArray[np.int32]
    crops: npt.NDArray[np.float16]
    masks: Mask
    n_unknown: int = 0
    gaps: Mapping[int, Members] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, in one line."""
        if not self.n_unknown:
            return ()
        return (f"{self.n_unknown:,} voxels of seeds with NaN or infinite values were left out",)


def read_request(folder: Path) -> JobRequest:
    """The request of a job folder."""
    return JobRequest.from_json(files.read_json(Path(folder) / "request.json"))


def read_scans(folder: Path, params: Mapping[str, Any], modalities: tuple[str, ...] = ()) -> list[ScanInput]:
    """Open the scans of a request; with `modalities`, only scans of these kinds.

    Raises
    ------
    NotReady
        No scan of these kinds has a seed.
    InputError
        Regions and image of a scan do not fit, or a seed lies outside.
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
    scan = ScanInput(
        scan=int(entry.get("scan", table.scan)),
        modality=str(entry.get("modality", "ct")),
        image=files.open_array(files.ArraySource.from_json(entry["image"])),
        regions=files.open_array(files.ArraySource.from_json(entry["regions"])),
        table=table,
        voxel_size_um=(float(size[0]), float(size[1]), float(size[2])),
    )
    _check(scan)
    return scan


def _check(scan: ScanInput) -> None:
    """Refuse a scan whose image, regions and boxes are not of one piece."""
    shape, image = tuple(scan.regions.shape), tuple(scan.image.shape)
    if image[1 if scan.is_flat else 0 :] != shape[1 if scan.is_flat else 0 :]:
        cause = f"has {image} voxels, its regions have {shape}"
        raise InputError(f"scan {scan.scan}", cause, "Split the scan again")
    table = rows(scan.table, scan.table.seed > 0)
    low, high = table.box[:, :3], table.box[:, 3:]
    bad = np.flatnonzero(((low < 0) | (high > shape) | (low >= high)).any(1))
    if len(bad):
        cause = f"has the box {tuple(table.box[bad[0]].tolist())} in a scan of {shape} voxels"
        raise InputError(f"seed {int(table.seed[bad[0]])}", cause, "Split the scan again")


def check_alike(scans: Sequence[ScanInput]) -> None:
    """Refuse scans that cannot be learnt from together.

    Raises
    ------
    InputError
        Some are planes and some volumes, or their channels are not equally many.
    """
    flat = {s.is_flat: s.scan for s in scans}
    if len(flat) > 1:
        cause = f"{flat[True]} is a plane and scan {flat[False]} a volume"
        raise InputError("scan", cause, "Put planes and volumes into projects of their own")
    counts = {s.n_channels: s.scan for s in scans}
    if len(counts) > 1:
        (n, one), (m, other), *_ = counts.items()
        cause = f"{one} has {n} channels and scan {other} has {m}"
        raise InputError("scan", cause, "Put scans of other channels into a project of their own")


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
    scans: Sequence[ScanInput], size: int, scaling: Callable[[ScanInput], Scaling]
) -> Generator[Progress, None, SeedCrops]:
    """Cut all seeds of the scans onto cubes of one channel; rows without a seed are left out.

    Planes are repeated along z and their channels averaged. `scaling` makes, for a scan, the function
    (crop, mask) → crop that sets the grey values.
    """

    def cut(scan: ScanInput, table: RegionTable) -> Iterable[SeedCut]:
        voxel = (1.0, *scan.voxel_size_um[1:]) if scan.modality == "hsi" else scan.voxel_size_um
        return seed_crops(*_near(scan, len(table)), table, size, MARGIN, voxel)

    return (yield from _cut_all(scans, (size,) * 3, (size,) * 3, cut, scaling))


def cut_channels(
    scans: Sequence[ScanInput],
    size: int,
    scaling: Callable[[ScanInput], Scaling],
    view: View | None = None,
    n_seen: int = 0,
    has_gaps: bool = False,
) -> Generator[Progress, None, SeedCrops]:
    """Cut all seeds of alike scans onto grids of their own dimension, with all channels.

    Parameters
    ----------
    scans : sequence of ScanInput
        As :func:`check_alike` lets pass.
    size : int
        Cells along each edge.
    scaling : callable
        Makes, for a scan, the function (crop, mask) → crop that sets the values.
    view : callable, optional
        For planes: turns the pixels (channel, y, x) of a box into `n_seen` others.
    n_seen : int
        How many channels `view` makes.
    has_gaps : bool
        For volumes: whether the masks hold the cracks and tunnels that the regions leave out.
    """
    is_flat, n_channels = scans[0].is_flat, n_seen or scans[0].n_channels

    def cut(scan: ScanInput, table: RegionTable) -> Iterable[SeedCut]:
        if is_flat:
            voxel = scan.voxel_size_um
            return seed_planes(scan.image, scan.regions, table, size, MARGIN, voxel, view)
        cubes = seed_crops(*_near(scan, len(table)), table, size, MARGIN, scan.voxel_size_um)
        return (SeedCut(c.crop[None], c.mask, c.n_unknown) for c in cubes)

    grid = (size,) * (2 if is_flat else 3)
    return (yield from _cut_all(scans, (n_channels, *grid), grid, cut, scaling, has_gaps and not is_flat))


def _cut_all(
    scans: Sequence[ScanInput],
    crop_shape: tuple[int, ...],
    mask_shape: tuple[int, ...],
    cut: Callable[[ScanInput, RegionTable], Iterable[SeedCut]],
    scaling: Callable[[ScanInput], Scaling],
    has_gaps: bool = False,
) -> Generator[Progress, None, SeedCrops]:
    tables = [rows(s.table, s.table.seed > 0) for s in scans]
    n = sum(len(t) for t in tables)
    crops, masks = np.zeros((n, *crop_shape), np.float16), np.zeros((n, *mask_shape), np.bool_)
    pace, first, n_unknown = Pace(), 0, 0
    gaps: dict[int, Members] = {}
    for scan, table in zip(scans, tables, strict=True):
        order, scale = upwards(table), scaling(scan)
        for i, one in zip(order.tolist(), cut(scan, rows(table, order)), strict=True):
            mask = with_gaps(one.crop[0], one.mask) if has_gaps else one.mask
            crops[first + i] = np.clip(scale(one.crop, mask), -6e4, 6e4)
            masks[first + i] = mask
            if len(added := np.flatnonzero(mask & ~one.mask)):
                gaps[first + i] = added
            n_unknown += one.n_unknown
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
        n_unknown=n_unknown,
        gaps=gaps,
    )


def _near(scan: ScanInput, n_reads: int) -> tuple[Raster, Raster]:
    """Image and regions of a scan, in slabs where it is a volume."""
    if scan.is_flat:
        return scan.image, scan.regions
    return Slabs(scan.image, n_reads), Slabs(scan.regions, n_reads)


def scan_scaling(scan: ScanInput) -> Scaling:
    """Grey values in units of the scan: 0 = its air, 1 = the median of its seeds.

    Both levels come from up to 64 seeds spread over the table. Outside the seed the result is 0.
    """
    airs, levels = [], []
    for crop, mask, _ in seed_crops(scan.image, scan.regions, _sampled(scan), 16, MARGIN, scan.voxel_size_um):
        airs.append(float(np.percentile(crop, 2)))
        levels.append(float(np.median(crop[mask])) if mask.any() else float(crop.max()))
    air, level = float(np.median(airs)), float(np.median(levels))
    unit = np.float32(level - air if abs(level - air) > 1e-6 else 1.0)

    def scale(crop: Float, mask: Mask) -> Float:
        return np.where(mask, (crop - np.float32(air)) / unit, np.float32(0)).astype(np.float32)

    return scale


def plane_scaling(scan: ScanInput) -> Scaling:
    """Values of each channel in units of the scan: 1 = the median of its seeds, 0 outside them.

    The unit is the median itself, as more light multiplies all channels; where it is not above 0, how far
    it lies from what is around the seeds; at least three standard deviations inside a seed.
    """
    inner, outer, spreads = [], [], []
    for crop, mask, _ in seed_planes(
        scan.image, scan.regions, _sampled(scan), 32, MARGIN, scan.voxel_size_um
    ):
        if mask.any() and not mask.all():
            inner.append(np.median(crop[:, mask], 1))
            outer.append(np.median(crop[:, ~mask], 1))
            spreads.append(crop[:, mask].std(1))
    none = np.zeros((1, scan.n_channels))
    level, around, spread = (np.median(np.asarray(v or none), 0) for v in (inner, outer, spreads))
    unit = np.maximum(np.where(level > 0, level, np.abs(level - around)), 3 * spread)
    unit = np.where(unit > 1e-6, unit, 1.0).astype(np.float32)[:, None, None]
    middle = level.astype(np.float32)[:, None, None]

    def scale(crop: Float, mask: Mask) -> Float:
        return np.where(mask, 1 + (crop - middle) / unit, np.float32(0)).astype(np.float32)

    return scale


def _sampled(scan: ScanInput) -> RegionTable:
    """Up to 64 seeds, spread over the table."""
    table = rows(scan.table, scan.table.seed > 0)
    return rows(table, np.unique(np.linspace(0, len(table) - 1, min(N_SAMPLED, len(table))).astype(int)))
