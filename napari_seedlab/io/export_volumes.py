"""Label volumes of an export: classes and instances, as OME-TIFF and OME-Zarr 0.5."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

import numpy as np

from napari_seedlab.core import ClassScheme, LabelState, Progress, Scan
from napari_seedlab.files import LazyArray, create_zarr, open_array

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from napari_seedlab.io.snapshot import ExportSnapshot

MAX_SPAN = 2**24  # region ids that a lookup table may cover: 64 MiB
SLAB = 16  # planes; the chunk of the Zarr arrays along z
CHUNK = (SLAB, 256, 256)
BIG = 2**32 - 2**25  # bytes from which a TIFF needs 64-bit offsets


def write_volumes(snapshot: ExportSnapshot, scan: Scan, stem: str, folder: Path) -> Iterator[Progress]:
    """Write ``<stem>_classes`` and ``<stem>_instances`` as ``.ome.tif`` and ``.ome.zarr``, slab by slab.

    Instances carry seed ids, classes carry class ids; 0 = nothing.
    """
    raster = open_array(snapshot.regions_sources[scan.id])
    for kind, lookup in _lookups(snapshot, scan.id).items():
        name = f"{stem}_{kind}"
        yield from _write_tiff(folder / f"{name}.ome.tif", raster, lookup, scan)
        yield from _write_zarr(folder / f"{name}.ome.zarr", raster, lookup, scan, kind)
        if kind == "classes":
            _name_classes(folder / f"{name}.ome.zarr", snapshot.scheme)


def _lookups(snapshot: ExportSnapshot, scan: int) -> dict[str, _Lookup]:
    """Region id → class id, and → seed id, in the smallest unsigned type that holds them."""
    table = snapshot.regions[scan]
    labels = [snapshot.labels.get(seed) for seed in table.seed.tolist()]
    classes = [x.class_id if x and x.state is LabelState.LABELLED else 0 for x in labels]
    return {
        "classes": _Lookup(table.region, _smallest(np.asarray(classes, np.int64), np.uint8)),
        "instances": _Lookup(table.region, _smallest(table.seed, np.uint16)),
    }


class _Lookup:
    """A value for each region id, 0 for ids without one.

    Region ids of a project can be far apart, so that a table of all ids up to the largest may not fit
    into memory: ids that lie close together are looked up in a table, others by bisection.

    Parameters
    ----------
    region : (n,) int32
        Region ids, ascending.
    values : (n,) unsigned int
    """

    def __init__(self, region: npt.NDArray[np.int32], values: npt.NDArray[Any]) -> None:
        self.dtype = values.dtype
        self._region, self._values = region, values
        self._first = int(region[0]) if len(region) else 1
        span = int(region[-1]) - self._first + 1 if len(region) else 0
        self._near: npt.NDArray[Any] | None = None
        if span <= MAX_SPAN:
            self._near = np.zeros(span + 1, values.dtype)  # entry 0: no region
            self._near[region - self._first + 1] = values

    def __call__(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
        """The values of a piece of a region raster."""
        if self._near is not None:
            known = (ids >= self._first) & (ids < self._first + len(self._near) - 1)
            return self._near[np.where(known, ids - (self._first - 1), 0)]
        row = np.minimum(np.searchsorted(self._region, ids), len(self._region) - 1)
        values: npt.NDArray[Any] = np.where(self._region[row] == ids, self._values[row], 0)
        return values.astype(self.dtype)


def _smallest(values: npt.NDArray[np.int64], least: type[np.unsignedinteger[Any]]) -> npt.NDArray[Any]:
    top = int(values.max(initial=0))
    fits = next(t for t in (least, np.uint16, np.uint32) if top <= np.iinfo(t).max)
    return values.astype(fits)


def _planes(raster: LazyArray, lookup: _Lookup) -> Iterator[npt.NDArray[Any]]:
    for start in range(0, raster.shape[0], SLAB):
        yield from lookup(raster[start : start + SLAB])


def _write_tiff(path: Path, raster: LazyArray, lookup: _Lookup, scan: Scan) -> Iterator[Progress]:
    """Plane by plane with zlib; our own OME-XML, without the random ids that tifffile would add."""
    import tifffile

    total = raster.shape[0]
    yield Progress(0, total, f"writing {path.name}")
    options = {
        "photometric": "minisblack",
        "compression": "zlib",
        "metadata": None,
        "software": "napari-seedlab",
    }
    with tifffile.TiffWriter(path, bigtiff=raster.size * lookup.dtype.itemsize > BIG) as writer:
        text: bytes | None = ome_xml(path.name, raster.shape, lookup.dtype, scan).encode()
        for z, plane in enumerate(_planes(raster, lookup)):
            writer.write(plane, description=text, contiguous=False, **options)
            text = None
            if z % SLAB == SLAB - 1:
                yield Progress(z + 1, total, f"writing {path.name}")


def ome_xml(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], scan: Scan) -> str:
    """OME-XML of a one-channel volume (z, y, x) with its voxel size in µm."""
    sizes = ""
    if scan.facts.voxel_size_um:
        axes = "YX" if scan.facts.has_bands else "ZYX"
        stated = dict(zip("ZYX", scan.facts.voxel_size_um, strict=True))
        sizes = "".join(f' PhysicalSize{a}="{stated[a]!r}" PhysicalSize{a}Unit="µm"' for a in axes)
    z, y, x = shape
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xsi:schemaLocation="http://www.openmicroscopy.org/Schemas/OME/2016-06 '
        'http://www.openmicroscopy.org/Schemas/OME/2016-06/ome.xsd" Creator="napari-seedlab">'
        f'<Image ID="Image:0" Name={quoteattr(name)}><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
        f'Type="{dtype.name}" SizeX="{x}" SizeY="{y}" SizeZ="{z}" SizeC="1" SizeT="1"{sizes}>'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData IFD="0" PlaneCount="{z}"/>'
        "</Pixels></Image></OME>"
    )


def _write_zarr(path: Path, raster: LazyArray, lookup: _Lookup, scan: Scan, kind: str) -> Iterator[Progress]:
    """One level, slab by slab, with metadata of OME-Zarr 0.5."""
    yield Progress(0, raster.shape[0], f"writing {path.name}")
    path.mkdir()
    target = create_zarr(path / "0", raster.shape, CHUNK, lookup.dtype)
    for start in range(0, raster.shape[0], SLAB):
        target[start : start + SLAB] = lookup(raster[start : start + SLAB])
        yield Progress(start, raster.shape[0], f"writing {path.name}")
    _write_group(path, {"version": "0.5", "multiscales": [multiscales(kind, scan)]})


def multiscales(name: str, scan: Scan) -> dict[str, Any]:
    """The ``multiscales`` entry of OME-Zarr 0.5 for one level (z, y, x) in µm."""
    size = scan.facts.voxel_size_um
    flat = scan.facts.has_bands
    axes: list[dict[str, str]] = [{"name": a, "type": "space"} for a in "zyx"]
    for axis in axes[1:] if flat else axes:
        if size:
            axis["unit"] = "micrometer"
    scale = [1.0 if flat else scan.facts.scale_um[0], *scan.facts.scale_um[1:]]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
    return {"name": name, "axes": axes, "datasets": [level]}


def _name_classes(path: Path, scheme: ClassScheme) -> None:
    """Add the names and colours of the classes, as the ``image-label`` of OME-Zarr 0.5."""
    ome = json.loads((path / "zarr.json").read_bytes())["attributes"]["ome"]
    colors, names = [], []
    for entry in scheme.classes:
        rgb = [int(entry.color[i : i + 2], 16) for i in (1, 3, 5)]
        colors.append({"label-value": entry.id, "rgba": [*rgb, 255]})
        names.append({"label-value": entry.id, "class": entry.name})
    _write_group(path, {**ome, "image-label": {"colors": colors, "properties": names}})


def _write_group(path: Path, ome: dict[str, Any]) -> None:
    value = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
    (path / "zarr.json").write_text(json.dumps(value, indent=1, ensure_ascii=False), "utf-8")
