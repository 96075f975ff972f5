"""What lies inside the coat of a normal seed, and what goes wrong there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from napari_seedlab.imaging.phantom.anatomy import Anatomy, Floats, fill, sheet
from napari_seedlab.imaging.phantom.dials import DEAD, NORMAL


def draw_inside(seed: Anatomy) -> None:
    """Fill `seed` by its kind: flesh and gaps first, then the defect."""
    foreign = _FOREIGN.get(seed.plan.kind)
    if foreign is not None:
        foreign(seed)
        return
    if seed.plan.class_id == DEAD:
        _DEAD[seed.plan.kind](seed)
        return
    if seed.plan.kind == "shrunken":
        _shrunken(seed)
        return
    embryo(seed, np.ones_like(seed.outer), has_radicle=seed.plan.kind != "radicle")
    if seed.plan.class_id != NORMAL:
        _ABNORMAL[seed.plan.kind](seed)


def embryo(seed: Anatomy, body: Floats, has_radicle: bool = True, unit: Floats | None = None) -> None:
    """Flesh within `body` (share of each voxel), parted by the gaps of a folded embryo.

    The inner cotyledon is a rounded slab wrapped by the outer one; the radicle is a bent rod along
    one side. Both run along own x and join at its far end.
    """
    rng, dials = seed.rng, seed.dials
    unit = seed.unit if unit is None else unit
    width = rng.uniform(*dials.cleft)
    gap, rod = _gaps(unit, seed.radius, width, rng)
    if not has_radicle:
        gap = np.where(rod < 0, 0, gap)
    seed.solid = np.minimum(seed.lumen, body)  # gaps thinner than a voxel are no cavity
    mottle = 1 + dials.mottle * _waves(seed.own / seed.radius, 4.0, rng)
    mottle += np.where(rod < 0, np.float32(0.03), np.float32(0)) if has_radicle else np.float32(0)
    rind = _shell(seed) * (1 + np.float32(0.03) * _waves(seed.own / seed.radius, 14.0, rng))
    seed.density = seed.coat * rind + seed.solid * (1 - gap) * mottle
    if not has_radicle:
        _replace(seed, fill(rod) * (unit[:, 2] < 0.75), 0.0)


def _gaps(unit: Floats, radius: float, width: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Share of gap (m,) and distance (m,) to the radicle in voxels, for points of the unit ball."""
    z, y, x = unit.T
    bend = np.float32(rng.uniform(-0.25, 0.25))
    z = z + bend * (x * x - np.float32(0.3)) + np.float32(rng.uniform(-0.06, 0.06))
    y = y + np.float32(rng.uniform(-0.05, 0.05))
    size = np.float32(rng.uniform(0.34, 0.44))
    slab = np.hypot(z, np.maximum(np.abs(y - np.float32(0.22)) - np.float32(0.28), 0)) - size
    rod_y = np.float32(-0.66) + np.float32(0.42) * x * x
    rod = np.hypot(y - rod_y, z * np.float32(0.95)) - np.float32(rng.uniform(0.24, 0.29))
    joined = np.clip((np.float32(0.72) - x) * 4, 0, 1)
    gap = sheet(slab * np.float32(radius), width) * (rod > 0)
    gap = np.maximum(gap, sheet(rod * np.float32(radius), width))
    fold = sheet(z * np.float32(radius), 0.55 * width) * (slab < 0) * (y > np.float32(-0.1))
    return np.maximum(gap, fold) * joined, rod * np.float32(radius)


def _shell(seed: Anatomy) -> np.float32:
    """Density of the coat."""
    is_dead = seed.plan.class_id == DEAD
    return np.float32(seed.dials.dead_coat_density if is_dead else seed.dials.coat_density)


def _waves(points: Floats, frequency: float, rng: np.random.Generator) -> Floats:
    """A smooth random field (m,) with mean 0 and sd about 1 at points (m, 3)."""
    waves = rng.normal(0.0, frequency / 3**0.5, (3, 5)).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, 5).astype(np.float32)
    field: Floats = np.cos(points @ waves + phases).sum(1) * np.float32((2 / 5) ** 0.5)
    return field


def _replace(seed: Anatomy, share: Floats, density: float) -> None:
    """Put matter of `density` where `share` of a voxel belongs to the defect."""
    share = np.minimum(share, fill(seed.outer)).astype(np.float32)
    seed.density = seed.density * (1 - share) + share * np.float32(density)
    if density < 0.5:
        seed.solid = seed.solid * (1 - share)
        seed.lumen = np.maximum(seed.lumen, share)
    seed.defect = np.maximum(seed.defect, share)


def _volume(seed: Anatomy) -> float:
    return 4 / 3 * np.pi * float(np.prod(seed.plan.axes))


def _place(seed: Anatomy, reach: float) -> Floats:
    """A random point (3,) in the embryo, at most `reach` of the way to the coat, in voxels."""
    towards = seed.rng.normal(size=3)
    towards *= reach * seed.rng.uniform(0.2, 1) ** (1 / 3) / np.linalg.norm(towards)
    return np.asarray(towards * (seed.plan.axes - seed.dials.coat), np.float32)


def _blob(seed: Anatomy) -> Floats:
    """Distance (m,) to a rotated ellipsoid of the wanted volume inside the embryo."""
    from scipy.spatial.transform import Rotation

    ratios = seed.rng.uniform(0.7, 1.35, 3)
    axes = (seed.fraction * _volume(seed) * 3 / 4 / np.pi / np.prod(ratios)) ** (1 / 3) * ratios
    turn = np.asarray(Rotation.random(rng=seed.rng).as_matrix())
    points = (seed.own - _place(seed, 0.55)) @ turn.astype(np.float32)
    length = np.linalg.norm(points, axis=1)
    level = np.linalg.norm(points / axes, axis=1)
    return np.asarray(length * (1 - 1 / np.maximum(level, 1e-3)), np.float32)


def _cavity(seed: Anatomy) -> None:
    _replace(seed, fill(_blob(seed)) * seed.lumen, 0.0)


def _dense(seed: Anatomy) -> None:
    contrast = seed.rng.uniform(*seed.dials.dense_contrast)
    _replace(seed, fill(_blob(seed)) * seed.lumen, 1 + contrast)


def _crack(seed: Anatomy) -> None:
    """A bent plane of air through coat and cotyledons, open to one side."""
    rng = seed.rng
    normal = rng.normal(size=3)
    normal /= np.linalg.norm(normal)
    side = np.cross(normal, rng.normal(size=3))
    side /= np.linalg.norm(side)
    offset = rng.uniform(-0.3, 0.3) * seed.radius
    along = seed.own @ side.astype(np.float32)
    plane = seed.own @ normal.astype(np.float32) - np.float32(offset)
    plane += np.float32(0.8) * np.sin(along * np.float32(4 / seed.radius))
    depth = 0.5 * seed.radius
    area = np.pi * seed.radius**2 * 0.8
    width = float(np.clip(seed.fraction * _volume(seed) / area, 1.3, 3.2))
    closing = np.clip((along + np.float32(depth)) / np.float32(0.3 * seed.radius), 0, 1)
    _replace(seed, sheet(plane, width) * closing, 0.0)


def _tunnel(seed: Anatomy) -> None:
    """A bent round hole from the surface past the middle, as an insect leaves it."""
    rng = seed.rng
    towards = rng.normal(size=3)
    towards /= np.linalg.norm(towards)
    side = np.cross(towards, rng.normal(size=3))
    side /= np.linalg.norm(side)
    third = np.cross(towards, side)
    along = seed.own @ towards.astype(np.float32)
    bend = np.float32(0.22 / seed.radius) * along * along
    from_axis = np.hypot(
        seed.own @ side.astype(np.float32) - bend + np.float32(0.2 * seed.radius),
        seed.own @ third.astype(np.float32),
    )
    length = 1.35 * seed.radius
    width = max(1.1, float(np.sqrt(seed.fraction * _volume(seed) / np.pi / length)))
    end = np.float32(-0.35 * seed.radius) - along
    _replace(seed, fill(np.maximum(from_axis - np.float32(width), end)), 0.0)


def _radicle(seed: Anatomy) -> None:
    """The radicle is missing: drawn by :func:`embryo`."""


def _shrunken(seed: Anatomy) -> None:
    """A smaller, denser embryo to one side, with air under the coat."""
    volume = seed.rng.uniform(*seed.dials.shrink)
    scale = volume ** (1 / 3)
    towards = seed.rng.normal(size=3)
    towards *= (1 - scale) * 0.8 / np.linalg.norm(towards)
    unit: Floats = np.asarray((seed.unit - towards) / scale, np.float32)
    level = np.linalg.norm(unit, axis=1)
    body = fill(((level - 1) * np.float32(scale * seed.radius)).astype(np.float32))
    embryo(seed, body, unit=unit)
    flesh = seed.density - seed.coat * _shell(seed)
    seed.density = np.asarray(seed.density + flesh * (volume**-0.75 - 1), np.float32)
    seed.defect = np.maximum(seed.defect, seed.lumen * (1 - body))


def _empty(seed: Anatomy) -> None:
    """A coat with a dried crumb of embryo in it."""
    unit = np.asarray((seed.unit - 0.3 * seed.rng.normal(size=3)) / 0.45, np.float32)
    level = np.linalg.norm(unit, axis=1) * (1 + np.float32(0.15) * _waves(unit, 3.0, seed.rng))
    body = fill(((level - 1) * np.float32(0.45 * seed.radius)).astype(np.float32))
    seed.solid = np.minimum(seed.lumen, body)
    seed.density = seed.coat * _shell(seed) + seed.solid
    seed.defect = seed.lumen.copy()


def _collapsed(seed: Anatomy) -> None:
    """A dented coat around shrivelled flesh with wide gaps."""
    flakes = _waves(seed.own / seed.radius, 5.0, seed.rng) + np.float32(0.7)
    seed.solid = seed.lumen * np.clip(flakes * 2 + np.float32(0.5), 0, 1)
    seed.density = seed.coat * _shell(seed) + seed.solid * np.float32(1.1)
    seed.defect = seed.lumen.copy()


def _uniform(seed: Anatomy) -> None:
    """Flesh without gaps or radicle, as dense as the coat."""
    flesh = np.float32(seed.dials.coat_density * seed.rng.uniform(1.0, 1.12))
    seed.density = seed.coat * _shell(seed) + seed.lumen * flesh
    seed.defect = seed.lumen.copy()


def _mould(seed: Anatomy) -> None:
    """Fluffy matter instead of the rim, and mottled flesh below."""
    depth = np.float32(seed.rng.uniform(0.25, 0.36) * seed.radius)
    embryo(seed, np.ones_like(seed.outer))
    fluff = np.float32(0.5) + np.float32(0.22) * _waves(seed.own / seed.radius, 13.0, seed.rng)
    rim = fill(-(seed.outer + depth + _waves(seed.own / seed.radius, 5.0, seed.rng))) * seed.lumen
    seed.density = seed.density * (1 - rim) + rim * np.clip(fluff, 0.1, 1.2)
    seed.density *= 1 + np.float32(0.06) * _waves(seed.own / seed.radius, 8.0, seed.rng)
    seed.defect = rim


def _stone(seed: Anatomy) -> None:
    density = seed.rng.uniform(2.0, 3.0)
    grain = 1 + np.float32(0.08) * _waves(seed.own / seed.radius, 8.0, seed.rng)
    seed.density = fill(seed.outer) * np.float32(density) * grain
    seed.defect = fill(seed.outer)


def _stem(seed: Anatomy) -> None:
    """A stalk: a woody tube around looser pith."""
    bark = fill(seed.outer) - fill(seed.outer + np.float32(2.2))
    pith = fill(seed.outer + np.float32(2.2))
    fibres = 1 + np.float32(0.1) * _waves(seed.own * np.array([1, 1, 0.1], np.float32), 1.5, seed.rng)
    seed.density = (bark * np.float32(0.95) + pith * np.float32(0.62)) * fibres
    seed.defect = fill(seed.outer)


def _weed(seed: Anatomy) -> None:
    """A small round seed with a thick coat and no gaps."""
    core = fill(seed.outer + np.float32(2.4))
    seed.density = (fill(seed.outer) - core) * np.float32(1.3) + core * np.float32(0.9)
    seed.defect = fill(seed.outer)


Drawing = Callable[[Anatomy], None]
_ABNORMAL: dict[str, Drawing] = {
    "cavity": _cavity,
    "crack": _crack,
    "tunnel": _tunnel,
    "dense": _dense,
    "radicle": _radicle,
}
_DEAD: dict[str, Drawing] = {
    "empty": _empty,
    "collapsed": _collapsed,
    "uniform": _uniform,
    "mould": _mould,
}
_FOREIGN: dict[str, Drawing] = {"stone": _stone, "stem": _stem, "weed": _weed}
