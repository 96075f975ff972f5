"""The bodies of one seed at points: surface, coat, and what fills them.

Surfaces are signed distances in voxels (negative inside); the share of a voxel that a body fills
is ``clip(0.5 - distance, 0, 1)``, which is partial volume without supersampling.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_seedlab.imaging.phantom.dials import Dials
    from napari_seedlab.imaging.phantom.packing import SeedPlan

Floats = npt.NDArray[np.float32]

ROOM = 1.14  # half box over the half axes: bumps and half a voxel of edge


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
    return np.asarray(np.clip(np.float32(0.5) - distance, 0, 1), np.float32)


def sheet(distance: Floats, width: float) -> Floats:
    """Share of a voxel that a gap of `width` voxels around distance 0 takes."""
    half = np.float32(width / 2)
    return np.asarray(np.clip(half + np.float32(0.5) - np.abs(distance), 0, min(1.0, width)), np.float32)


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
    return np.asarray(np.clip(relief, -0.5, ROOM - 1.02), np.float32)


def own_points(plan: SeedPlan, voxels: npt.NDArray[np.integer]) -> Floats:
    """Voxel positions (m, 3) of the scan on the seed's own axes."""
    return np.asarray((voxels - plan.centre) @ plan.rotation, np.float32)
