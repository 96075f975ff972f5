"""Every setting of the phantom, in one frozen record."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NORMAL, ABNORMAL, DEAD, FOREIGN = 1, 2, 3, 4
COAT, EMBRYO, CAVITY = 1, 2, 3

Range = tuple[float, float]
Kinds = tuple[tuple[str, float], ...]

_WALL = 4  # voxels between the outermost seed and the edge of the scan


@dataclass(frozen=True)
class Dials:
    """What a phantom is made from; two equal records give two equal phantoms.

    Lengths are in voxels unless a name ends in ``_um``. Densities are relative to the embryo
    of a normal seed (1.0); air is 0.0.
    """

    # the scene
    holder: str = "tray"  # "tray" (a bed on a foam floor) or "tube" (a dense column)
    shape: tuple[int, int, int] = (48, 256, 256)  # z, y, x
    voxel_size_um: float = 75.0
    n_seeds: int = 120
    random_state: int = 0
    overlap: float = 0.8  # how deep two seeds are pressed together at a contact
    loose: float = 0.35  # share of seeds that touch no other one
    gap: float = 2.5  # air that these keep
    floor: int = 3  # thickness of the floor under a tray or tube
    floor_density: float = 0.12
    wall_density: float = 0.3  # of the liner of a tube
    wall: int = 5  # its thickness

    # the seeds
    diameter: float = 21.5  # median over seeds
    diameter_sd: float = 0.05  # of its logarithm
    flatness: Range = (0.66, 0.97)  # shorter axes over the longest one
    bumps: float = 0.025  # sd of the radius over the surface
    coat: float = 1.7
    coat_density: float = 1.10
    dead_coat_density: float = 1.5  # dried and pressed together
    cleft: Range = (0.2, 0.5)  # width of the gaps between cotyledons and radicle
    brightness_sd: float = 0.06  # of one seed against the next
    mottle: float = 0.015  # sd of slow changes inside an embryo

    # the classes
    shares: tuple[float, float, float, float] = (0.75, 0.15, 0.07, 0.03)
    abnormal: Kinds = (
        ("cavity", 1.0),
        ("crack", 1.0),
        ("tunnel", 1.0),
        ("dense", 1.6),
        ("shrunken", 0.8),
        ("radicle", 0.6),
    )
    dead: Kinds = (("empty", 1.0), ("collapsed", 1.5), ("uniform", 0.6), ("mould", 0.9))
    foreign: Kinds = (("stone", 1.2), ("stem", 0.8), ("weed", 1.2))
    defect_fraction: Range = (0.03, 0.09)  # of the seed, log-uniform
    dense_contrast: Range = (0.45, 0.8)  # of a dense spot over the embryo
    shrink: Range = (0.6, 0.82)  # volume of a shrunken embryo over a full one

    # the imaging chain
    chain: str = "image"  # "image" (fast) or "projected" (radon and back)
    n_angles: int = 360
    blur: float = 0.7  # sd
    cupping: float = 0.05  # loss of grey in the middle of the slice
    noise: float = 0.028  # sd over the grey of a seed
    rings: float = 0.006  # sd of the gain from one detector column to the next
    streaks: float = 0.006  # sd over the grey of a seed
    fringe: float = 0.0  # bright and dark rim at edges (phase contrast)
    air_grey: float = 22.0  # of 255
    seed_grey: float = 135.0  # of 255; stones saturate

    def replace(self, **changes: Any) -> Dials:
        """The same dials but for `changes`."""
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON dict of every dial."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Dials:
        """The dials of :meth:`to_json`."""
        return cls(**{f.name: _frozen(value[f.name]) for f in fields(cls)})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list | tuple) else value


DEFAULT_TRAY = Dials()

TUBE = Dials(
    holder="tube",
    shape=(176, 170, 170),
    voxel_size_um=65.0,
    n_seeds=115,
    diameter=29.0,
    coat=1.8,
    loose=0.0,
    noise=0.03,
)


def tray_dials(n_seeds: int, random_state: int = 0, base: Dials = DEFAULT_TRAY) -> Dials:
    """Dials of a tray that is as crowded as the default one, for any number of seeds.

    Parameters
    ----------
    n_seeds : int
        How many.
    random_state : int
        State of everything random.
    base : Dials
        Everything else.

    Returns
    -------
    Dials
        With a square tray of the area that `n_seeds` need.
    """
    depth, height, width = DEFAULT_TRAY.shape
    grown = base.diameter / DEFAULT_TRAY.diameter
    room = (height - 2 * _WALL) * (width - 2 * _WALL) / DEFAULT_TRAY.n_seeds * grown**2
    side = max(round((n_seeds * room) ** 0.5) + 2 * _WALL, round(3 * base.diameter))
    shape = (round(depth * grown), side, side)
    return base.replace(holder="tray", n_seeds=n_seeds, random_state=random_state, shape=shape)


def tube_dials(n_seeds: int, random_state: int = 0, base: Dials = TUBE) -> Dials:
    """Dials of a tube with the bore of :data:`TUBE`, as long as `n_seeds` need.

    Parameters
    ----------
    n_seeds : int
        How many.
    random_state : int
        State of everything random.
    base : Dials
        Everything else.

    Returns
    -------
    Dials
    """
    depth, height, width = base.shape
    column = (depth - base.diameter) * n_seeds / base.n_seeds
    shape = (round(column + base.diameter), height, width)
    return base.replace(holder="tube", n_seeds=n_seeds, random_state=random_state, shape=shape)
