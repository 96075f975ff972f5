"""Which module reads which kind of file."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from napari_seedlab.core import InputError
from napari_seedlab.io.gate import shown_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np

    from napari_seedlab.core import Modality, ScanFacts
    from napari_seedlab.files import ArraySource

# One module per format; each has the two functions of `Format`.
MODULES = {
    "napari_seedlab.io.tiff": (".tif", ".tiff"),
    "napari_seedlab.io.envi": (".hdr", ".raw", ".dat", ".img", ".bsq", ".bil", ".bip"),
    "napari_seedlab.io.npy": (".npy",),
    "napari_seedlab.io.matlab": (".mat",),
    "napari_seedlab.io.picture": (".png", ".jpg", ".jpeg", ".bmp"),
}
PICTURES = MODULES["napari_seedlab.io.picture"]
SUFFIXES = tuple(suffix for suffixes in MODULES.values() for suffix in suffixes)


class Format(Protocol):
    """What a module must offer to read one kind of file. It runs in the reader process only."""

    def describe(self, path: Path, modality: Modality | None) -> tuple[ScanFacts, ArraySource]:
        """Facts of the scan and where its voxels lie; layout ``encoded`` where they need decoding."""

    def planes(
        self, path: Path, modality: Modality | None, start: int, stop: int
    ) -> Iterator[np.ndarray[tuple[int, int], np.dtype[np.generic]]]:
        """Decoded planes (y, x) of an ``encoded`` scan, in native byte order."""


def format_of(path: Path) -> Format:
    """The module for the suffix of `path`.

    Raises
    ------
    InputError
        It is a folder, or no format has this suffix.
    """
    if path.is_dir():
        cause = "is a folder, not a file"
        remedy = "Choose the scan file in it; a folder of seed pictures needs --one-seed-per-file"
        raise InputError(shown_name(path), cause, remedy)
    suffix = path.suffix.lower()
    for module, suffixes in MODULES.items():
        if suffix in suffixes:
            return cast("Format", importlib.import_module(module))
    cause = f"has the suffix {shown_name(suffix) if suffix else '(none)'}, which Seedlab does not read"
    raise InputError(shown_name(path), cause, "Use .tif, .hdr with its cube, .npy, .mat, .png, .jpg or .bmp")
