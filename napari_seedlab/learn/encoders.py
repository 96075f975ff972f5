"""What every encoder is given and gives: one seed's voxels in, one vector out."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from napari_seedlab.core import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from napari_seedlab.imaging.features import GreyLevels


BY_MODALITY = {  # named by string: only what is asked for is imported
    "descriptors": "napari_seedlab.learn.embedding:Descriptors",
    "bundled": "napari_seedlab.learn.bundled:bundled_encoder",
    "spectral": "napari_seedlab.learn.spectral:spectral_encoder",
}
BY_PATH = {
    "own": "napari_seedlab.learn.own_encoder:own_encoder",
    "hf": "napari_seedlab.learn.hf:hf_encoder",
    "vgg16": "napari_seedlab.learn.vgg16:vgg16_encoder",
}
NAMES = ("descriptors", "bundled", "own", "spectral", "vgg16", "hf")


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


def make_encoder(spec: Mapping[str, Any], modality: str) -> Encoder:
    """The encoder that a job names.

    Parameters
    ----------
    spec : mapping
        ``name``, one of :data:`NAMES`, and for those of :data:`BY_PATH` the ``path`` of their weights.
    modality : str
        Of the seeds: ``ct``, ``image`` or ``hsi``.

    Raises
    ------
    InputError
        There is none of that name, its weights are missing or are not what they should be.
    """
    name = str(spec["name"])
    if name not in NAMES:
        raise InputError(f"encoder {name!r}", "is unknown", f"Use one of {', '.join(NAMES)}")
    if name in BY_PATH and not spec.get("path"):
        raise InputError(f"encoder {name}", "has no weights", "Give its file or folder")
    where, _, function = (BY_PATH.get(name) or BY_MODALITY[name]).partition(":")
    make = getattr(importlib.import_module(where), function)
    if name not in BY_PATH:
        return cast("Encoder", make(modality))
    sizes = (spec["config"],) if spec.get("config") else ()  # of a network that is not of the usual sizes
    return cast("Encoder", make(Path(str(spec["path"])), *sizes))
