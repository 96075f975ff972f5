"""Fixtures for the tests of jobs."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def jobs_folder(tmp_path: Path) -> Path:
    """Where job folders lie, as in a project."""
    return tmp_path / "p.seedlab" / "jobs"
