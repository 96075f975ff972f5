"""From scans to one vector per seed: descriptors of each region, read slab by slab."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
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
    descriptor_names,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

SLAB_BYTES = 256 * 2**20  # of image and regions read at once
SLAB_PLANES = 32
SLAB_WASTE = 4.0  # a slab is read when it holds at most this many times what its boxes would cost
LEVEL_VOXELS = 16_000_000  # that the grey levels of a scan are taken from
MAX_LEVEL_PLANES = 24
STEP = 4  # seeds between two reports
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
    """

    modality: str
    image: Any
    regions: Any
    table: RegionTable
    scale_um: tuple[float, float, float]

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
    solid, air = (np.concatenate(part) for part in zip(*pairs, strict=True))
    low = float(np.percentile(air, 20)) if air.size else 0.0
    return GreyLevels(low, float(np.median(solid)))


def _level_plane(scan: ScanView, z: int, n: int) -> Any:
    """One plane (1, y, x); of a cube the mean of at most `n` bands."""
    if not scan.has_bands:
        return np.asarray(scan.image[z : z + 1])
    bands = np.unique(np.linspace(0, scan.image.shape[0] - 1, n).astype(int))
    return np.mean([np.asarray(scan.image[b : b + 1], np.float32) for b in bands.tolist()], axis=0)


def embed_scan(
    scan: ScanView, levels: GreyLevels, known: Mapping[int, npt.NDArray[np.float32]] | None = None
) -> Iterator[tuple[int, int, npt.NDArray[np.float32]]]:
    """Yield (seed id, content key, vector) of every region of a scan.

    Parameters
    ----------
    scan : ScanView
        What to embed.
    levels : GreyLevels
        Of the scan.
    known : mapping of content key to vector, optional
        Vectors computed before: a region whose voxels did not change is not computed again.
    """
    describe = DESCRIBE.get(scan.modality, describe_seed)
    salt = f"{VERSION} {scan.modality} {levels} {scan.scale_um}".encode()
    for row, image, raster in seed_boxes(scan, np.arange(len(scan.table))):
        mask = raster == scan.table.region[row]
        key = _content_key(salt, image, mask)
        vector = known.get(key) if known else None
        if vector is None:
            vector = describe(image, mask, levels, scan.scale_um)
        yield int(scan.table.seed[row]), key, vector


def _content_key(salt: bytes, image: Any, mask: npt.NDArray[np.bool_]) -> int:
    """63 bits of a hash of a region's voxels, its mask and the settings."""
    digest = hashlib.blake2b(salt + str((image.shape, image.dtype.str)).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(image).view(np.uint8).data)
    digest.update(np.packbits(mask).data)
    return int.from_bytes(digest.digest(), "little") >> 1


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job: descriptors of all seeds of some scans of one modality.

    Parameters in the request: ``scans`` (see the job protocol; all ``ct``, all ``image`` or all
    ``hsi``, since vectors of different modalities have different entries: a project with several
    has one embedding per modality), ``encoder`` = ``descriptors``; optionally ``levels``, a mapping
    of scan id to [air, solid] that keeps the grey levels of an earlier run. ``previous.npz``, an
    earlier ``embedding.npz``, saves the seeds whose voxels did not change.

    Writes ``embedding.npz``: seed (n,) int64, vector (n, d) float32, key (n,) int64; a seed that
    several scans show has the row of the first. Values: names, levels, n_seeds, n_reused.
    """
    from napari_seedlab.files import load_arrays, read_json, save_arrays

    request = JobRequest.from_json(read_json(folder / "request.json"))
    modality, encoder = _modality(request.params), str(request.params.get("encoder", "descriptors"))
    if encoder != "descriptors":
        raise InputError(f"encoder {encoder!r}", "is unknown", "Use descriptors")
    yield Progress(0, 0, "opening the scans")
    scans = [(item, _open_scan(folder, item)) for item in request.params["scans"]]
    total = sum(len(view.table) for _, view in scans)
    before = load_arrays(folder / "previous.npz") if (folder / "previous.npz").exists() else {}
    names = descriptor_names(modality)
    known = _reusable(before, len(names))
    rows: dict[int, tuple[int, npt.NDArray[np.float32]]] = {}
    levels_of: dict[str, list[float]] = {}
    done = 0
    for item, view in scans:
        given = request.params.get("levels", {}).get(str(item["scan"]))
        yield Progress(done, total, "reading grey levels")
        levels = GreyLevels(*map(float, given)) if given else scan_levels(view)
        levels_of[str(item["scan"])] = [levels.air, levels.solid]
        for seed, key, vector in embed_scan(view, levels, known):
            rows.setdefault(seed, (key, vector))
            done += 1
            if done % STEP == 0:
                yield Progress(done, total, "describing seeds")
    seeds = np.asarray(sorted(rows), np.int64)
    keys = np.asarray([rows[int(s)][0] for s in seeds], np.int64)
    vectors = np.asarray([rows[int(s)][1] for s in seeds], np.float32).reshape(len(seeds), len(names))
    save_arrays(folder / "embedding.npz", seed=seeds, vector=vectors, key=keys)
    reused = sum(int(k) in known for k in keys)
    values = {"names": list(names), "levels": levels_of, "n_seeds": len(seeds), "n_reused": reused}
    return JobResult({**values, "modality": modality, "version": VERSION}, ("embedding.npz",))


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
    )


def _reusable(before: Mapping[str, Any], width: int) -> dict[int, npt.NDArray[np.float32]]:
    if "key" not in before or before["vector"].ndim != 2 or before["vector"].shape[1] != width:
        return {}
    return dict(zip(before["key"].tolist(), before["vector"], strict=True))
