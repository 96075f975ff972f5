"""The file that was read last stays open while it does not change: the next plane goes on from there."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

Opened = TypeVar("Opened")


class LastOpened(Generic[Opened]):
    """Keeps what `opened` gave for one path, until the file or the path is another.

    Parameters
    ----------
    opened : callable
        ``path`` → context manager of what is kept.
    """

    def __init__(self, opened: Callable[[Path], AbstractContextManager[Opened]]) -> None:
        self._opened = opened
        self._key: tuple[object, ...] = ()
        self._room = ExitStack()
        self._kept: Opened

    def __call__(self, path: Path) -> Opened:
        """What is open of `path`; errors are those of `opened`."""
        try:
            facts = os.stat(path)
            key: tuple[object, ...] = (path, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)
        except (OSError, ValueError):
            key = (path, None)
        if key != self._key:
            self._key = ()
            self._room.close()
            self._kept = self._room.enter_context(self._opened(path))
            self._key = key
        return self._kept
