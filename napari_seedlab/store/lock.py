"""The lock of the one writer: a kernel lock on a file that says who holds it.

The kernel frees the lock when the process ends, however it ends, so a lock of this host is never
stale. On a network drive another host's lock may be invisible here: what the file says counts there.
"""

from __future__ import annotations

import errno
import fcntl
import getpass
import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from napari_seedlab.core import ProjectError, ProjectLocked

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Holder:
    """Who writes a project: host, process id, user name, UTC time of opening."""

    host: str
    pid: int
    user: str
    since: str

    def __str__(self) -> str:
        return (
            f"{self.user} on {self.host} (process {self.pid}) since {self.since[:16].replace('T', ' ')} UTC"
        )

    def age(self, now: datetime) -> str:
        """How long ago it was opened, in words."""
        try:
            hours = (now - datetime.fromisoformat(self.since)).total_seconds() / 3600
        except ValueError:
            return "at an unknown time"
        return f"{hours * 60:.0f} minutes ago" if hours < 2 else f"{hours:.0f} hours ago"


def user_name() -> str:
    """Name of the OS user, or the user id where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def read_holder(path: Path) -> Holder | None:
    """Who the lock file names, or None."""
    try:
        value = json.loads(path.read_bytes()[:4096])
        return Holder(str(value["host"]), int(value["pid"]), str(value["user"]), str(value["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


class WriterLock:
    """The right to write a project; use :meth:`take`.

    Attributes
    ----------
    was_unclean : bool
        Whether the last holder ended without giving the lock back.
    """

    def __init__(self, descriptor: int, was_unclean: bool) -> None:
        self._descriptor = descriptor
        self.was_unclean = was_unclean

    @classmethod
    def take(
        cls, path: Path, name: str, wait: bool = False, shared_drive: bool = False, take_over: bool = False
    ) -> WriterLock:
        """Lock the file `path` of the project `name`.

        Parameters
        ----------
        path : Path
            Lock file; created when missing.
        name : str
            Name for messages.
        wait : bool
            Wait until the other process is done.
        shared_drive : bool
            Whether other hosts may write the drive; then the name of another host in the file counts.
        take_over : bool
            Ignore that name.

        Raises
        ------
        ProjectLocked
            Somebody else writes the project.
        ProjectError
            The folder is read-only or its drive knows no locks.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            cause = f"cannot be opened for writing ({error.strerror})"
            raise ProjectError(name, cause, "Open it read-only or ask for write permission") from error
        try:
            _flock(descriptor, path, name, wait)
            before = read_holder(path)
            if before and shared_drive and not take_over and before.host != socket.gethostname():
                cause = f"was opened {before.age(datetime.now(UTC))} by {before} and not closed"
                raise ProjectLocked(name, cause, "Close it there, or take it over if that host is gone")
            _write_holder(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor, before is not None)

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
        self._descriptor = -1


def _flock(descriptor: int, path: Path, name: str, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            cause = f"its drive gives no locks ({error.strerror})"
            raise ProjectError(name, cause, "Copy the project to a local drive") from error
        who = read_holder(path)
        raise ProjectLocked(
            name, f"is being edited by {who or 'another process'}", "Close it there, or open it read-only"
        ) from None


def _write_holder(descriptor: int) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder = Holder(socket.gethostname(), os.getpid(), user_name(), since)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(asdict(holder)).encode(), 0)
