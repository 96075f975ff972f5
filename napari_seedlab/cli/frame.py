"""What all commands share: one JSON object last, one line for a refusal, progress on stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_seedlab.core import InputError, JobState, SeedlabError, Settings, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_seedlab.core import JobStatus
    from napari_seedlab.session import Session

logger = logging.getLogger(__name__)
REFUSED = 1
PROGRESS_EVERY_S = 0.5
LOG_EVERY_S = 5.0
MANY = 8  # numbers that a person still reads one by one
WORDS = {"True": "yes", "False": "no"}
QUIET_S = 3.0  # what is over sooner needs no progress


def run(work: Callable[[], dict[str, Any]], as_json: bool) -> None:
    """Do a command's work, show what it returns, exit with 1 and one line when it is refused."""
    try:
        values = work()
    except SeedlabError as error:
        say(str(error))
        raise SystemExit(REFUSED) from None
    except OSError as error:
        logger.debug("refused by the drive", exc_info=True)
        name = Path(os.fsdecode(error.filename)).name if isinstance(error.filename, str | bytes) else "file"
        say(str(InputError(name, error.strerror or type(error).__name__, "Check the path and the drive")))
        raise SystemExit(REFUSED) from None
    except KeyboardInterrupt:
        say("Stopped.")
        raise SystemExit(130) from None
    sys.stdout.write((json.dumps(values) if as_json else _plain(values)) + "\n")
    sys.stdout.flush()


def say(line: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(one_line(line) + "\n")
    sys.stderr.flush()


def _plain(values: dict[str, Any]) -> str:
    lines = []
    for key, value in values.items():
        if value is None or value == {}:
            continue
        if isinstance(value, list) and not value:
            lines.append(f"{key}: none")
        elif isinstance(value, list) and isinstance(value[0], dict):
            lines += [f"{key}:"] + [
                "  " + "  ".join(f"{k}={v}" for k, v in row.items() if v is not None) for row in value
            ]
        elif isinstance(value, dict):
            lines += [f"{key}:"] + [
                f"  {k}  {WORDS.get(str(v), v)}" for k, v in value.items() if v is not None
            ]
        elif isinstance(value, list) and len(value) > MANY and isinstance(value[0], int | float):
            lines.append(f"{key}: {value[0]:g} to {value[-1]:g}, {len(value)} values")
        else:
            lines.append(f"{key}: {value}")
    return "\n".join(lines)


class _Progress:
    """Shows what a job does: two lines a second to a person, one each tenth or five seconds to a file."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._is_read_live = clock, sys.stderr.isatty()
        self._last, self._tenth = -PROGRESS_EVERY_S, -1

    def show(self, status: JobStatus) -> None:
        """Say how far a job is."""
        now, step = self._clock(), status.progress
        if status.state is not JobState.RUNNING or not step.total or status.seconds < QUIET_S:
            return
        tenth = 10 * step.done // step.total
        is_due = self._is_read_live or tenth != self._tenth or now - self._last >= LOG_EVERY_S
        if now - self._last < PROGRESS_EVERY_S or not is_due:
            return
        self._last, self._tenth = now, tenth
        left = "" if status.seconds_left is None else f", {status.seconds_left:.0f} s left"
        say(f"{step.message or status.id} {100 * step.done / step.total:.0f} %{left}")


@contextmanager
def opened(
    path: Path, scheduler: str = "", random_state: int = 0, read_only: bool = False
) -> Iterator[Session]:
    """Open a project for one command; its jobs run in this process, or at `scheduler`."""
    from napari_seedlab.session import Session

    settings = Settings(scheduler=scheduler, random_state=random_state)
    session = Session.open(path, _runner(settings), settings, read_only)
    progress = _Progress()  # held here: a signal keeps no method's owner alive
    session.desk.status.connect(progress.show)
    session.message.connect(lambda level, text: say(text) if level in ("info", "warning") else None)
    for note in session.notes:
        say(note)
    try:
        yield session
    finally:
        session.close()


def _runner(settings: Settings) -> Any:
    from napari_seedlab import jobs

    runner = jobs.ClusterRunner(settings) if settings.scheduler else jobs.InlineRunner()
    runner.start()
    return runner


def look_at(session: Session, scan: int | None) -> None:
    """Make a scan the current one; None leaves it."""
    if scan is None:
        return
    if scan not in session.scans:
        known = ", ".join(map(str, session.scans)) or "none"
        raise InputError(f"--scan {scan}", "is not in this project", f"Its scans: {known}")
    session.show_scan(scan)
