"""Facts of scans as plain JSON, and whether they still hold."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_seedlab.core import Modality, ScanFacts
from napari_seedlab.files import file_changed
from napari_seedlab.io.gate import shown_name

NO_VOXEL_SIZE = "voxel size not stated by the file"
NO_SCALE = "size of a pixel not stated: seeds are measured in pixels"  # of pictures

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping


def facts_to_json(facts: ScanFacts) -> dict[str, Any]:
    """Plain dict of `facts`."""
    return {**asdict(facts), "modality": str(facts.modality)}


def facts_from_json(value: Mapping[str, Any]) -> ScanFacts:
    """The facts of :func:`facts_to_json`."""
    fixed = {k: tuple(value[k]) for k in ("shape", "axes", "notes")}
    listed = {k: None if value[k] is None else tuple(value[k]) for k in ("voxel_size_um", "wavelengths_nm")}
    return ScanFacts(**{**value, **fixed, **listed, "modality": Modality(value["modality"])})


def source_changed(facts: ScanFacts) -> str | None:
    """Why the file of a scan is no longer the one that was described, in one line; None if it is."""
    return file_changed(facts.source_path, facts.source_size, facts.source_mtime_ns) or None


def scan_name(path: str | os.PathLike[str]) -> str:
    """A shown name for the scan in `path`: no folder, no suffix, printable."""
    name = shown_name(path)
    for suffix in (".ome.tiff", ".ome.tif"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return Path(name).stem or name
