"""What is known of one acquired data set."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Modality(StrEnum):
    """Kind of acquisition."""

    CT = "ct"
    HSI = "hsi"
    IMAGE = "image"


@dataclass(frozen=True)
class ScanFacts:
    """Facts of a scan that its file states (or that the user stated instead).

    Attributes
    ----------
    name : str
        Shown name, without folder and suffix.
    modality : Modality
    shape : tuple of int
        Three lengths: (z, y, x), or (band, y, x) for ``hsi`` and colour pictures. A grey image has z = 1.
    axes : tuple of str
        ``("z", "y", "x")`` or ``("band", "y", "x")``.
    dtype : str
        numpy name of the voxel type.
    voxel_size_um : tuple of float, optional
        Edge lengths along the axes in µm (1.0 along ``band``); None when the file does not say.
    wavelengths_nm : tuple of float, optional
        One centre per band in nm, for ``hsi`` with a wavelength table.
    source_path : str
        Where the bytes came from.
    source_size : int
        Bytes of the source when it was described.
    source_mtime_ns : int
        Its modification time then.
    notes : tuple of str
        What was assumed, one line each, to be shown to the user.
    """

    name: str
    modality: Modality
    shape: tuple[int, int, int]
    axes: tuple[str, str, str]
    dtype: str
    voxel_size_um: tuple[float, float, float] | None
    wavelengths_nm: tuple[float, ...] | None
    source_path: str
    source_size: int
    source_mtime_ns: int
    notes: tuple[str, ...] = ()

    @property
    def has_bands(self) -> bool:
        """Whether the first axis is no direction in space: bands of a cube, colours of a picture."""
        return self.axes[0] == "band"

    @property
    def is_colour(self) -> bool:
        """Whether its bands are red, green and blue: a colour picture."""
        return self.modality is Modality.IMAGE and self.has_bands and self.shape[0] == 3

    @property
    def region_shape(self) -> tuple[int, int, int]:
        """Shape of the region raster: the scan's own, or (1, y, x) where it has bands."""
        return (1, *self.shape[1:]) if self.has_bands else self.shape

    @property
    def view_shape(self) -> tuple[int, int, int]:
        """Shape that is stepped through on the screen: colours of a picture are seen at once."""
        return self.region_shape if self.is_colour else self.shape

    @property
    def scale_um(self) -> tuple[float, float, float]:
        """Voxel size along the axes of the region raster, 1.0 where unknown."""
        return self.voxel_size_um or (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Scan:
    """A scan of the project: its project-wide id and its facts."""

    id: int
    facts: ScanFacts
