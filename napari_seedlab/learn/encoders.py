"""What every encoder is given and gives: one seed's voxels in, one vector out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from napari_seedlab.imaging.features import GreyLevels


@dataclass(frozen=True)
class SeedImage:
    """One seed as an encoder sees it.

    Attributes
    ----------
    modality : str
        ``ct``, ``image`` or ``hsi``.
    image : array
        Box of the region: (z, y, x) of a volume, (1, y, x) of a grey plane, (band, y, x) otherwise.
    mask : (z, y, x) or (1, y, x) bool
        Voxels of the seed.
    levels : GreyLevels
        Grey value of air and of the typical seed of the scan.
    scale_um : tuple of float
        Edges of a voxel along z, y, x.
    wavelengths_nm : tuple of float
        Of the bands of a cube; empty where unknown.
    """

    modality: str
    image: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_]
    levels: GreyLevels
    scale_um: tuple[float, float, float]
    wavelengths_nm: tuple[float, ...] = ()


class Encoder(Protocol):
    """Turns seeds into vectors that do not depend on the other seeds.

    Attributes
    ----------
    name : str
        Such as ``descriptors`` or ``bundled``.
    key : str
        Changes whenever the same seed would get another vector: version, weights, settings.
    """

    name: str
    key: str

    def encode(self, seeds: Sequence[SeedImage]) -> npt.NDArray[np.float32]:
        """Vectors (n, d) float32 of n seeds, row by row."""
        ...
