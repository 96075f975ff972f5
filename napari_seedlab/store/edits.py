"""What a repair by hand means for seeds, labels and regions: arrays and values in, rows out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.core import InputError, LabelState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    from napari_seedlab.core import RegionTable, Seed

Row = list[Any]
Said = tuple[str, int, int]  # state, class id, sequence of the event
NOTHING: Said = (str(LabelState.NONE), 0, 0)


@dataclass(frozen=True)
class RepairInput:
    """All that decides what a repair does.

    Attributes
    ----------
    box : tuple of int
        z0, y0, x0, z1, y1, x1, half-open; every region that changes lies inside.
    old, new : int32 arrays of the box
        Region ids before and after.
    table : RegionTable
        Regions of the scan before.
    seeds : dict of int to Seed
        All seeds.
    labels : dict of int to (state, class id, sequence)
        What is known of seeds.
    elsewhere : list of rows
        Regions of other scans that show a seed of this one (rows as in the table `regions`).
    next_seed, next_region : int
        Ids from here on were never used.
    """

    box: tuple[int, int, int, int, int, int]
    old: npt.NDArray[np.int32]
    new: npt.NDArray[np.int32]
    table: RegionTable
    seeds: Mapping[int, Seed]
    labels: Mapping[int, Said]
    elsewhere: list[Row]
    next_seed: int
    next_region: int


@dataclass
class Change:
    """Rows before and after, per table, as the journal keeps them."""

    before: list[Row] = field(default_factory=list)
    after: list[Row] = field(default_factory=list)

    def to_json(self) -> dict[str, list[Row]]:
        """Plain JSON."""
        return {"before": self.before, "after": self.after}


@dataclass
class Repair:
    """What a repair changes."""

    regions: Change = field(default_factory=Change)
    seeds: Change = field(default_factory=Change)
    labels: Change = field(default_factory=Change)


def repair(given: RepairInput) -> Repair:
    """Decide which seeds survive, merge, vanish or appear.

    An old region is followed by the new one that covers most of it. Where several follow into one,
    the lowest seed id survives and the others become its aliases; equal labels merge, unequal
    ones become a conflict. A new region that follows none is a new seed without label; an old
    one that nothing follows leaves its seed archived. *Not one whole seed* is settled by the repair.

    Raises
    ------
    InputError
        Nothing changes, a region reaches out of the box, or an id was used before.
    """
    touched = _touched(given)
    known = {int(r): i for i, r in enumerate(given.table.region)}
    old_regions = sorted(r for r in touched if r in known)
    _check_inside(given, old_regions, known)
    followers = _followers(given, old_regions)
    present = sorted(set(np.unique(given.new).tolist()) & touched)
    result, next_seed = Repair(), given.next_seed
    for region in old_regions:
        result.regions.before.append(_table_row(given.table, known[region]))
    for region in present:
        if region not in known and region < 1:
            raise InputError(f"region {region}", "is no valid id", "Use a new id")
        seeds = sorted({int(given.table.seed[known[r]]) for r in old_regions if followers[r] == region})
        if seeds:
            _join(given, result, seeds)
            keeper = seeds[0]
        else:
            keeper, next_seed = next_seed, next_seed + 1
            result.seeds.after.append([keeper, _lot(given, region, known), False, None])
        result.regions.after.append(_measured_row(given, region, keeper))
    _archive(given, result, [int(given.table.seed[known[r]]) for r in old_regions if followers[r] is None])
    return result


def _touched(given: RepairInput) -> set[int]:
    if given.old.shape != given.new.shape:
        cause = f"old shape {given.old.shape}, new shape {given.new.shape}"
        raise InputError("repair", cause, "Give the same box")
    mask = given.old != given.new
    touched = set(np.unique(given.old[mask]).tolist()) | set(np.unique(given.new[mask]).tolist())
    touched.discard(0)
    if not touched:
        raise InputError("repair", "changes nothing", "Choose other regions")
    unknown = touched - set(given.table.region.tolist())
    used = [r for r in unknown if r >= given.next_region or r < 1]
    if used:
        raise InputError(f"region {used[0]}", "was not reserved for this repair", "Ask for a new id")
    return touched


def _check_inside(given: RepairInput, regions: Iterable[int], known: Mapping[int, int]) -> None:
    low, high = np.asarray(given.box[:3]), np.asarray(given.box[3:])
    for region in regions:
        box = given.table.box[known[region]]
        if (box[:3] < low).any() or (box[3:] > high).any():
            cause = f"reaches out of the repaired box {given.box}"
            raise InputError(f"region {region}", cause, "Repair the whole region at once")


def _followers(given: RepairInput, regions: list[int]) -> dict[int, int | None]:
    """For each old region the new one that follows it, or None.

    A new region descends from the old one that gives it most voxels. An old region is followed by
    its largest descendant, and without one by whatever took most of it.
    """
    overlaps = {region: _overlaps(given.new[given.old == region]) for region in regions}
    parent: dict[int, tuple[int, int]] = {}
    for region, parts in overlaps.items():
        for part, count in parts.items():
            parent[part] = max(parent.get(part, (0, 0)), (count, -region))
    found: dict[int, int | None] = {}
    for region, parts in overlaps.items():
        own = {part: count for part, count in parts.items() if parent[part][1] == -region}
        choice = own or parts
        found[region] = max(choice, key=lambda part: (choice[part], -part)) if choice else None
    return found


def _overlaps(values: npt.NDArray[np.int32]) -> dict[int, int]:
    """Voxels per id, background left out."""
    ids, counts = np.unique(values, return_counts=True)
    return {int(i): int(n) for i, n in zip(ids, counts, strict=True) if i != 0}


def _table_row(table: RegionTable, i: int) -> Row:
    return [
        int(table.region[i]), table.scan, int(table.seed[i]), *table.box[i].tolist(),
        *table.centroid[i].tolist(), int(table.n_voxels[i]),
    ]  # fmt: skip


def _measured_row(given: RepairInput, region: int, seed: int) -> Row:
    places = np.argwhere(given.new == region) + np.asarray(given.box[:3])
    low, high, centre = places.min(0), places.max(0) + 1, places.mean(0)
    return [region, given.table.scan, seed, *low.tolist(), *high.tolist(), *centre.tolist(), len(places)]


def _lot(given: RepairInput, region: int, known: Mapping[int, int]) -> str:
    """Lot of the seed that a new part was cut from."""
    values, counts = np.unique(given.old[given.new == region], return_counts=True)
    for value in values[np.argsort(-counts)].tolist():
        if value in known:
            return given.seeds[int(given.table.seed[known[value]])].lot
    return ""


def _seed_row(seed: Seed) -> Row:
    return [seed.id, seed.lot, seed.archived, seed.alias_of]


def _join(given: RepairInput, result: Repair, seeds: list[int]) -> None:
    """Merge seeds into the first, which takes a lot where it has none; settles *not one whole seed*."""
    keeper, absorbed = seeds[0], seeds[1:]
    own = _seed_row(given.seeds[keeper])
    if lot := "" if own[1] else next((lot for s in absorbed if (lot := given.seeds[s].lot)), ""):
        result.seeds.before.append(own)
        result.seeds.after.append([keeper, lot, *own[2:]])
    for seed in absorbed:
        row = _seed_row(given.seeds[seed])
        result.seeds.before.append(row)
        result.seeds.after.append([row[0], row[1], False, keeper])
    for row in given.elsewhere:
        if row[2] in absorbed:
            result.regions.before.append(list(row))
            result.regions.after.append([row[0], row[1], keeper, *row[3:]])
    before = {seed: given.labels.get(seed, NOTHING) for seed in seeds}
    after = merged_label(list(before.values()))
    for seed in seeds:
        now = after if seed == keeper else NOTHING
        if before[seed] != now:
            result.labels.before.append([seed, *before[seed]])
            result.labels.after.append([seed, *now])


def merged_label(said: list[Said]) -> Said:
    """The label of a seed that takes the place of several: equal ones merge, unequal ones conflict."""
    settled = (str(LabelState.NONE), str(LabelState.NOT_WHOLE))
    known = [label for label in said if label[0] not in settled]
    if not known:
        return NOTHING
    if any(label[:2] != known[0][:2] for label in known):
        return str(LabelState.CONFLICT), 0, 0
    return max(known, key=lambda label: label[2])


def _archive(given: RepairInput, result: Repair, seeds: list[int]) -> None:
    shown = {row[2] for row in (*given.elsewhere, *result.regions.after)}
    for seed in seeds:
        if seed not in shown:
            row = _seed_row(given.seeds[seed])
            result.seeds.before.append(row)
            result.seeds.after.append([row[0], row[1], True, row[3]])
