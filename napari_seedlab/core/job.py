"""Background computations: request, progress, status, result.

A job is a folder ``jobs/<id>/`` with ``request.json`` and arrays; it runs in whatever process
finds the folder. Its states::

    queued ─► starting ─► running ─► completed
       │          │          │  └──► failed        (also from starting)
       └──────────┴──────────┴─────► cancelling ─► cancelled
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return self in (JobState.COMPLETED, JobState.CANCELLED, JobState.FAILED)


TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.STARTING, JobState.CANCELLING, JobState.CANCELLED, JobState.FAILED}),
    JobState.STARTING: frozenset({JobState.RUNNING, JobState.CANCELLING, JobState.FAILED}),
    JobState.RUNNING: frozenset({JobState.COMPLETED, JobState.CANCELLING, JobState.FAILED}),
    JobState.CANCELLING: frozenset({JobState.CANCELLED, JobState.COMPLETED, JobState.FAILED}),
    JobState.COMPLETED: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.FAILED: frozenset(),
}


@dataclass(frozen=True)
class JobRequest:
    """What to compute.

    Attributes
    ----------
    id : str
        Name of the job's folder.
    function : str
        ``module:function`` of a generator ``function(folder) -> Iterator[Progress]`` that returns
        a :class:`JobResult`.
    params : mapping
        Plain JSON, read by the function from ``request.json``.
    number : int
        Grows with every request of the session; answers to older requests are dropped.
    lane : str
        ``live`` (seconds, one at a time), ``background`` (minutes, one at a time), or ``export``.
    random_state : int
    """

    id: str
    function: str
    params: Mapping[str, Any]
    number: int = 0
    lane: str = "live"
    random_state: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain dict for ``request.json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> JobRequest:
        """The request of :meth:`to_json`."""
        return cls(**{k: value[k] for k in ("id", "function", "params", "number", "lane", "random_state")})


@dataclass(frozen=True)
class Progress:
    """One step of a job: `done` of `total` (0 = unknown), a line, and figures such as the loss."""

    done: int
    total: int
    message: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class JobResult:
    """What a job function returns: plain JSON values, and names of files in its folder."""

    values: Mapping[str, Any]
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobStatus:
    """A snapshot of one job, for showing.

    `seconds_left` is None while unknown. `error` is one line, empty unless the job failed;
    `log_path` then names the file with the details.
    """

    id: str
    function: str
    number: int
    state: JobState
    progress: Progress = Progress(0, 0)
    seconds: float = 0.0
    seconds_left: float | None = None
    error: str = ""
    log_path: str = ""
    device: str = ""
