"""Plain values that the project hands out beside the nouns of core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class Stroke:
    """One edit of the voxel labels of a slice.

    Attributes
    ----------
    sequence : int
        Of its event; later strokes lie over earlier ones.
    uuid : str
        Of its event.
    scan : int
        Scan id.
    axis : int
        Axis that the slice cuts across, 0 = z.
    index : int
        Position of the slice in voxels.
    points : (m, 2) int32
        Painted pixels, row and column.
    classes : (m,) int8
        -1 unknown, 0 background, 1.. tissues.
    """

    sequence: int
    uuid: str
    scan: int
    axis: int
    index: int
    points: npt.NDArray[np.int32]
    classes: npt.NDArray[np.int8]
