"""Progress of a job on its way to a reader: bundled to ten a second, with a time left."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from napari_seedlab.core import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PERIOD = 0.1  # seconds between two reports of one job


def to_json(progress: Progress) -> dict[str, Any]:
    """Plain dict of a progress."""
    return {**asdict(progress), "figures": dict(progress.figures)}


def from_json(value: Mapping[str, Any]) -> Progress:
    """The progress of :func:`to_json`."""
    return Progress(value["done"], value["total"], value["message"], value["figures"])


class Coalescer:
    """Passes on at most one progress per `period` seconds; figures of dropped ones are kept by name.

    Parameters
    ----------
    on_progress : callable
        Receives the bundled progress.
    period : float
        Seconds between two calls.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        on_progress: Callable[[Progress], None],
        period: float = PERIOD,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_progress, self._period, self._clock = on_progress, period, clock
        self._next_time = float("-inf")
        self._held: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Take one progress; pass it on if the period is over."""
        figures = {**(self._held.figures if self._held else {}), **progress.figures}
        self._held = replace(progress, figures=figures)
        if self._clock() >= self._next_time:
            self.flush()

    def flush(self) -> None:
        """Pass on what is held."""
        if self._held is not None:
            held, self._held = self._held, None
            self._next_time = self._clock() + self._period
            self._on_progress(held)


class TimeLeft:
    """Estimates the seconds left from the mean rate since the first report.

    The first report is the zero point, so that a job that resumes at step 900 of 1000 is not
    taken for a fast one.

    Examples
    --------
    >>> estimate = TimeLeft()
    >>> estimate(0.0, 0, 10), estimate(2.0, 4, 10)
    (None, 3.0)
    """

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def __call__(self, seconds: float, done: int, total: int) -> float | None:
        """Seconds left after `seconds` with `done` of `total` steps; None while unknown."""
        if self._first is None:
            self._first = (seconds, done)
        n_done, spent = done - self._first[1], seconds - self._first[0]
        if total <= 0 or n_done <= 0 or spent <= 0:
            return None
        return max(0.0, spent * (total - done) / n_done)
