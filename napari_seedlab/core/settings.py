"""What the user may set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Preferences; every one has a default that works offline on a laptop.

    Attributes
    ----------
    annotator : str
        Name written into events; empty means the name of the OS user.
    scheduler : str
        Address of a running dask scheduler; empty starts an own worker.
    memory_limit_gb : float
        Limit of the worker process.
    random_state : int
        Of everything random.
    """

    annotator: str = ""
    scheduler: str = ""
    memory_limit_gb: float = 4.0
    random_state: int = 0
