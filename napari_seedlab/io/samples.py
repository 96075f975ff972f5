"""Sample scans: made procedurally, shipped with the package, offered by napari."""

from __future__ import annotations

import csv
import io
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

from napari_seedlab.core import GRAIN_SCHEME, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from napari_seedlab.imaging.phantom import Cube, Dials, Phantom

    Voxels = npt.NDArray[np.generic]
    LayerData = tuple[Any, dict[str, Any], str]

KINDS = ("ct", "hsi", "tube")
SAMPLES = {"ct_tray": "ct", "hsi_tray": "hsi", "ct_tube": "tube"}  # folder: kind
REFLECTANCE_SCALE = 10000


@dataclass(frozen=True)
class Truth:
    """What is known about a sample, seed by seed.

    Attributes
    ----------
    instances, tissues : (z, y, x) int32 and uint8
        On the grid of the scan's regions: z = 1 for ``hsi``.
    rows : tuple of dict
        The lines of ``truth.csv``.
    """

    instances: Voxels
    tissues: Voxels
    rows: tuple[dict[str, object], ...]


def sample_folder(name: str) -> Path:
    """Folder of a sample scan: in the installed package, else in the checkout.

    Parameters
    ----------
    name : str
        ``ct_tray``, ``hsi_tray`` or ``ct_tube``.

    Raises
    ------
    InputError
        There is no such sample.
    """
    package = Path(__file__).resolve().parent.parent
    for root in (package, package.parent):
        folder = root / "sample_data" / name
        if name in SAMPLES and folder.is_dir():
            return folder
    raise InputError(f"sample '{name}'", "is not there", "Use one of " + ", ".join(SAMPLES))


def sample_scan(name: str) -> Path:
    """The scan file of a sample, see :func:`sample_folder`: its TIFF, or the header of its cube."""
    return sample_folder(name) / ("scan.hdr" if SAMPLES.get(name) == "hsi" else "scan.tif")


def write_sample(kind: str, n_seeds: int, random_state: int, to: Path) -> Path:
    """Make a scan of seeds and write it with its truth.

    Parameters
    ----------
    kind : str
        ``ct`` (a tray), ``hsi`` (the same tray from above) or ``tube``.
    n_seeds : int
        How many.
    random_state : int
        State of everything random.
    to : Path
        New or empty folder.

    Returns
    -------
    Path
        The scan: ``scan.tif`` (OME-TIFF, not compressed), or ``scan.hdr`` with ``scan.raw`` (ENVI, BSQ,
        reflectance times 10000). Beside it lie ``instances.tif``, ``tissues.tif``, ``truth.csv`` and
        ``recipe.json`` with every dial; beside a CT scan also ``defects.tif``.

    Raises
    ------
    InputError
        The kind is unknown, there are no seeds, or the folder is in use.
    ProjectError
        The folder cannot be written.
    """
    from napari_seedlab.files import publish_tree
    from napari_seedlab.files.atomic import write_failed

    to = Path(to)
    if kind not in KINDS:
        raise InputError(f"kind '{kind}'", "is unknown", "Use one of " + ", ".join(KINDS))
    if n_seeds < 1:
        raise InputError("number of seeds", f"is {n_seeds}", "Use at least 1")
    if to.is_file():
        raise InputError(to.name, "is a file, not a folder", "Name a new folder")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise InputError(to, "is not an empty folder", "Name a new one")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{to.name}-", dir=to.parent) as parent:
            folder = Path(parent) / to.name
            folder.mkdir()
            name = _write_into(folder, kind, n_seeds, random_state)
            publish_tree(folder, to)
    except OSError as error:
        raise write_failed(to, error) from error
    return to / name


def _write_into(folder: Path, kind: str, n_seeds: int, random_state: int) -> str:
    from napari_seedlab.imaging.phantom import tray_dials, tube_dials

    dials = (tube_dials if kind == "tube" else tray_dials)(n_seeds, random_state)
    return write_dials(folder, kind, dials)


def write_dials(folder: Path, kind: str, dials: Dials) -> str:
    """Make a sample from its dials and write it into a folder that is there; returns the scan's name."""
    from napari_seedlab.imaging.phantom import make_tray, make_twin

    phantom = make_tray(dials)
    if kind == "hsi":
        cube = make_twin(phantom)
        _write_envi(folder / "scan.hdr", cube, dials)
        truth, name = _truth_from_above(phantom, cube), "scan.hdr"
    else:
        write_volume(folder / "scan.tif", phantom.volume, dials.voxel_size_um)
        write_volume(folder / "defects.tif", phantom.defect_mask, dials.voxel_size_um, compress=True)
        truth, name = _truth(phantom), "scan.tif"
    write_volume(folder / "instances.tif", truth.instances, dials.voxel_size_um, compress=True)
    write_volume(folder / "tissues.tif", truth.tissues, dials.voxel_size_um, compress=True)
    (folder / "truth.csv").write_text(_csv(truth.rows), encoding="utf-8", newline="")
    _write_recipe(folder / "recipe.json", kind, dials)
    return name


def write_volume(path: Path, volume: Voxels, voxel_size_um: float, compress: bool = False) -> None:
    """Write (z, y, x) as an OME-TIFF with its voxel size.

    Parameters
    ----------
    path : Path
        New file.
    volume : (z, y, x) of any integer type
        Voxels.
    voxel_size_um : float
        Edge of a voxel.
    compress : bool
        By zlib; a scan is left as it is, so that it can be read slice by slice without a codec.
    """
    import tifffile

    name = uuid5(NAMESPACE_OID, sha256(volume.tobytes()).hexdigest())  # equal voxels, equal files
    size = {f"PhysicalSize{axis}": voxel_size_um for axis in "XYZ"}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in "XYZ"}
    per_cm = 1e4 / voxel_size_um
    tifffile.imwrite(
        path,
        volume,
        ome=True,
        photometric="minisblack",
        resolution=(per_cm, per_cm),
        resolutionunit="CENTIMETER",
        compression="zlib" if compress else None,
        metadata={"axes": "ZYX", "UUID": str(name), **size, **units},
    )


def _write_envi(header: Path, cube: Cube, dials: Dials) -> None:
    import numpy as np

    scaled = np.clip(cube.reflectance() * REFLECTANCE_SCALE + 0.5, 0, 65535).astype("<u2")
    scaled.tofile(header.with_suffix(".raw"))
    n_bands, lines, samples = scaled.shape
    wavelengths = ", ".join(f"{w:.2f}" for w in cube.wavelengths_nm)
    edge = dials.voxel_size_um
    header.write_text(
        "ENVI\n"
        "description = { Tray of seeds from above, a procedural phantom; reflectance times 10000 }\n"
        f"samples = {samples}\nlines = {lines}\nbands = {n_bands}\n"
        "header offset = 0\nfile type = ENVI Standard\ndata type = 12\n"
        "interleave = bsq\nbyte order = 0\n"
        f"reflectance scale factor = {REFLECTANCE_SCALE}\n"
        f"pixel size = {{ {edge / 1e6:.9f}, {edge / 1e6:.9f}, units=Meters }}\n"
        f"wavelength units = Nanometers\nwavelength = {{ {wavelengths} }}\n",
        encoding="ascii",
    )


def _truth(phantom: Phantom) -> Truth:
    table = phantom.table
    rows = [
        _row(phantom, i, table.defect_fraction[i], table.centroid[i].tolist())
        for i in range(len(table))
        if table.n_voxels[i]
    ]
    return Truth(phantom.instances, phantom.tissues, tuple(rows))


def _truth_from_above(phantom: Phantom, cube: Cube) -> Truth:
    """What is seen of each seed; hidden seeds have no line."""
    import numpy as np

    seen = cube.instances[0]
    tissues = (cube.instances > 0).astype(np.uint8)  # only coats are seen
    rows = []
    for i, seed in enumerate(phantom.table.id):
        y, x = np.nonzero(seen == seed)
        if len(y):
            centroid = [0.0, float(y.mean()), float(x.mean())]
            rows.append(_row(phantom, i, phantom.table.defect_fraction[i], centroid))
    return Truth(cube.instances, tissues, tuple(rows))


def _row(phantom: Phantom, i: int, defect_fraction: float, centroid: list[float]) -> dict[str, object]:
    table = phantom.table
    z, y, x = (f"{c:.2f}" for c in centroid)
    name = GRAIN_SCHEME.by_id(int(table.class_id[i])).name
    fraction = f"{defect_fraction:.4f}"
    seed, kind = int(table.id[i]), str(table.kind[i])
    return {"seed": seed, "class": name, "kind": kind, "defect_fraction": fraction, "z": z, "y": y, "x": x}


def _csv(rows: tuple[dict[str, object], ...]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write_recipe(path: Path, kind: str, dials: Dials) -> None:
    import numpy as np
    import scipy

    from napari_seedlab import __version__
    from napari_seedlab.files import write_json

    versions = {"napari-seedlab": __version__, "numpy": np.__version__, "scipy": scipy.__version__}
    write_json(path, {"kind": kind, "dials": dials.to_json(), "versions": versions})


def ct_tray_layers() -> list[LayerData]:
    """Layers of the CT tray: scan and seeds."""
    return _volume_layers("ct_tray")


def ct_tube_layers() -> list[LayerData]:
    """Layers of the CT tube of touching seeds: scan and seeds."""
    return _volume_layers("ct_tube")


def hsi_tray_layers() -> list[LayerData]:
    """Layers of the hyperspectral tray: cube (band, y, x) and seeds."""
    import numpy as np

    folder = sample_folder("hsi_tray")
    instances, scale = _read_volume(folder / "instances.tif")
    shape = (-1, *instances.shape[1:])
    cube = np.fromfile(folder / "scan.raw", "<u2").reshape(shape)
    across = {"axis_labels": ("band", "y", "x"), "units": ("pixel", "um", "um"), "scale": (1.0, *scale[1:])}
    seeds = {"name": "hsi_tray seeds", "axis_labels": ("y", "x"), "units": ("um", "um"), "scale": scale[1:]}
    return [(cube, {"name": "hsi_tray", **across}, "image"), (instances[0], seeds, "labels")]


def _volume_layers(name: str) -> list[LayerData]:
    folder = sample_folder(name)
    facts: dict[str, Any] = {"axis_labels": ("z", "y", "x"), "units": ("um", "um", "um")}
    layers: list[LayerData] = []
    for file, title, kind in (("scan", name, "image"), ("instances", f"{name} seeds", "labels")):
        data, scale = _read_volume(folder / f"{file}.tif")
        layers.append((data, {"name": title, "scale": scale, **facts}, kind))
    return layers


def _read_volume(path: Path) -> tuple[Voxels, tuple[float, float, float]]:
    """Voxels (z, y, x) of a file of :func:`write_volume`, and their size in µm."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        data = file.asarray()
    data = data.reshape((-1, *data.shape[-2:]))
    return data, tuple(float(pixels[f"PhysicalSize{axis}"]) for axis in "ZYX")  # type: ignore[return-value]


LAYERS: dict[str, Callable[[], list[LayerData]]] = {
    "ct_tray": ct_tray_layers,
    "hsi_tray": hsi_tray_layers,
    "ct_tube": ct_tube_layers,
}
