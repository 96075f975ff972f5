"""One seed drawn in its own box: coat, two folded cotyledons, radicle, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_seedlab.imaging.phantom.anatomy import ROOM, Anatomy, Floats, surface
from napari_seedlab.imaging.phantom.defects import draw_inside
from napari_seedlab.imaging.phantom.dials import CAVITY, COAT, EMBRYO, Dials

if TYPE_CHECKING:
    from napari_seedlab.imaging.phantom.packing import SeedPlan

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SeedPicture:
    """A seed in its box (z, y, x) of the scan.

    Attributes
    ----------
    origin : tuple of int
        First voxel of the box in the scan; may lie outside of it.
    density : (z, y, x) float32
        Relative to the embryo of a normal seed; 0 where the seed is not.
    distance : (z, y, x) float32
        To the seed's surface, in voxels, negative inside; 9 where it is further away.
    tissues : (z, y, x) uint8
    defect : (z, y, x) uint8
        1 where the seed is not as it should be.
    """

    origin: tuple[int, int, int]
    density: Floats
    distance: Floats
    tissues: Bytes
    defect: Bytes


def draw_seed(plan: SeedPlan, dials: Dials) -> SeedPicture:
    """Draw one seed in the smallest box that holds it."""
    half = np.linalg.norm(plan.rotation * plan.axes, axis=1) * ROOM + 1
    first = np.floor(plan.centre - half).astype(int)
    shape = tuple(int(n) for n in np.ceil(plan.centre + half).astype(int) - first + 1)
    own = _grid(shape, first - plan.centre) @ plan.rotation.astype(np.float32)
    level = ((own / plan.axes.astype(np.float32)) ** 2).sum(1)
    near = np.flatnonzero(level < (ROOM + 0.8 / plan.axes.min()) ** 2)
    outer = surface(plan, own[near], dials)
    touched = outer < 1
    near, outer, own = near[touched], outer[touched], own[near[touched]]
    rng = np.random.default_rng([*plan.random_state, 1])
    low, high = np.log(dials.defect_fraction)
    seed = Anatomy(plan, dials, rng, own, outer, float(np.exp(rng.uniform(low, high))))
    draw_inside(seed)
    return _box(seed, near, shape, (int(first[0]), int(first[1]), int(first[2])))


def _grid(shape: tuple[int, ...], first: npt.NDArray[np.float64]) -> Floats:
    """Voxels (n, 3) of a box in C order, counted from `first`."""
    axes = [np.arange(n, dtype=np.float32) + np.float32(f) for n, f in zip(shape, first, strict=True)]
    return np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], 1)


def _box(
    seed: Anatomy, near: npt.NDArray[np.intp], shape: tuple[int, ...], origin: tuple[int, int, int]
) -> SeedPicture:
    """The points put back into their box."""
    inside = seed.outer < 0
    tissue = np.where(seed.lumen > 0.5, np.where(seed.solid > 0.5, EMBRYO, CAVITY), COAT) * inside
    density = np.zeros(shape, np.float32)
    distance = np.full(shape, 9, np.float32)
    tissues, defect = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    density.flat[near] = seed.density * np.float32(seed.plan.brightness)
    distance.flat[near] = seed.outer
    tissues.flat[near] = tissue
    defect.flat[near] = (seed.defect > 0.5) & inside
    return SeedPicture(origin, density, distance, tissues, defect)
