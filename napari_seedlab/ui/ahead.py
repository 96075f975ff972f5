"""The cuts of the seeds that come next, read before somebody asks for them."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_seedlab.ui import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from napari_seedlab.session.session import Session
    from napari_seedlab.ui.background import Background

N_AHEAD = 3
N_KEPT = 24

Cuts = tuple["npt.NDArray[Any]", ...]


class CutsAhead:
    """Gives the cuts of a seed at once where they were read ahead, else as soon as they are read.

    Parameters
    ----------
    background : Background
        Reads beside the event loop.
    show : callable
        Gets a seed and its cuts, that of the seed asked for last; None where no scan shows it.
    """

    def __init__(self, background: Background, show: Callable[[int, Cuts | None], None]) -> None:
        self._background, self._show = background, show
        self._kept: OrderedDict[object, Cuts | None] = OrderedDict()

    def show(self, session: Session, seed: int) -> None:
        """Show the cuts of a seed, in the place of whatever was asked for before."""
        key = _key(session, seed)
        if key in self._kept:
            self._background.drop("cuts")
            self._kept.move_to_end(key)
            self._show(seed, self._kept[key])
            return
        read = partial(reading.read_cuts, session, seed)
        self._background.submit("cuts", read, partial(self._came, key, seed))

    def read_ahead(self, session: Session, seeds: Iterable[int]) -> None:
        """Read the cuts of the next seeds, as far as they are not known."""
        wanted = {_key(session, seed): seed for seed in seeds}
        lacking = {key: seed for key, seed in wanted.items() if key not in self._kept}
        if lacking:
            self._background.submit("ahead", partial(_read, session, lacking), self._keep)

    def forget(self) -> None:
        """Wait for nothing more."""
        self._background.drop("cuts")
        self._background.drop("ahead")

    def _came(self, key: object, seed: int, cuts: Cuts | None) -> None:
        self._keep({key: cuts})
        self._show(seed, cuts)

    def _keep(self, found: dict[object, Cuts | None]) -> None:
        self._kept.update(found)
        while len(self._kept) > N_KEPT:
            self._kept.popitem(last=False)


def to_come(session: Session) -> list[int]:
    """The next suggestions after the seed on the card, in the order in which they are asked."""
    seeds = [asked.seed for asked in session.queue]
    here = seeds.index(session.current_seed) + 1 if session.current_seed in seeds else 0
    return seeds[here : here + N_AHEAD]


def _read(session: Session, wanted: dict[object, int]) -> dict[object, Cuts | None]:
    return {key: reading.read_cuts(session, seed) for key, seed in wanted.items()}


def _key(session: Session, seed: int) -> object:
    """What the cuts depend on: the project, the seed, and the region that shows it."""
    place = session.place_of(seed)
    if place is None:
        return str(session.path), seed, None
    table = session.regions(place[0])
    row = () if table is None else (int(table.region[place[1]]), *table.box[place[1]].tolist())
    n_voxels = 0 if table is None else int(table.n_voxels[place[1]])
    return str(session.path), seed, place[0], n_voxels, row
