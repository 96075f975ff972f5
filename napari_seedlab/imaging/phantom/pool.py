"""Many seeds as separate crops, for studies of learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_seedlab.imaging.phantom.dials import DEFAULT_TRAY, Dials, tray_dials
from napari_seedlab.imaging.phantom.packing import draw_kinds
from napari_seedlab.imaging.phantom.tray import Phantom, assemble

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 160  # seeds scanned together: bounds the memory
_MARGIN = 2  # voxels of surroundings in a crop
POOL_SHARES = (0.85, 0.10, 0.05, 0.0)


@dataclass(frozen=True)
class SeedPool:
    """n seeds cut out of trays, each crop (z, y, x) at its natural size.

    Attributes
    ----------
    images : tuple of uint8
        Grey values as scanned, with what lies around the seed (2 voxels of margin).
    masks : tuple of bool
        True where the seed is; neighbours in the crop are False.
    defects : tuple of bool
        True where the seed is not as it should be.
    class_id : (n,) int32
        1 normal, 2 abnormal, 3 dead, 4 foreign.
    kind : (n,) str
    defect_fraction : (n,) float64
    dials : Dials
    """

    images: tuple[npt.NDArray[np.uint8], ...]
    masks: tuple[npt.NDArray[np.bool_], ...]
    defects: tuple[npt.NDArray[np.bool_], ...]
    class_id: npt.NDArray[np.int32]
    kind: npt.NDArray[np.str_]
    defect_fraction: npt.NDArray[np.float64]
    dials: Dials

    def __len__(self) -> int:
        return len(self.images)


Crop = tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]


def make_seed_pool(
    n: int,
    random_state: int,
    shares: tuple[float, float, float, float] = POOL_SHARES,
    dials: Dials = DEFAULT_TRAY,
) -> SeedPool:
    """Scan `n` seeds in trays like the default one and cut each out.

    Parameters
    ----------
    n : int
        How many seeds.
    random_state : int
        State of everything random.
    shares : tuple of float
        Of normal, abnormal, dead and foreign seeds; the numbers are exact.
    dials : Dials
        Everything else; shape, number and random state of these are not used.

    Returns
    -------
    SeedPool
        In random order.
    """
    whole = dials.replace(n_seeds=n, shares=shares, random_state=random_state)
    seeds = draw_kinds(whole)
    crops: list[Crop] = []
    fractions: list[npt.NDArray[np.float64]] = []
    for k, first in enumerate(range(0, n, _CHUNK)):
        part = seeds.part(first, first + _CHUNK)
        tray = assemble(tray_dials(len(part.kind), _chunk_state(random_state, k), base=whole), part)
        crops += cut_seeds(tray)
        fractions.append(tray.table.defect_fraction)
    images, masks, defects = zip(*crops, strict=True)
    return SeedPool(
        images,
        masks,
        defects,
        seeds.class_id.astype(np.int32),
        np.array(seeds.kind),
        np.concatenate(fractions),
        whole,
    )


def _chunk_state(random_state: int, k: int) -> int:
    return int(np.random.SeedSequence([random_state, 9, k]).generate_state(1)[0])


def cut_seeds(phantom: Phantom, margin: int = _MARGIN) -> Iterator[Crop]:
    """Image, mask and defect crop (z, y, x) of each seed of a scan, in the order of its table."""
    shape = phantom.volume.shape
    for seed, box in zip(phantom.table.id, phantom.table.box.tolist(), strict=True):
        place = tuple(
            slice(max(low - margin, 0), min(high + margin, length))
            for low, high, length in zip(box[:3], box[3:], shape, strict=True)
        )
        mask = phantom.instances[place] == seed
        yield phantom.volume[place].copy(), mask, (phantom.defect_mask[place] > 0) & mask
