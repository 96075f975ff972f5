"""Reading from disk beside the event loop: the newest answer of each channel is drawn, older ones are not."""

from __future__ import annotations

import logging
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Owned:
    """Work whose result holds something, such as the lock of a project."""

    future: Future[Any]
    then: Callable[[Any], None]

    def give_back(self) -> None:
        """Hand the result back, if there is one, after the work has ended."""
        if not self.future.cancelled() and self.future.exception() is None:
            self.then(self.future.result())


def _give_back(owned: _Owned, _: Future[Any]) -> None:
    owned.give_back()


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
        self._awaited: set[str] = set()  # channels whose newest answer is still to come
        self._owned: dict[str, _Owned] = {}  # results that somebody must take or give back, by channel
        self._unwanted: deque[_Owned] = deque()
        self._finished.connect(self._deliver)

    def submit(
        self,
        channel: str,
        work: Callable[[], Any],
        then: Callable[[Any], None],
        give_back: Callable[[Any], None] | None = None,
    ) -> None:
        """Call ``then(work())``: `work` in the thread, `then` here, unless newer work of `channel` came.

        A result that `then` does not get goes to `give_back`, in the thread and before any newer work.
        """
        if self._pool is None:
            return
        self.drop(channel)
        self._awaited.add(channel)
        future = self._pool.submit(work)
        if give_back is not None:
            self._owned[channel] = _Owned(future, give_back)
        future.add_done_callback(partial(self._hand_over, channel, self._newest[channel], then))

    def drop(self, channel: str) -> None:
        """Forget what `channel` still has under way."""
        self._newest[channel] += 1
        self._awaited.discard(channel)
        owned = self._owned.pop(channel, None)
        if owned is not None and self._pool is not None:
            self._unwanted.append(owned)
            self._pool.submit(self._give_back)

    def is_awaited(self, channel: str) -> bool:
        """Whether an answer of `channel` is still to come."""
        return channel in self._awaited

    def close(self) -> None:
        """Deliver nothing more; a read under way ends by itself."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
            for owned in (*self._drained(), *self._owned.values()):
                owned.future.add_done_callback(partial(_give_back, owned))
            self._owned.clear()
            self._awaited.clear()

    def _give_back(self) -> None:
        for owned in self._drained():
            owned.give_back()

    def _drained(self) -> Iterator[_Owned]:
        """What nobody takes, each once, whichever thread asks."""
        while True:
            try:
                yield self._unwanted.popleft()
            except IndexError:
                return

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
        self._awaited.discard(channel)
        self._owned.pop(channel, None)
        try:
            then(future.result())
        except Exception as error:  # shown in the status card: it must not reach Qt
            self._report(error)
