"""What all commands share: one JSON object last, one line for a refusal, progress on stderr."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_seedlab.core import JobState, SeedlabError, Settings, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_seedlab.core import JobStatus
    from napari_seedlab.session import Session

REFUSED = 1
PROGRESS_EVERY_S = 0.5


def run(work: Callable[[], dict[str, Any]], as_json: bool) -> None:
    """Do a command's work, show what it returns, exit with 1 and one line when it is refused."""
    try:
        values = work()
    except SeedlabError as error:
        say(str(error))
        raise SystemExit(REFUSED) from None
    except KeyboardInterrupt:
        say("Stopped.")
        raise SystemExit(130) from None
    sys.stdout.write((json.dumps(values, sort_keys=True) if as_json else _plain(values)) + "\n")
    sys.stdout.flush()


def say(line: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(one_line(line) + "\n")
    sys.stderr.flush()


def _plain(values: dict[str, Any]) -> str:
    lines = []
    for key, value in values.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [f"{key}:"] + ["  " + "  ".join(f"{k}={v}" for k, v in row.items()) for row in value]
        elif isinstance(value, dict):
            lines += [f"{key}:"] + [f"  {k}  {v}" for k, v in value.items()]
        else:
            lines.append(f"{key}: {value}")
    return "\n".join(lines)


class _Progress:
    """Shows at most two lines a second of what a job does."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, status: JobStatus) -> None:
        now = time.monotonic()
        step = status.progress
        if status.state is not JobState.RUNNING or not step.total or now - self._last < PROGRESS_EVERY_S:
            return
        self._last = now
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
    session.desk.status.connect(_Progress())
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


def ensure_embedding(session: Session) -> None:
    """Compute the vectors that are missing."""
    table_seeds = {
        int(s)
        for scan in session.scans_of(session.pool)
        if (table := session.regions(scan.id)) is not None
        for s in table.seed
    }
    known = session.embeddings.get(session.pool)
    if known is None or set(known.seeds.tolist()) != table_seeds:
        session.embed().wait()
