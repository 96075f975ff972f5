"""Files that are dropped on the viewer, as lazy layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.core import Modality, SeedlabError
from napari_seedlab.files import open_array
from napari_seedlab.io.encoded import LazyView, lazy_view
from napari_seedlab.io.facts import facts_to_json
from napari_seedlab.io.gate import regular_file
from napari_seedlab.io.hsi_view import colour_bands, stretch
from napari_seedlab.io.reader_process import describe, reader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_seedlab.core import ScanFacts
    from napari_seedlab.files import ArraySource

    LayerData = tuple[Any, dict[str, Any], str]
    Reader = Callable[[str | Sequence[str]], list[LayerData]]

PATTERNS = (".tif", ".tiff", ".npy", ".hdr", ".mat")  # pictures are left to napari
INTERLEAVED = ("bil", "bip")
QUICK_BYTES = 256 * 2**20  # one band of an interleaved cube means reading all of it
ANALYZE = (b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c")  # first bytes of NIfTI and Analyze headers


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """The reader of a single scan file, or None for what is not ours.

    Parameters
    ----------
    path : str or sequence of str
        Stacks of several files are not ours.
    """
    if not isinstance(path, str) or not path.lower().endswith(PATTERNS) or Path(path).is_dir():
        return None
    if path.lower().endswith(".hdr") and not _is_envi(path):
        return None
    reader().warm()
    return read_layers


def read_layers(path: str | Sequence[str]) -> list[LayerData]:
    """Layers of a scan: lazy, with its scale in µm, and a false-colour picture for cubes.

    Raises
    ------
    InputError
        The file cannot be used; one line says why.
    """
    facts, source = describe(path if isinstance(path, str) else path[0])
    data = lazy_view(facts, source)
    metadata = {"seedlab": {"facts": facts_to_json(facts), "source": source.to_json()}}
    shown = {"name": facts.name, "scale": facts.scale_um, "units": _units(facts), "metadata": metadata}
    layers: list[LayerData] = [
        (data, {**shown, "contrast_limits": _limits(_cheap_plane(source, data))}, "image")
    ]
    is_quick = source.layout not in INTERLEAVED or data.nbytes <= QUICK_BYTES
    if facts.modality is Modality.HSI and facts.shape[0] >= 3 and is_quick:
        layers.append(_picture(facts, data, metadata))
    return layers


def _is_envi(path: str) -> bool:
    """Whether an .hdr is a text header, which we read or refuse, and not one of NIfTI or Analyze."""
    try:
        with regular_file(path) as (stream, _):
            return stream.read(4) not in ANALYZE
    except SeedlabError:
        return True  # the reader says what is wrong


def _units(facts: ScanFacts) -> tuple[str, str, str]:
    length = "um" if facts.voxel_size_um else "pixel"
    return ("pixel" if facts.has_bands else length, length, length)


def _limits(plane: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Contrast from one plane, so that napari need not read others to guess it."""
    values = plane[np.isfinite(plane)] if plane.dtype.kind == "f" else plane.reshape(-1)
    if values.size == 0:
        return (0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    return (low, high if high > low else low + 1.0)


def _cheap_plane(source: ArraySource, data: LazyView) -> np.ndarray[Any, Any]:
    """A plane through the middle that lies in one place of the file."""
    if source.layout in INTERLEAVED:
        return open_array(source)[:, source.shape[1] // 2]
    return np.asarray(data[data.shape[0] // 2])


def _picture(facts: ScanFacts, data: LazyView, metadata: dict[str, Any]) -> LayerData:
    bands = colour_bands(facts.shape[0], facts.wavelengths_nm)
    picture = np.stack([stretch(np.asarray(data[band])) for band in bands], axis=-1)
    shown = {"name": f"{facts.name} colours", "scale": facts.scale_um[1:], "units": _units(facts)[1:]}
    return (picture, {**shown, "rgb": True, "visible": False, "metadata": metadata}, "image")
