"""One seed drawn in its own box: coat, two folded cotyledons, radicle, and what is wrong with it.

Surfaces are signed distances in voxels (negative inside); the share of a voxel that a body fills
is ``clip(0.5 - distance, 0, 1)``, which is partial volume without supersampling.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from napari_seedlab.imaging.phantom.dials import CAVITY, COAT, EMBRYO, Dials
from napari_seedlab.imaging.phantom.packing import SeedPlan

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

_ROOM = 1.14  # half box over the half axes: bumps and half a voxel of edge


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


@dataclass
class Anatomy:
    """A seed at m points, changed in place by what is wrong with it.

    `own` are the points (m, 3) along the seed's own axes in voxels, `outer` the distance to its
    surface; `lumen` and `solid` the shares of each voxel inside the coat and of flesh in it;
    `density` the product. `defect` collects the share of each voxel that is abnormal, `fraction`
    the wanted share of the seed.
    """

    plan: SeedPlan
    dials: Dials
    rng: np.random.Generator
    own: Floats
    outer: Floats
    fraction: float
    lumen: Floats = field(init=False)
    solid: Floats = field(init=False)
    coat: Floats = field(init=False)
    density: Floats = field(init=False)
    defect: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.lumen = fill(self.outer + np.float32(self.dials.coat))
        self.coat = fill(self.outer) - self.lumen
        self.solid = self.lumen.copy()
        self.density = np.zeros_like(self.outer)
        self.defect = np.zeros_like(self.outer)

    @property
    def radius(self) -> float:
        """Geometric mean half axis in voxels."""
        return float(np.prod(self.plan.axes) ** (1 / 3))

    @property
    def unit(self) -> Floats:
        """Points (m, 3) where the seed's inside is a unit ball."""
        return (self.own / (self.plan.axes - self.dials.coat)).astype(np.float32)


def fill(distance: Floats) -> Floats:
    """Share of a voxel at a signed `distance` from a surface that lies inside."""
    return np.clip(np.float32(0.5) - distance, 0, 1)


def sheet(distance: Floats, width: float) -> Floats:
    """Share of a voxel that a gap of `width` voxels around distance 0 takes."""
    half = np.float32(width / 2)
    return np.clip(half + np.float32(0.5) - np.abs(distance), 0, min(1.0, width))


def surface(plan: SeedPlan, own: Floats, dials: Dials) -> Floats:
    """Signed distance (m,) in voxels of points (m, 3) on the seed's own axes to its surface."""
    rng = np.random.default_rng([*plan.random_state, 0])
    if plan.kind == "stem":
        half = plan.axes[2] * 0.84
        tube = np.hypot(own[:, 0], own[:, 1]) - np.float32(0.97 * plan.axes[:2].mean())
        return np.maximum(tube, np.abs(own[:, 2]) - np.float32(half))
    level = np.linalg.norm(own / plan.axes, axis=1).astype(np.float32)
    length = np.linalg.norm(own, axis=1)
    direction = own / np.maximum(length, 1e-3)[:, None]
    scale = length / np.maximum(level, 1e-3)  # voxels from the middle to the surface, this way
    relief = _relief(plan.kind, direction, dials.bumps, rng)
    distance: Floats = length - scale * (1 + relief)
    return distance.astype(np.float32)


def _relief(kind: str, direction: Floats, amount: float, rng: np.random.Generator) -> Floats:
    """Relative change of the radius (m,) along unit vectors (m, 3): a few smooth waves, dents."""
    roughness = {"stone": 2.6, "collapsed": 2.2, "mould": 1.4}.get(kind, 1.0)
    waves = rng.normal(0.0, 2.0 + 0.6 * roughness, (3, 5))
    phases = rng.uniform(0, 2 * np.pi, 5)
    relief = np.cos(direction @ waves.astype(np.float32) + phases.astype(np.float32)).sum(1)
    relief *= amount * roughness * (2 / 5) ** 0.5
    if kind == "collapsed":
        for _ in range(2):
            towards = rng.normal(size=3)
            near = 1 - direction @ (towards / np.linalg.norm(towards))
            relief -= rng.uniform(0.22, 0.38) * np.exp(-((near / 0.35) ** 2))
    return np.clip(relief, -0.5, _ROOM - 1.02).astype(np.float32)


def own_points(plan: SeedPlan, voxels: npt.NDArray[np.integer]) -> Floats:
    """Voxel positions (m, 3) of the scan on the seed's own axes."""
    return ((voxels - plan.centre) @ plan.rotation).astype(np.float32)


def draw_seed(plan: SeedPlan, dials: Dials) -> SeedPicture:
    """Draw one seed in the smallest box that holds it."""
    from napari_seedlab.imaging.phantom.defects import draw_inside

    half = np.linalg.norm(plan.rotation * plan.axes, axis=1) * _ROOM + 1
    first = np.floor(plan.centre - half).astype(int)
    shape = tuple(int(n) for n in np.ceil(plan.centre + half).astype(int) - first + 1)
    grid = [np.arange(n, dtype=np.float32) + np.float32(f - c) for n, f, c in zip(shape, first, plan.centre, strict=True)]
    turn = plan.rotation.astype(np.float32)
    z, y, x = grid[0][:, None, None], grid[1][:, None], grid[2]
    own = np.stack([(z * turn[0, k] + y * turn[1, k] + x * turn[2, k]).ravel() for k in range(3)], 1)
    level = ((own / plan.axes.astype(np.float32)) ** 2).sum(1)
    near = np.flatnonzero(level < (_ROOM + 0.8 / plan.axes.min()) ** 2)
    outer = surface(plan, own[near], dials)
    touched = outer < 1
    near, outer, own = near[touched], outer[touched], own[near[touched]]
    rng = np.random.default_rng([*plan.random_state, 1])
    low, high = np.log(dials.defect_fraction)
    seed = Anatomy(plan, dials, rng, own, outer, float(np.exp(rng.uniform(low, high))))
    draw_inside(seed)
    return _box(seed, near, shape, (int(first[0]), int(first[1]), int(first[2])))


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
