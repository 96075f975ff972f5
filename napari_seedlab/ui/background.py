"""Reading from disk beside the event loop: the newest answer of each channel is drawn, older ones are not."""

from __future__ import annotations

import logging
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)


class Background(QObject):
    """One thread that reads, and the way back to the thread of the widgets.

    Parameters
    ----------
    report : callable
        Called on the main thread with the exception of work that failed.
    """

    _finished = Signal(object)

    def __init__(self, report: Callable[[Exception], None]) -> None:
        super().__init__()
        self._report = report
        self._pool: ThreadPoolExecutor | None = ThreadPoolExecutor(1, thread_name_prefix="seedlab-read")
        self._newest: Counter[str] = Counter()
        self._finished.connect(self._deliver)

    def submit(self, channel: str, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Call ``then(work())``: `work` in the thread, `then` here, unless newer work of `channel` came."""
        if self._pool is None:
            return
        self._newest[channel] += 1
        future = self._pool.submit(work)
        future.add_done_callback(partial(self._hand_over, channel, self._newest[channel], then))

    def drop(self, channel: str) -> None:
        """Forget what `channel` still has under way."""
        self._newest[channel] += 1

    def close(self) -> None:
        """Deliver nothing more; a read under way ends by itself."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _hand_over(self, channel: str, number: int, then: Callable[[Any], None], future: Future[Any]) -> None:
        if self._pool is None or future.cancelled():
            return
        try:
            self._finished.emit((channel, number, then, future))
        except RuntimeError:  # the window went away while the thread was reading
            logger.debug("answer of %s came after the end", channel)

    def _deliver(self, answer: tuple[str, int, Callable[[Any], None], Future[Any]]) -> None:
        channel, number, then, future = answer
        if self._pool is None or number != self._newest[channel]:
            return
        try:
            then(future.result())
        except Exception as error:  # shown in the status card: it must not reach Qt
            self._report(error)
