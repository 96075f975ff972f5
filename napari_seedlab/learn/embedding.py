"""From scans to one vector per seed and encoder: each seed is read once, slab by slab, and given to all."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import InputError, JobRequest, JobResult, Progress, RegionTable
from napari_seedlab.imaging.features import (
    VERSION,
    GreyLevels,
    describe_picture,
    describe_seed,
    describe_spectrum,
)
from napari_seedlab.learn.encoders import SeedImage, make_encoder

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_seedlab.learn.encoders import Encoder

SLAB_BYTES = 256 * 2**20  # of image and regions read at once
SLAB_PLANES = 32
SLAB_WASTE = 4.0  # a slab is read when it holds at most this many times what its boxes would cost
LEVEL_VOXELS = 16_000_000  # that the grey levels of a scan are taken from
MAX_LEVEL_PLANES = 24
BATCH = 16  # seeds that an encoder is given at once
DESCRIBE = {"hsi": describe_spectrum, "image": describe_picture}  # by modality; describe_seed for the others

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class ScanView:
    """One scan as the embedding sees it.

    Attributes
    ----------
    modality : str
        ``ct``, ``image`` or ``hsi``.
    image : array-like
        (z, y, x), or (band, y, x) for ``hsi`` and colour pictures; sliced lazily.
    regions : array-like
        (z, y, x), or (1, y, x) where the image has bands; values = region ids.
    table : RegionTable
    scale_um : tuple of float
    wavelengths_nm : tuple of float
        Of the bands of a cube; empty where unknown.
    """

    modality: str
    image: Any
    regions: Any
    table: RegionTable
    scale_um: tuple[float, float, float]
    wavelengths_nm: tuple[float, ...] = ()

    @property
    def has_bands(self) -> bool:
        """Whether the first axis of the image is bands, all of which belong to the one plane of regions."""
        return self.modality == "hsi" or self.image.shape[0] != self.regions.shape[0]


def box_slices(box: npt.NDArray[np.integer], shape: tuple[int, ...], margin: int = 0) -> Box:
    """Slices of a half-open box z0, y0, x0, z1, y1, x1, widened by `margin` within `shape`."""
    low = [max(0, int(b) - margin) for b in box[:3]]
    high = [min(n, int(b) + margin) for b, n in zip(box[3:], shape, strict=True)]
    return (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))


def seed_boxes(scan: ScanView, rows: npt.NDArray[np.integer]) -> Iterator[tuple[int, Any, Any]]:
    """Yield (row, image box, region box) of table rows, in an order that reads the scan once.

    Rows whose boxes start in the same ``SLAB_PLANES`` planes are cut from one slab in memory, unless
    the slab is larger than ``SLAB_BYTES`` or mostly empty: then each box is read by itself.
    """
    shape = scan.regions.shape
    boxes = scan.table.box
    start = boxes[rows, 0] // SLAB_PLANES
    for k in np.unique(start):
        members = rows[start == k]
        z0, z1 = int(boxes[members, 0].min()), int(boxes[members, 3].max())
        planes = slice(None) if scan.has_bands else slice(z0, z1)
        worth = _worth_a_slab(scan, boxes[members], z1 - z0)
        slab = (np.asarray(scan.image[planes]), np.asarray(scan.regions[z0:z1])) if worth else None
        for row in members:
            yield (int(row), *_cut(scan, box_slices(boxes[row], shape), slab, z0))


def _worth_a_slab(scan: ScanView, boxes: npt.NDArray[np.integer], depth: int) -> bool:
    plane = scan.regions.shape[1] * scan.regions.shape[2]
    planes = scan.image.shape[0] if scan.has_bands else depth
    size = plane * (planes * np.dtype(scan.image.dtype).itemsize + depth * 4)
    wanted = _read_one_by_one(scan.regions, boxes)
    return bool(size <= SLAB_BYTES and plane * depth <= SLAB_WASTE * wanted)


def _read_one_by_one(array: Any, boxes: npt.NDArray[np.integer]) -> float:
    """Voxels that are decoded when each box is read by itself: whole chunks where there are any."""
    chunks = getattr(array, "chunks", None) or (1, 1, 1)
    chunk = np.asarray(chunks if chunks[0] > 1 else (1, 1, 1))
    n = -(-boxes[:, 3:] // chunk) - boxes[:, :3] // chunk
    return float(np.prod(n * chunk, axis=1, dtype=np.float64).sum())


def _cut(scan: ScanView, place: Box, slab: tuple[Any, Any] | None, z0: int) -> tuple[Any, Any]:
    z, y, x = place
    spectral = scan.has_bands
    if slab is None:
        return np.asarray(scan.image[slice(None) if spectral else z, y, x]), np.asarray(scan.regions[z, y, x])
    local = slice(z.start - z0, z.stop - z0)
    return slab[0][slice(None) if spectral else local, y, x], slab[1][local, y, x]


def scan_levels(scan: ScanView) -> GreyLevels:
    """Grey of air and of the typical seed, from some planes of the whole scan.

    The table plays no part, so that a few new seeds are measured by the same levels as the others.
    """
    depth, height, width = scan.regions.shape
    n = int(np.clip(LEVEL_VOXELS // max(height * width, 1), 4, MAX_LEVEL_PLANES))
    pairs = []
    for z in np.unique(np.linspace(0, depth - 1, min(n, depth)).astype(int)):
        inside = np.asarray(scan.regions[z : z + 1]) > 0
        if inside.any():
            plane = _level_plane(scan, int(z), n)
            pairs.append((plane[inside], plane[~inside]))
    if not pairs:
        return GreyLevels(0.0, 1.0)
    solid, air = (_numbers(np.concatenate(part)) for part in zip(*pairs, strict=True))
    low = float(np.percentile(air, 20)) if air.size else 0.0
    return GreyLevels(low, float(np.median(solid)) if solid.size else 1.0)


def _numbers(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values


def _level_plane(scan: ScanView, z: int, n: int) -> Any:
    """One plane (1, y, x); of a cube the mean of at most `n` bands."""
    if not scan.has_bands:
        return np.asarray(scan.image[z : z + 1])
    bands = np.unique(np.linspace(0, scan.image.shape[0] - 1, n).astype(int))
    return np.mean([np.asarray(scan.image[b : b + 1], np.float32) for b in bands.tolist()], axis=0)


class Descriptors:
    """Shape, grey values, layers, voids, texture, symmetry or spectrum of a seed, without any learning."""

    name = "descriptors"

    def __init__(self, modality: str) -> None:
        self.key = descriptors_key(modality)

    def encode(self, seeds: Sequence[SeedImage]) -> npt.NDArray[np.float32]:
        """Vectors (n, d) float32 of n seeds; entries as in ``descriptor_names``."""
        rows = [DESCRIBE.get(s.modality, describe_seed)(s.image, s.mask, s.levels, s.scale_um) for s in seeds]
        return np.asarray(rows, np.float32)


def descriptors_key(modality: str) -> str:
    """The key of :class:`Descriptors` for a modality."""
    return f"descriptors {VERSION} {modality}"


@dataclass(frozen=True)
class Item:
    """A seed that was read.

    Attributes
    ----------
    seed : int
    content : int
        63 bits of a hash of its voxels, its mask and what scales them.
    image : SeedImage
    n_bad : int
        Voxels of the seed without a value (NaN or infinite), which now have the seed's median.
    """

    seed: int
    content: int
    image: SeedImage
    n_bad: int


def read_seeds(
    scan: ScanView, levels: GreyLevels, rows: npt.NDArray[np.integer] | None = None
) -> Iterator[Item]:
    """Yield seeds of a scan as encoders see them, in an order that reads the scan once.

    Parameters
    ----------
    scan : ScanView
        Where they lie.
    levels : GreyLevels
        Of the scan.
    rows : (n,) int, optional
        Rows of its table; all where left out.
    """
    salt = f"{scan.modality} {levels} {scan.scale_um} {scan.wavelengths_nm}".encode()
    for row, box, raster in seed_boxes(scan, np.arange(len(scan.table)) if rows is None else rows):
        mask = raster == scan.table.region[row]
        content = _content_key(salt, box, mask)
        image, n_bad = without_gaps(box, mask)
        seed = SeedImage(scan.modality, image, mask, levels, scan.scale_um, scan.wavelengths_nm)
        yield Item(int(scan.table.seed[row]), content, seed, n_bad)


def without_gaps(image: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[Any], int]:
    """A copy whose voxels without a value have the seed's median (in a cube their band's), and their number.

    Parameters
    ----------
    image : (z, y, x) or (band, y, x)
        Box of a seed.
    mask : (z, y, x) or (1, y, x) bool
        Voxels of the seed; those counted lie in it, those replaced lie anywhere in the box.
    """
    image = np.array(image)
    bad = ~np.isfinite(image) if image.dtype.kind == "f" else np.zeros(1, bool)
    if not bad.any():
        return image, 0
    inside = np.broadcast_to(mask, image.shape)
    known = image[inside & ~bad]
    usual = float(np.median(known)) if known.size else 0.0
    parts = range(len(image)) if len(mask) == 1 else [slice(None)]
    for part in parts:
        own = image[part][inside[part] & ~bad[part]]
        image[part][bad[part]] = np.median(own) if own.size else usual
    return image, int((bad & inside).sum())


def _content_key(salt: bytes, image: Any, mask: npt.NDArray[np.bool_]) -> int:
    """63 bits of a hash of a region's voxels, its mask and the settings."""
    digest = hashlib.blake2b(salt + str((image.shape, image.dtype.str)).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(image).view(np.uint8).data)
    digest.update(np.packbits(mask).data)
    return int.from_bytes(digest.digest(), "little") >> 1


@dataclass
class _Block:
    """What one encoder is asked for, and what it gave.

    `wanted` are the seeds it is to encode; `row_of` gives the row of what is known by content; `same` is that
    row for a seed whose voxels were encoded before.
    """

    name: str
    version: str
    encoder: Encoder | None
    wanted: set[int]
    row_of: dict[int, int]
    content: dict[int, int] = field(default_factory=dict)
    vector: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)
    same: dict[int, int] = field(default_factory=dict)

    def take(self, items: Sequence[Item]) -> None:
        """Encode those that are wanted."""
        mine = [item for item in items if item.seed in self.wanted]
        self.content.update((item.seed, item.content) for item in mine)
        self.same.update((i.seed, self.row_of[i.content]) for i in mine if i.content in self.row_of)
        new = [item for item in mine if item.content not in self.row_of]
        if not new or self.encoder is None:
            return
        found = np.asarray(self.encoder.encode([item.image for item in new]), np.float32)
        self.vector.update(zip((i.seed for i in new), np.nan_to_num(found), strict=True))

    def columns(self, keys: Mapping[int, int]) -> dict[str, npt.NDArray[Any]]:
        """One row per seed; the vector is zero where it is the one of row `same` of what was known."""
        seeds = sorted(self.content)
        width = len(next(iter(self.vector.values()))) if self.vector else 0
        empty = np.zeros(width, np.float32)
        return {
            "seed": np.asarray(seeds, np.int64),
            "vector": np.asarray([self.vector.get(s, empty) for s in seeds], np.float32).reshape(
                len(seeds), width
            ),
            "key": np.asarray([keys.get(s, 0) for s in seeds], np.int64),
            "content": np.asarray([self.content[s] for s in seeds], np.int64),
            "same": np.asarray([self.same.get(s, -1) for s in seeds], np.int64),
        }


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: vectors of the seeds of some scans of one modality by one or several encoders.

    Parameters in the request: ``scans`` (see the job protocol; all ``ct``, all ``image`` or all
    ``hsi``, since vectors of different modalities have different entries: a project with several
    has one embedding per modality); ``encoders``, a list of mappings with ``name``, ``version`` (key of the
    encoder that the known vectors are of) and what :func:`~napari_seedlab.learn.encoders.make_encoder`
    wants, `descriptors` by default; optionally ``levels``, a mapping of scan id to [air, solid] that
    keeps the grey levels of an earlier run.

    ``keys.npz`` (seed, key) says how each region looks by its table, ``known-NAME.npz`` (seed, key, content)
    for which the encoder was asked before: a seed with the same key is left out without being read, one with
    the same voxels without being encoded; nothing is where the encoder itself is another one.

    Writes for each encoder ``vectors-NAME.npz``: seed (n,) int64, vector (n, d) float32, key and content (n,)
    int64, same (n,) int64 (row of the known vector that is the seed's, or -1); a seed that several scans show
    has the row of the first. Values: levels, modality, n_bad_voxels, n_bad_seeds, and by encoder ``version``,
    ``is_fresh`` (whether known vectors are void), ``n_new``, ``n_same``, ``length``.
    """
    from napari_seedlab.files import read_json, save_arrays

    request = JobRequest.from_json(read_json(folder / "request.json"))
    modality = _modality(request.params)
    yield Progress(0, 0, "opening the scans")
    scans = [(item, _open_scan(folder, item)) for item in request.params["scans"]]
    keys = _keys(folder, [view for _, view in scans])
    specs = request.params.get("encoders") or [{"name": "descriptors"}]
    blocks = [_block(folder, spec, modality, keys) for spec in specs]
    wanted = set().union(*(block.wanted for block in blocks))
    levels_of: dict[str, list[float]] = {}
    reading = _read_scans(scans, wanted, request.params.get("levels", {}), levels_of)
    done = 0
    bad: dict[int, int] = {}
    yield Progress(0, len(wanted), "reading seeds")
    while batch := list(itertools.islice(reading, BATCH)):
        for block in blocks:
            block.take(batch)
        bad.update((item.seed, item.n_bad) for item in batch if item.n_bad)
        done += len(batch)
        yield Progress(done, len(wanted), "describing seeds")
    told: dict[str, Any] = {}
    for block in blocks:
        columns = block.columns(keys)
        save_arrays(folder / f"vectors-{block.name}.npz", **columns)
        told[block.name] = _facts(block, columns)
    values = {"levels": levels_of, "modality": modality, "encoders": told, "n_seeds": len(keys)}
    values |= {"n_bad_voxels": sum(bad.values()), "n_bad_seeds": len(bad)}
    return JobResult(values, tuple(f"vectors-{block.name}.npz" for block in blocks))


def _facts(block: _Block, columns: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    return {
        "version": block.encoder.key if block.encoder is not None else block.version,
        "is_fresh": block.encoder is not None and block.encoder.key != block.version,
        "n_new": len(block.vector),
        "n_same": len(block.same),
        "length": int(columns["vector"].shape[1]),
    }


def _keys(folder: Path, scans: Sequence[ScanView]) -> dict[int, int]:
    """The region key of each seed, 0 where the folder says nothing."""
    from napari_seedlab.files import load_arrays

    keys = {int(seed): 0 for view in scans for seed in view.table.seed}
    if (folder / "keys.npz").exists():
        table = load_arrays(folder / "keys.npz")
        keys.update(zip(table["seed"].tolist(), table["key"].tolist(), strict=True))
    return keys


def _block(folder: Path, spec: Mapping[str, Any], modality: str, keys: Mapping[int, int]) -> _Block:
    """What is left to do for one encoder.

    One that cannot be made, such as a folder that is away, hurts nobody while there is nothing to encode.
    """
    from napari_seedlab.files import load_arrays

    name, version = str(spec["name"]), str(spec.get("version", ""))
    path = folder / f"known-{name}.npz"
    known = load_arrays(path) if version and path.exists() else {}
    have = set(zip(known["seed"].tolist(), known["key"].tolist(), strict=True)) if known else set()
    wanted = {seed for seed, key in keys.items() if (seed, key) not in have}
    try:
        encoder = make_encoder(spec, modality)
    except InputError:
        if wanted or not known:
            raise
        return _Block(name, version, None, set(), {})
    if encoder.key != version:
        return _Block(name, version, encoder, set(keys), {})
    row_of = {content: row for row, content in enumerate(known["content"].tolist()) if content}
    return _Block(name, version, encoder, wanted, row_of)


def _read_scans(
    scans: Sequence[tuple[Mapping[str, Any], ScanView]],
    wanted: set[int],
    given: Mapping[str, Any],
    levels_of: dict[str, list[float]],
) -> Iterator[Item]:
    """Wanted seeds of all scans, each of the first that shows it; notes the grey levels of those scans."""
    seen: set[int] = set()
    for item, view in scans:
        here = [int(seed) for seed in view.table.seed]
        rows = [row for row, seed in enumerate(here) if seed in wanted and seed not in seen]
        seen.update(here)
        if rows:
            scan = str(item["scan"])
            levels = GreyLevels(*map(float, given[scan])) if scan in given else scan_levels(view)
            levels_of[scan] = [levels.air, levels.solid]
            yield from read_seeds(view, levels, np.asarray(rows))


def _modality(params: Mapping[str, Any]) -> str:
    kinds = sorted({str(item["modality"]) for item in params.get("scans", ())})
    if len(kinds) != 1:
        found = " and ".join(kinds) or "no scans"
        raise InputError("embedding", f"asked for {found} at once", "Give scans of one modality")
    return kinds[0]


def _open_scan(folder: Path, item: Mapping[str, Any]) -> ScanView:
    from napari_seedlab.files import ArraySource, load_arrays, open_array

    table = RegionTable.from_columns(load_arrays(folder / str(item.get("table", "regions.npz"))))
    z, y, x = (float(s) for s in item.get("voxel_size_um") or (1.0, 1.0, 1.0))
    return ScanView(
        str(item["modality"]),
        open_array(ArraySource.from_json(item["image"])),
        open_array(ArraySource.from_json(item["regions"])),
        table,
        (z, y, x),
        tuple(float(w) for w in item.get("wavelengths_nm") or ()),
    )
