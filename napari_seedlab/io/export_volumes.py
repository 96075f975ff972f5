"""Label volumes of an export: classes and instances, as OME-TIFF and OME-Zarr 0.5."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

import numpy as np

from napari_seedlab.core import ClassScheme, LabelState, Modality, Progress, Scan
from napari_seedlab.files import LazyArray, create_zarr, open_array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    from napari_seedlab.io.snapshot import ExportSnapshot

SLAB = 16  # planes; the chunk of the Zarr arrays along z
CHUNK = (SLAB, 256, 256)
BIG = 2**32 - 2**25  # bytes from which a TIFF needs 64-bit offsets


def write_volumes(snapshot: ExportSnapshot, scan: Scan, stem: str, folder: Path) -> Iterator[Progress]:
    """Write ``<stem>_classes`` and ``<stem>_instances`` as ``.ome.tif`` and ``.ome.zarr``, slab by slab.

    Instances carry seed ids, classes carry class ids; 0 = nothing.
    """
    raster = open_array(snapshot.regions_sources[scan.id])
    for kind, table in _lookups(snapshot, scan.id).items():
        name = f"{stem}_{kind}"
        yield from _write_tiff(folder / f"{name}.ome.tif", raster, table, scan)
        yield from _write_zarr(folder / f"{name}.ome.zarr", raster, table, scan, kind)
        if kind == "classes":
            _name_classes(folder / f"{name}.ome.zarr", snapshot.scheme)


def _lookups(snapshot: ExportSnapshot, scan: int) -> dict[str, npt.NDArray[Any]]:
    """Region id → class id, and → seed id, in the smallest unsigned type that holds them."""
    table = snapshot.regions[scan]
    n = int(table.region.max(initial=0)) + 1
    seeds, classes = np.zeros(n, np.int64), np.zeros(n, np.int64)
    seeds[table.region] = table.seed
    for region, seed in zip(table.region.tolist(), table.seed.tolist(), strict=True):
        label = snapshot.labels.get(seed)
        classes[region] = label.class_id if label and label.state is LabelState.LABELLED else 0
    return {"classes": _smallest(classes, np.uint8), "instances": _smallest(seeds, np.uint16)}


def _smallest(values: npt.NDArray[np.int64], least: type[np.unsignedinteger[Any]]) -> npt.NDArray[Any]:
    top = int(values.max(initial=0))
    fits = next(t for t in (least, np.uint16, np.uint32) if top <= np.iinfo(t).max)
    return values.astype(fits)


def _planes(
    raster: LazyArray, table: npt.NDArray[Any], seen: Callable[[int], None]
) -> Iterator[npt.NDArray[Any]]:
    for start in range(0, raster.shape[0], SLAB):
        slab = raster[start : start + SLAB]
        known = (slab > 0) & (slab < len(table))
        yield from table[np.where(known, slab, 0)]
        seen(start)


def _write_tiff(path: Path, raster: LazyArray, table: npt.NDArray[Any], scan: Scan) -> Iterator[Progress]:
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
    with tifffile.TiffWriter(path, bigtiff=raster.size * table.itemsize > BIG) as writer:
        text: bytes | None = ome_xml(path.name, raster.shape, table.dtype, scan).encode()
        for z, plane in enumerate(_planes(raster, table, lambda _: None)):
            writer.write(plane, description=text, contiguous=False, **options)
            text = None
            if z % SLAB == SLAB - 1:
                yield Progress(z + 1, total, f"writing {path.name}")


def ome_xml(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], scan: Scan) -> str:
    """OME-XML of a one-channel volume (z, y, x) with its voxel size in µm."""
    sizes = ""
    if scan.facts.voxel_size_um:
        axes = "YX" if scan.facts.modality is Modality.HSI else "ZYX"
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


def _write_zarr(
    path: Path, raster: LazyArray, table: npt.NDArray[Any], scan: Scan, kind: str
) -> Iterator[Progress]:
    """One level, slab by slab, with metadata of OME-Zarr 0.5."""
    yield Progress(0, raster.shape[0], f"writing {path.name}")
    path.mkdir()
    target = create_zarr(path / "0", raster.shape, CHUNK, table.dtype)
    for start in range(0, raster.shape[0], SLAB):
        slab = raster[start : start + SLAB]
        known = (slab > 0) & (slab < len(table))
        target[start : start + SLAB] = table[np.where(known, slab, 0)]
        yield Progress(start, raster.shape[0], f"writing {path.name}")
    _write_group(path, {"version": "0.5", "multiscales": [multiscales(kind, scan)]})


def multiscales(name: str, scan: Scan) -> dict[str, Any]:
    """The ``multiscales`` entry of OME-Zarr 0.5 for one level (z, y, x) in µm."""
    size = scan.facts.voxel_size_um
    flat = scan.facts.modality is Modality.HSI
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
