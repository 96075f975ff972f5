"""A whole scan: seeds settled in their holder, drawn one by one, then imaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_seedlab.imaging.phantom.anatomy import own_points, surface
from napari_seedlab.imaging.phantom.chain import acquire
from napari_seedlab.imaging.phantom.drawing import SeedPicture, draw_seed
from napari_seedlab.imaging.phantom.packing import SeedKinds, SeedPlan, draw_kinds, plan_seeds

if TYPE_CHECKING:
    from napari_seedlab.imaging.phantom.dials import Dials

Floats = npt.NDArray[np.float32]
Slices = tuple[slice, slice, slice]


@dataclass(frozen=True)
class SeedTable:
    """The truth about n seeds as columns, ordered by id.

    Attributes
    ----------
    id : (n,) int32
        Values in the instance map, 1..n.
    class_id : (n,) int32
        1 normal, 2 abnormal, 3 dead, 4 foreign.
    kind : (n,) str
    defect_fraction : (n,) float64
        Share of the seed's voxels in the defect mask, 0-1.
    centroid : (n, 3) float64
        Mean voxel z, y, x.
    box : (n, 6) int32
        Half-open z0, y0, x0, z1, y1, x1.
    n_voxels : (n,) int64
    plans : tuple of SeedPlan
        Pose, half axes and brightness as drawn.
    """

    id: npt.NDArray[np.int32]
    class_id: npt.NDArray[np.int32]
    kind: npt.NDArray[np.str_]
    defect_fraction: npt.NDArray[np.float64]
    centroid: npt.NDArray[np.float64]
    box: npt.NDArray[np.int32]
    n_voxels: npt.NDArray[np.int64]
    plans: tuple[SeedPlan, ...]

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True)
class Phantom:
    """A scan with everything known about it; all arrays are (z, y, x).

    Attributes
    ----------
    volume : uint8
        Grey values as scanned.
    instances : int32
        Seed id of each voxel, 0 outside.
    tissues : uint8
        0 background, 1 coat, 2 embryo, 3 air inside the seed.
    defect_mask : uint8
        1 where a seed is not as it should be.
    table : SeedTable
    dials : Dials
    """

    volume: npt.NDArray[np.uint8]
    instances: npt.NDArray[np.int32]
    tissues: npt.NDArray[np.uint8]
    defect_mask: npt.NDArray[np.uint8]
    table: SeedTable
    dials: Dials


def make_tray(dials: Dials) -> Phantom:
    """Make the scan that `dials` describe; the same dials give the same voxels.

    Parameters
    ----------
    dials : Dials
        A tray or a tube; see :data:`DEFAULT_TRAY` and :data:`TUBE`.

    Returns
    -------
    Phantom
    """
    return assemble(dials, draw_kinds(dials))


def assemble(dials: Dials, seeds: SeedKinds) -> Phantom:
    """The scan of `dials` with these classes and kinds."""
    plans = plan_seeds(dials, seeds)
    density = np.zeros(dials.shape, np.float32)
    instances = np.zeros(dials.shape, np.int32)
    tissues, defect = np.zeros(dials.shape, np.uint8), np.zeros(dials.shape, np.uint8)
    _draw_holder(density, dials)
    for plan in plans:
        picture = draw_seed(plan, dials)
        own, theirs = _overlap(picture, dials.shape)
        np.maximum(density[theirs], picture.density[own], out=density[theirs])
        won = _won(plan, plans, picture.distance[own], instances[theirs], theirs, dials)
        instances[theirs][won] = plan.id
        tissues[theirs][won] = picture.tissues[own][won]
        defect[theirs][won] = picture.defect[own][won]
    volume = acquire(density, dials)
    return Phantom(volume, instances, tissues, defect, _table(plans, instances, defect), dials)


def _draw_holder(density: Floats, dials: Dials) -> None:
    depth, height, width = dials.shape
    if dials.holder == "tube":
        y, x = np.ogrid[:height, :width]
        radius = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
        middle = min(height, width) / 2 - 0.5 - dials.wall / 2
        share = np.clip(dials.wall / 2 + 0.5 - np.abs(radius - middle), 0, 1)
        density += (dials.wall_density * share).astype(np.float32)
    if dials.floor:
        np.maximum(density[depth - dials.floor :], dials.floor_density, out=density[depth - dials.floor :])


def _overlap(picture: SeedPicture, shape: tuple[int, int, int]) -> tuple[Slices, Slices]:
    """Slices of the picture and of the scan where both exist."""
    own, theirs = [], []
    for first, n, length in zip(picture.origin, picture.density.shape, shape, strict=True):
        low, high = max(first, 0), min(first + n, length)
        own.append(slice(low - first, high - first))
        theirs.append(slice(low, high))
    return (own[0], own[1], own[2]), (theirs[0], theirs[1], theirs[2])


def _won(
    plan: SeedPlan,
    plans: list[SeedPlan],
    distance: Floats,
    taken: npt.NDArray[np.int32],
    box: Slices,
    dials: Dials,
) -> npt.NDArray[np.bool_]:
    """Voxels of the box that lie deeper in `plan` than in the seeds drawn before."""
    won: npt.NDArray[np.bool_] = distance < 0
    contested = won & (taken > 0)
    first = np.array([s.start for s in box])
    for other in np.unique(taken[contested]):
        where = contested & (taken == other)
        rival = plans[int(other) - 1]
        voxels = np.argwhere(where) + first
        won[where] = distance[where] < surface(rival, own_points(rival, voxels), dials)
    return won


def _table(
    plans: list[SeedPlan], instances: npt.NDArray[np.int32], defect: npt.NDArray[np.uint8]
) -> SeedTable:
    from scipy.ndimage import find_objects

    n = len(plans)
    box, centroid = np.zeros((n, 6), np.int32), np.zeros((n, 3))
    n_voxels, fraction = np.zeros(n, np.int64), np.zeros(n)
    for i, place in enumerate(find_objects(instances, max_label=n)):
        if place is None:
            continue
        mask = instances[place] == i + 1
        first = [s.start for s in place]
        box[i] = [*first, *(s.stop for s in place)]
        n_voxels[i] = np.count_nonzero(mask)
        centroid[i] = np.mean(np.nonzero(mask), axis=1) + first
        fraction[i] = np.count_nonzero(defect[place][mask]) / n_voxels[i]
    return SeedTable(
        id=np.arange(1, n + 1, dtype=np.int32),
        class_id=np.array([p.class_id for p in plans], np.int32),
        kind=np.array([p.kind for p in plans]),
        defect_fraction=fraction,
        centroid=centroid,
        box=box,
        n_voxels=n_voxels,
        plans=tuple(plans),
    )
