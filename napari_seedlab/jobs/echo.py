"""The smallest job: gives its params back. Shows that a runner works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_seedlab.core import JobResult, Progress
from napari_seedlab.jobs.folder import read_request

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Return the params of the request as values."""
    yield Progress(1, 1, "echo")
    return JobResult(read_request(folder).params)
