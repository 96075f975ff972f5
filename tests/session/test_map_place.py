"""Seeds of another scan come onto the map without moving those that are there."""

import threading

import numpy as np
import pytest
import tifffile

from tests.session.conftest import small_tray

WAIT_S = 120


@pytest.mark.parametrize("method", ["pca", "umap"])
def test_new_seeds_move_no_old_ones_until_a_new_map_is_asked_for(split_session, tmp_path, method):
    session = split_session
    session.make_map(method).wait(WAIT_S)
    before = session.layout
    tifffile.imwrite(tmp_path / "other.tif", small_tray(random_state=1)[0])
    scan = session.import_scan(tmp_path / "other.tif").wait(WAIT_S)["scan"]
    session.follow_up = True
    came = threading.Event()
    session.layout_changed.connect(lambda: came.set() if len(session.layouts["ct"].seeds) > 25 else None)
    session.split(scan).wait(WAIT_S)
    assert came.wait(WAIT_S)
    after = session.layouts["ct"]
    rows = [after.row[s] for s in before.seeds.tolist()]
    np.testing.assert_array_equal(after.xy[rows], before.xy)
    new = np.setdiff1d(np.arange(len(after.seeds)), rows)
    assert len(new) == 25 and np.isfinite(after.xy[new]).all()
    assert after.method == method, "the map is still called by what laid it out"
    low, high = before.xy.min(0), before.xy.max(0)
    assert ((after.xy[new] >= low - 1e-4) & (after.xy[new] <= high + 1e-4)).all()
    session.make_map("pca").wait(WAIT_S)
    moved = [session.layout.row[s] for s in before.seeds.tolist()]
    assert np.abs(session.layout.xy[moved] - before.xy).max() > 1e-3
