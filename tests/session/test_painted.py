"""Which painted voxels an anomaly map learns from."""

import numpy as np
import pytest

from napari_seedlab import files
from napari_seedlab.core import TISSUE_SCHEME, ClassScheme, SeedClass
from napari_seedlab.session import Session
from napari_seedlab.session.painted import FORMER, defect_ids, painted_voxels, write_painted
from napari_seedlab.session.verdicts import verdicts
from napari_seedlab.store import Project
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
    seeds = split_session.desk.do(lambda p: write_painted(split_session, p, tmp_path, "ct")).result()
    assert seeds == ([7] if is_written else [])
    path = tmp_path / "painted-1.npz"
    assert path.exists() == is_written
    if is_written:
        voxels = files.load_arrays(path)["voxel"]
        assert voxels.tolist() == [[10, 24, x] for x in range(22, 27)]


SMALL = {"size": 12, "n_steps": 2, "n_fits": 1, "batch": 4, "width": 4, "device": "cpu"}


def test_a_painted_seed_taught_the_scores_and_one_painted_later_did_not(split_session):
    session = split_session
    for row, n in ((24, 5), (8, 1)):  # in the second row of seeds; later in the first
        points = np.stack([np.full(5, row), np.arange(22, 27)], 1)
        session.stroke(1, 0, 10, points, DEFECT)
        if n == 5:
            session.find_odd(SMALL, "distance").wait(60)
    session.answer(2, [2, 7])
    session.answer(1, [3, 4])
    session.desk.do(lambda project: None).result()
    assert session.models[-1].config["painted"] == [7]
    assert verdicts(session, "ct")[0].n_taught == 1


CHOSEN = ClassScheme("tissue", (*FORMER.classes[:2], SeedClass(3, "void", "#0072b2", "3")))
WITH_SCAR = ClassScheme("tissue", (*FORMER.classes, SeedClass(4, "scar", "#cc79a7", "4")))


@pytest.mark.parametrize(
    ("schemes", "is_added"),
    [([FORMER], True), ([CHOSEN], False), ([WITH_SCAR, FORMER], False)],
    ids=["former default", "chosen", "id in use before"],
)
def test_an_older_project_gets_the_class_of_defects_where_it_fits(tmp_path, schemes, is_added):
    with Project.create(tmp_path / "p", tissue=schemes[0]) as project:
        for scheme in schemes[1:]:
            project.set_scheme(scheme)
    with Session.open(tmp_path / "p", read_only=True) as reading:
        assert reading.tissues == schemes[-1]
    with Session.open(tmp_path / "p") as session:
        assert session.tissues == (TISSUE_SCHEME if is_added else schemes[-1])
        assert any("Tissue defect was added" in note for note in session.notes) == is_added
        assert session.undo().wait(60)["event"] is None
    with Session.open(tmp_path / "p") as again:
        assert not again.notes
        assert again.tissues == (TISSUE_SCHEME if is_added else schemes[-1])
