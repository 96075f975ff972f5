"""Which colour each seed has: one small table that the map and the layers share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import LabelState
from napari_seedlab.imaging.ids import lookup
from napari_seedlab.ui import seed_columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_seedlab.session.session import Session

MODES = ("label", "prediction", "confidence", "anomaly", "disagreement", "cluster")
N_STEPS = 16  # colours of a continuous scale
N_NAMED = 8  # entries of a legend of many categories
NONE_RGB = (126, 134, 145)
UNSURE_RGB = (179, 157, 219)
NOT_WHOLE_RGB = (161, 136, 127)
CONFLICT_RGB = (255, 82, 82)
STATE_RGB = {
    LabelState.UNSURE: UNSURE_RGB,
    LabelState.NOT_WHOLE: NOT_WHOLE_RGB,
    LabelState.CONFLICT: CONFLICT_RGB,
}
CURRENT_RGB = (255, 0, 255)  # the seed on the card: in no colour map, and seen on black as on white
# Stops of viridis and inferno (matplotlib, CC0); inferno starts above black, to show on a dark map.
VIRIDIS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
INFERNO = ((66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164))
APART = ((84, 110, 142), (124, 140, 150), (190, 178, 128), (240, 190, 70), (255, 225, 60))
CLUSTERS = (
    (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189), (140, 86, 75),
    (227, 119, 194), (188, 189, 34), (23, 190, 207), (174, 199, 232), (255, 187, 120), (152, 223, 138),
    (255, 152, 150), (197, 176, 213), (196, 156, 148), (247, 182, 210), (219, 219, 141), (158, 218, 229),
)  # fmt: skip

Rgb = tuple[int, int, int]
Codes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SeedColours:
    """A colour code per seed.

    Attributes
    ----------
    mode : str
        One of :func:`modes_of`.
    seeds : (n,) int64
        Seed ids, ascending.
    codes : (n,) uint8
        Row of `palette`; 0 = nothing known.
    palette : (k, 3) uint8
        Colours; row 0 is the grey of unknown seeds.
    legend : tuple of (str, rgb)
        What to show beside the map.
    is_ramp : bool
        Whether the colours go from the first entry of the legend to the second in steps.
    """

    mode: str
    seeds: Ids
    codes: Codes
    palette: npt.NDArray[np.uint8]
    legend: tuple[tuple[str, Rgb], ...]
    is_ramp: bool = False

    def codes_of(self, seeds: Ids) -> Codes:
        """Codes of `seeds`, 0 for those that are not known."""
        return lookup(self.seeds, self.codes, seeds)

    def same_palette(self, other: SeedColours | None) -> bool:
        """Whether `other` differs in codes only."""
        return other is not None and self.mode == other.mode and np.array_equal(self.palette, other.palette)


def rgb(color: str) -> Rgb:
    """Red, green, blue of ``#rrggbb``."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def ramp(stops: tuple[Rgb, ...], n: int = N_STEPS) -> npt.NDArray[np.uint8]:
    """(n, 3) colours interpolated between `stops`."""
    at = np.linspace(0, len(stops) - 1, n)
    columns = [np.interp(at, range(len(stops)), column) for column in zip(*stops, strict=True)]
    return np.stack(columns, 1).astype(np.uint8)


def seeds_shown(session: Session) -> Ids:
    """All seeds that a region shows, ascending."""
    tables = tuple(t for scan in session.scans if (t := session.regions(scan)) is not None and len(t))
    return _seeds_of(tuple(seed_columns.Same(table) for table in tables)) if tables else np.zeros(0, np.int64)


@lru_cache(maxsize=1)
def _seeds_of(tables: tuple[seed_columns.Same, ...]) -> Ids:
    return np.unique(np.concatenate([known.value.seed for known in tables]))


def modes_of(session: Session | None) -> tuple[str, ...]:
    """What the seeds of a project can be coloured by."""
    return (*MODES, *seed_columns.names(session))


def colour_seeds(session: Session, mode: str) -> SeedColours:
    """The colours of all seeds by `mode`, one of :func:`modes_of`."""
    seeds = seeds_shown(session)
    return _BY_MODE[mode](session, seeds) if mode in _BY_MODE else by_column(session, seeds, mode)


def most_telling(session: Session) -> str:
    """What to colour by until the user chooses: the latest kind of knowledge there is."""
    if session.predictions is not None:
        return "prediction"
    if session.anomaly is not None:
        return "anomaly"
    return "cluster" if session.layout is not None else "label"


def by_label(session: Session, seeds: Ids) -> SeedColours:
    """Class colours of human answers; unsure, not whole and conflicts have their own."""
    scheme = session.scheme
    code_of: dict[object, int] = {c.id: i + 1 for i, c in enumerate(scheme)}
    code_of.update({state: len(scheme) + 1 + i for i, state in enumerate(STATE_RGB)})
    palette = [NONE_RGB, *(rgb(c.color) for c in scheme), *STATE_RGB.values()]
    ids, codes = np.zeros(len(session.labels), np.int64), np.zeros(len(session.labels), np.uint8)
    for i, label in enumerate(session.labels.values()):
        key = label.class_id if label.state is LabelState.LABELLED else label.state
        ids[i], codes[i] = label.seed, code_of.get(key, 0)
    found = set(codes.tolist())
    legend = [(c.name, rgb(c.color)) for c in scheme if not c.hidden or code_of[c.id] in found]
    legend += [(str(s).replace("_", " "), STATE_RGB[s]) for s in STATE_RGB if code_of[s] in found]
    legend.append(("no label", NONE_RGB))
    return _table("label", seeds, lookup(ids, codes, seeds), palette, legend)


def by_prediction(session: Session, seeds: Ids) -> SeedColours:
    """Class colours of the most probable class."""
    scheme = session.scheme
    palette = [NONE_RGB, *(rgb(c.color) for c in scheme)]
    legend = [*((c.name, rgb(c.color)) for c in scheme.active), ("no prediction", NONE_RGB)]
    said = session.predictions
    if said is None:
        return _table("prediction", seeds, np.zeros(len(seeds), np.uint8), palette, legend)
    rows = np.arange(1, len(scheme) + 1, dtype=np.uint8)
    codes = lookup(np.asarray([c.id for c in scheme], np.int64), rows, said.best)
    return _table("prediction", seeds, lookup(said.seeds, codes, seeds), palette, legend)


def by_confidence(session: Session, seeds: Ids) -> SeedColours:
    """Viridis over the probability of the most probable class, from chance to 1."""
    said, ends = session.predictions, ("unsure", "sure")
    if said is None:
        return _scale("confidence", seeds, None, None, VIRIDIS, ends)
    chance = 1 / max(len(said.class_ids), 1)
    fraction = (np.max(said.p, 1) - chance) / max(1 - chance, 1e-9)
    return _scale("confidence", seeds, said.seeds, fraction, VIRIDIS, ends)


def by_anomaly(session: Session, seeds: Ids) -> SeedColours:
    """Inferno over the rank of the anomaly score among all seeds."""
    if session.anomaly is None:
        return _scale("anomaly", seeds, None, None, INFERNO, ("usual", "odd"))
    found = session.anomaly
    return _scale("anomaly", seeds, found.seeds, found.rank, INFERNO, ("usual", "odd"))


def by_disagreement(session: Session, seeds: Ids) -> SeedColours:
    """How far the methods are apart about each seed, from not at all to opposite ends."""
    ends, apart = ("methods agree", "methods disagree"), session.opinions.disagreement(session.pool)
    if apart is None:
        return _scale("disagreement", seeds, None, None, APART, ends)
    return _scale("disagreement", seeds, apart.seeds, apart.spread, APART, ends)


def by_cluster(session: Session, seeds: Ids) -> SeedColours:
    """One of 18 colours per cluster, used again beyond that."""
    palette = [NONE_RGB, *CLUSTERS]
    if session.layout is None:
        return _table("cluster", seeds, np.zeros(len(seeds), np.uint8), palette, [("no map", NONE_RGB)])
    ids, cluster = session.layout.seeds, session.layout.cluster
    codes = np.where(cluster < 0, 0, cluster % len(CLUSTERS) + 1).astype(np.uint8)
    numbers = np.unique(cluster[cluster >= 0])
    legend = [(f"cluster {int(c) + 1}", CLUSTERS[int(c) % len(CLUSTERS)]) for c in numbers[:8]]
    return _table("cluster", seeds, lookup(ids, codes, seeds), palette, legend)


def by_column(session: Session, seeds: Ids, name: str) -> SeedColours:
    """One colour per category, used again beyond 18; viridis over the middle 96 % of numbers."""
    ids, column, unit = seed_columns.values(session, name)
    if column.dtype.kind != "f":
        found, place = np.unique(column, return_inverse=True)
        order = sorted(range(len(found)), key=lambda i: _as_counted(str(found[i])))
        names, rank = found[order], np.argsort(order)
        codes = (rank[place] % len(CLUSTERS) + 1).astype(np.uint8)
        legend = [(str(n), CLUSTERS[i % len(CLUSTERS)]) for i, n in enumerate(names[:N_NAMED])]
        if len(names) > N_NAMED:
            legend.append((f"and {len(names) - N_NAMED} more", NONE_RGB))
        shown = legend or [(f"no {name} known", NONE_RGB)]
        return _table(name, seeds, lookup(ids, codes, seeds), [NONE_RGB, *CLUSTERS], shown)
    low, high = (float(v) for v in np.percentile(column, (2, 98))) if len(column) else (0.0, 1.0)
    fraction = (column - low) / max(high - low, 1e-12)
    ends = number_text(low), f"{number_text(high)} {unit}".rstrip()
    return _scale(name, seeds, ids, fraction, VIRIDIS, ends)


def number_text(value: float) -> str:
    """A number in three digits, with an exponent only where it would have more than 15 of them.

    >>> number_text(50456.0), number_text(0.01234), number_text(24.0)
    ('50,500', '0.0123', '24')
    """
    rounded = float(f"{value:.3g}")
    if rounded and not 1e-15 < abs(rounded) < 1e15:
        return f"{rounded:g}"
    return f"{rounded:,.0f}" if abs(rounded) >= 1000 else np.format_float_positional(rounded, trim="-")


def _as_counted(name: str) -> list[tuple[int, str]]:
    """Sorts tray-2 before tray-10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def _scale(
    mode: str,
    seeds: Ids,
    ids: Ids | None,
    fraction: npt.NDArray[np.floating[Any]] | None,
    stops: tuple[Rgb, ...],
    ends: tuple[str, str],
) -> SeedColours:
    codes = np.zeros(len(seeds), np.uint8)
    if ids is not None and fraction is not None and len(ids):
        steps = (np.clip(np.nan_to_num(fraction), 0, 1) * (N_STEPS - 1) + 1).round().astype(np.uint8)
        codes = lookup(ids, steps, seeds)
    colours = ramp(stops)
    legend = [(ends[0], stops[0]), (ends[1], stops[-1])]
    if ids is None:
        legend = [(_MISSING[mode], NONE_RGB)]
    palette = np.asarray([NONE_RGB, *map(tuple, colours.tolist())], np.uint8)
    return SeedColours(mode, seeds, codes, palette, tuple(legend), ids is not None)


def _table(
    mode: str, seeds: Ids, codes: Codes, palette: list[Any], legend: list[tuple[str, Rgb]]
) -> SeedColours:
    return SeedColours(mode, seeds, codes, np.asarray(palette, np.uint8), tuple(legend))


_MISSING = {  # what to say where a scale has nothing to show
    "confidence": "no prediction yet",
    "anomaly": "no scores yet: Find odd ones",
    "disagreement": "Find odd ones by two methods",
}
_BY_MODE: dict[str, Callable[[Session, Ids], SeedColours]] = {
    "label": by_label,
    "prediction": by_prediction,
    "confidence": by_confidence,
    "anomaly": by_anomaly,
    "disagreement": by_disagreement,
    "cluster": by_cluster,
}
