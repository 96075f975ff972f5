"""Which painted voxels an anomaly map learns from."""

import numpy as np
import pytest

from napari_seedlab import files
from napari_seedlab.core import TISSUE_SCHEME
from napari_seedlab.session.painted import defect_ids, painted_voxels, write_painted
from napari_seedlab.store.records import Stroke

DEFECT, ERASED = 4, -1


def stroke(axis, index, points, value):
    points = np.asarray(points, np.int32)
    return Stroke(1, "", 1, axis, index, points, np.full(len(points), value, np.int8))


def test_only_the_class_of_defects_counts():
    assert [TISSUE_SCHEME.by_id(i).name for i in defect_ids(TISSUE_SCHEME)] == ["defect"]


def test_the_last_stroke_over_a_voxel_counts_whatever_its_slice():
    strokes = [
        stroke(0, 2, [(1, 1), (1, 2), (1, 3)], DEFECT),
        stroke(1, 1, [(2, 2)], 2),  # the same voxel (2, 1, 2), seen from the side
        stroke(0, 2, [(1, 3)], ERASED),
        stroke(2, 0, [(0, 4)], DEFECT),
    ]
    voxels = painted_voxels(strokes, (5, 6, 7), (DEFECT,))
    assert sorted(map(tuple, voxels.tolist())) == [(0, 4, 0), (2, 1, 1)]


@pytest.mark.parametrize(("value", "is_written"), [(DEFECT, True), (3, False)])
def test_a_job_gets_the_painted_defects_of_its_scans(split_session, tmp_path, value, is_written):
    points = np.stack([np.full(5, 24), np.arange(22, 27)], 1)
    split_session.stroke(1, 0, 10, points, value)
    split_session.desk.do(lambda p: write_painted(split_session, p, tmp_path, "ct")).result()
    path = tmp_path / "painted-1.npz"
    assert path.exists() == is_written
    if is_written:
        voxels = files.load_arrays(path)["voxel"]
        assert voxels.tolist() == [[10, 24, x] for x in range(22, 27)]
