"""Real scans go through the whole story in the real window; ``SEEDLAB_PICTURES`` = folder for pictures."""

import os
from pathlib import Path

import pytest

from benchmarks.memory import LIMIT_MIB, play_scan

SCANS = Path(__file__).parents[3] / "shared" / "data" / "ct"
PICTURES = os.environ.get("SEEDLAB_PICTURES")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "dark", "least", "most"),
    [
        ("barley_spike_l1", False, 35, 60),
        ("cement_128", True, 200, 2000),
        ("citrus_oil_glands", False, 4000, 9000),
    ],
)
def test_a_real_scan_goes_through_the_whole_story(qapp, name, dark, least, most):
    path = SCANS / f"{name}.tif"
    if not path.exists():
        pytest.skip(f"{path} is not here: the real scans are not part of the repository")

    found = play_scan(path, dark, Path(PICTURES) / name if PICTURES else None)

    assert least <= found["n_seeds"] <= most
    assert found["answers"] == 20
    assert found["peak_rss_mib"] <= LIMIT_MIB
    assert found["exported_files"] > 5
