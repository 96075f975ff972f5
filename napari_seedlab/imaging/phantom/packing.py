"""Where the seeds lie: ellipsoids that settle under gravity and push each other apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_seedlab.imaging.phantom.dials import ABNORMAL, DEAD, FOREIGN, NORMAL, Dials, Kinds

Floats = npt.NDArray[np.float64]

_CLASSES = (NORMAL, ABNORMAL, DEAD, FOREIGN)
_STEPS = 400
_MARGIN = 3.0  # voxels between a seed and the wall of a tray


@dataclass(frozen=True)
class SeedPlan:
    """One seed before it is drawn.

    Attributes
    ----------
    id : int
        Value in the instance map.
    class_id : int
    kind : str
        ``normal``, or the kind of defect or foreign body.
    centre : (3,) float64
        z, y, x in voxels.
    axes : (3,) float64
        Half axes of the ellipsoid along its own z, y, x.
    rotation : (3, 3) float64
        Column k is own axis k in the scan.
    brightness : float
        Density of this seed over the median one.
    random_state : tuple of int
        State of everything random inside the seed.
    """

    id: int
    class_id: int
    kind: str
    centre: Floats
    axes: Floats
    rotation: Floats
    brightness: float
    random_state: tuple[int, ...]


@dataclass(frozen=True)
class SeedKinds:
    """Class id and kind of n seeds."""

    class_id: npt.NDArray[np.int64]
    kind: tuple[str, ...]

    def part(self, first: int, end: int) -> SeedKinds:
        """Seeds `first` to before `end`."""
        return SeedKinds(self.class_id[first:end], self.kind[first:end])


def draw_kinds(dials: Dials) -> SeedKinds:
    """Classes and kinds of ``dials.n_seeds`` seeds: exact shares in random order."""
    rng = np.random.default_rng([dials.random_state, 0])
    classes = rng.permutation(np.repeat(_CLASSES, _counts(dials.shares, dials.n_seeds, rng)))
    return SeedKinds(classes, tuple(_kinds(dials, classes, rng)))


def plan_seeds(dials: Dials, seeds: SeedKinds) -> list[SeedPlan]:
    """Draw size and pose of every seed, and let them settle in the holder."""
    rng = np.random.default_rng([dials.random_state, 1])
    classes, kinds = seeds.class_id, seeds.kind
    axes = np.stack([_axes(dials, kind, rng) for kind in kinds])
    rotations = _rotations(dials, axes, rng)
    centres = settle(dials, axes, rotations, rng)
    brightness = np.exp(rng.normal(0.0, dials.brightness_sd, dials.n_seeds))
    return [
        SeedPlan(
            i + 1,
            int(classes[i]),
            kinds[i],
            centres[i],
            axes[i],
            rotations[i],
            float(brightness[i]),
            (dials.random_state, 2, i + 1),
        )
        for i in range(dials.n_seeds)
    ]


def _counts(weights: npt.ArrayLike, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Whole numbers that add up to `n` in these proportions: largest remainders, ties by chance."""
    shares = np.asarray(weights, float)
    wanted = shares / shares.sum() * n
    counts: npt.NDArray[np.int64] = np.floor(wanted).astype(np.int64)
    rest = np.lexsort((rng.uniform(size=len(shares)), np.round(counts - wanted, 9)))
    counts[rest[: n - counts.sum()]] += 1
    return counts


def _kinds(dials: Dials, classes: npt.NDArray[np.int64], rng: np.random.Generator) -> list[str]:
    """A kind for each seed, with exact shares within each class."""
    kinds = np.full(len(classes), "normal", dtype=object)
    tables: dict[int, Kinds] = {ABNORMAL: dials.abnormal, DEAD: dials.dead, FOREIGN: dials.foreign}
    for class_id, table in tables.items():
        rows = np.flatnonzero(classes == class_id)
        names, weights = zip(*table, strict=True)
        kinds[rows] = rng.permutation(np.repeat(names, _counts(weights, len(rows), rng)))
    return [str(kind) for kind in kinds]


def _axes(dials: Dials, kind: str, rng: np.random.Generator) -> Floats:
    """Half axes whose geometric mean is the drawn radius, the longest along own x."""
    radius = dials.diameter / 2 * np.exp(rng.normal(0.0, dials.diameter_sd))
    ratios = np.array([*sorted(rng.uniform(*dials.flatness, 2)), 1.0])
    if kind == "stem":
        ratios = np.array([0.42, 0.45, 1.35]) * rng.uniform(0.9, 1.1)
        return np.asarray(radius * ratios)
    size = {"weed": 0.6, "stone": rng.uniform(0.55, 0.9)}.get(kind, 1.0)
    return np.asarray(size * radius * ratios / np.prod(ratios) ** (1 / 3))


def _rotations(dials: Dials, axes: Floats, rng: np.random.Generator) -> Floats:
    """Random poses; in a tray seeds lie mostly on their flat side."""
    from scipy.spatial.transform import Rotation

    n = len(axes)
    if dials.holder == "tube":
        return np.asarray(Rotation.random(n, rng=rng).as_matrix())
    turn = Rotation.from_rotvec(np.outer(rng.uniform(0, 2 * np.pi, n), [1.0, 0, 0]))
    tilt = Rotation.from_rotvec(rng.normal(0.0, 0.35, (n, 3)))
    return np.asarray((tilt * turn).as_matrix())


def settle(dials: Dials, axes: Floats, rotations: Floats, rng: np.random.Generator) -> Floats:
    """Centres (n, 3) of ellipsoids that fell onto the floor and hardly overlap.

    Position-based dynamics: each step pulls all seeds down, then moves touching pairs apart along
    the line of their centres until they overlap by ``dials.overlap`` (loose ones: until they part).
    """
    from scipy.spatial import cKDTree

    reach = 2 * float(axes.max() + dials.gap)
    loose = rng.uniform(size=len(axes)) < dials.loose
    centres = _start(dials, axes, rng)
    for step in range(_STEPS):
        ease = 1.0 - step / _STEPS
        centres[:, 0] += 0.5 * min(1.0, 2 * ease)  # z grows downwards, to the floor
        for _ in range(2):
            pairs = cKDTree(centres).query_pairs(reach, output_type="ndarray")
            room = np.where(loose[pairs].any(axis=1), dials.gap, -dials.overlap)
            _push(centres, pairs, axes, rotations, room)
            _confine(centres, dials, axes, rotations)
    return centres


def _start(dials: Dials, axes: Floats, rng: np.random.Generator) -> Floats:
    n, (depth, height, width) = len(axes), dials.shape
    if dials.holder == "tray":
        z = depth - dials.floor - dials.diameter / 2 - rng.uniform(0, dials.diameter * 0.7, n)
        y, x = rng.uniform(0, height, n), rng.uniform(0, width, n)
        return np.stack([z, y, x], 1)
    bore = min(height, width) / 2 - dials.wall - dials.diameter / 2
    radius, angle = bore * np.sqrt(rng.uniform(0, 1, n)), rng.uniform(0, 2 * np.pi, n)
    z = rng.uniform(dials.diameter / 2, depth - dials.floor - dials.diameter / 2, n)
    return np.stack([z, height / 2 + radius * np.sin(angle), width / 2 + radius * np.cos(angle)], 1)


def _push(
    centres: Floats, pairs: npt.NDArray[np.int64], axes: Floats, rotations: Floats, room: Floats
) -> None:
    if not len(pairs):
        return
    first, second = pairs.T
    line = centres[second] - centres[first]
    distance = np.maximum(np.linalg.norm(line, axis=1), 1e-6)
    line /= distance[:, None]
    needed = _extent(line, axes[first], rotations[first]) + _extent(line, axes[second], rotations[second])
    move = np.maximum(needed + room - distance, 0.0)[:, None] * line * 0.45
    np.add.at(centres, first, -move)
    np.add.at(centres, second, move)


def _extent(line: Floats, axes: Floats, rotations: Floats) -> Floats:
    """Half width (n,) of each ellipsoid along `line`: between its radius and its shadow there."""
    own = np.einsum("ni,nij->nj", line, rotations)
    radius = 1.0 / np.linalg.norm(own / axes, axis=1)
    shadow = np.linalg.norm(own * axes, axis=1)
    return np.asarray(0.5 * (radius + shadow))


def _confine(centres: Floats, dials: Dials, axes: Floats, rotations: Floats) -> None:
    depth, height, width = dials.shape
    half = np.linalg.norm(rotations * axes[:, None, :], axis=2)  # (n, 3) half boxes
    centres[:, 0] = np.clip(centres[:, 0], half[:, 0] + 1, depth - dials.floor - half[:, 0])
    if dials.holder == "tray":
        for k, length in ((1, height), (2, width)):
            edge = half[:, k] + _MARGIN
            centres[:, k] = np.clip(centres[:, k], edge, length - 1 - edge)
        return
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    out = centres[:, 1:] - middle
    distance = np.maximum(np.linalg.norm(out, axis=1), 1e-6)
    shadow = np.einsum("ni,nij->nj", out / distance[:, None], rotations[:, 1:, :])
    bore = min(height, width) / 2 - dials.wall - np.linalg.norm(shadow * axes, axis=1)
    shrink = np.minimum(1.0, np.maximum(bore, 0.0) / distance)
    centres[:, 1:] = middle + out * shrink[:, None]
