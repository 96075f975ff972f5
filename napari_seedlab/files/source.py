"""Where the voxels of an array lie, as plain data that any process can open."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class ArraySource:
    """A picklable description of a stored array; :func:`napari_seedlab.files.open_array` opens it.

    Attributes
    ----------
    path : str
        File, or folder of a Zarr array.
    layout : str
        ``raw`` (C order at `offset`, read with ``preadv``), ``bil`` or ``bip`` (interleaved raw, shown
        as (band, y, x)), ``pages`` (one uncompressed TIFF page per z, at `page_offsets`), or ``zarr``.
    shape : tuple of int
        Shape as opened, in the order of `axes`.
    axes : tuple of str
    dtype : str
        numpy dtype string with byte order, such as ``<u2``.
    key : str
        Path of the array inside a Zarr group; empty for the array itself.
    offset : int
        First byte of the voxels (``raw``, ``bil``, ``bip``).
    page_offsets : tuple of int
        First byte of each page (``pages``).
    size : int
        Bytes that the file must have at least; 0 = not checked.
    sha256 : str
        Of the content, where known.
    """

    path: str
    layout: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    dtype: str
    key: str = ""
    offset: int = 0
    page_offsets: tuple[int, ...] = ()
    size: int = 0
    sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON dict."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ArraySource:
        """The source of :meth:`to_json`."""
        lists = {k: tuple(value.get(k, ())) for k in ("shape", "axes", "page_offsets")}
        return cls(**{**value, **lists})
