"""What repairs, re-splits and merges mean for seeds and labels."""

import numpy as np
import pytest
from small_project import (
    SHAPE,
    add_scan,
    grid_raster,
    merge,
    publish_split,
    raster_of,
    redraw,
    small_project,
    split,
    state_of,
    table_of,
)

from napari_seedlab.core import InputError, Label, LabelState, Modality
from napari_seedlab.files import create_zarr, tree_hash


@pytest.fixture
def project(tmp_path):
    with small_project(tmp_path / "P.seedlab") as opened:
        yield opened


def region_of(project, seed, scan=1):
    table = project.regions(scan)
    return int(table.region[table.row_of_seed(seed)])


def assert_table_fits_raster(project, scan=1):
    table, raster = project.regions(scan), raster_of(project, scan)
    expected = table_of(scan, raster, table.seed)
    for name, column in expected.columns().items():
        np.testing.assert_array_equal(table.columns()[name], column, err_msg=name)


def test_new_split_gives_new_seeds_in_order(project):
    assert list(project.seeds()) == list(range(1, 17))
    assert project.regions(1).seed.tolist() == list(range(1, 17))
    assert_table_fits_raster(project)


def test_merge_keeps_the_lowest_seed_and_makes_the_other_an_alias(project):
    merge(project, 1, region_of(project, 6), region_of(project, 5))
    seeds = project.seeds()
    assert seeds[6].alias_of == 5 and seeds[5].alias_of is None
    assert project.regions(1).row_of_seed(6) is None
    assert region_of(project, 5) in np.unique(raster_of(project))
    assert_table_fits_raster(project)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("labelled", 2), ("labelled", 2), (LabelState.LABELLED, 2)),
        (("labelled", 2), None, (LabelState.LABELLED, 2)),
        (None, ("labelled", 3), (LabelState.LABELLED, 3)),
        (("labelled", 2), ("labelled", 3), (LabelState.CONFLICT, 0)),
        (("unsure", 0), ("labelled", 3), (LabelState.CONFLICT, 0)),
        (("not_whole", 0), ("not_whole", 0), None),
        (("not_whole", 0), ("labelled", 3), (LabelState.LABELLED, 3)),
        (None, None, None),
    ],
)
def test_merged_labels(project, first, second, expected):
    for seed, said in ((5, first), (6, second)):
        if said:
            project.label([seed], *said)
    merge(project, 1, region_of(project, 5), region_of(project, 6))
    assert project.labels().get(5) == (Label(5, *expected) if expected else None)
    assert 6 not in project.labels()


def test_an_answer_about_an_alias_goes_to_the_survivor(project):
    merge(project, 1, region_of(project, 5), region_of(project, 6))
    event = project.label([6], "labelled", 1)
    assert event.payload["seeds"] == [5]
    assert project.labels() == {5: Label(5, LabelState.LABELLED, 1)}


def test_split_by_hand_keeps_the_seed_with_the_largest_part(project):
    project.label([5], "labelled", 2)
    old = region_of(project, 5)
    split(project, 1, old, share=3)  # the first fifth becomes new
    assert region_of(project, 5) == old
    assert list(project.seeds())[-1] == 17
    assert set(project.labels()) == {5}
    split(project, 1, old, share=1)  # all of it gets a new region id: the same seed
    assert list(project.seeds())[-1] == 17
    assert region_of(project, 5) != old
    assert_table_fits_raster(project)


def test_the_larger_part_keeps_the_seed_also_when_it_gets_the_new_id(project):
    old, new = region_of(project, 5), project.next_region_id()

    def cut(crop):
        crop = crop.copy()
        crop[:, :, 1:][crop[:, :, 1:] == old] = new
        return crop

    redraw(project, 1, "split", [old], cut)
    assert region_of(project, 5) == new
    assert region_of(project, 17) == old


def test_split_settles_not_one_whole_seed(project):
    project.label([5], "not_whole")
    split(project, 1, region_of(project, 5))
    assert 5 not in project.labels()
    project.undo()
    assert project.labels()[5].state is LabelState.NOT_WHOLE


def test_moved_border_keeps_both_seeds(project):
    """Most of region a goes to b, but a rest of a stays: two seeds, no alias."""
    a, b = region_of(project, 1), region_of(project, 2)

    def move(crop):
        crop = crop.copy()
        crop[:, :, 2:5][crop[:, :, 2:5] == a] = b
        return crop

    redraw(project, 1, "split", [a, b], move)
    assert (region_of(project, 1), region_of(project, 2)) == (a, b)
    assert project.seeds()[2].alias_of is None


def test_deleted_region_archives_its_seed_with_the_label(project):
    project.label([5], "labelled", 2)
    redraw(project, 1, "delete", [region_of(project, 5)], np.zeros_like)
    assert project.seeds()[5].archived
    assert project.labels()[5].class_id == 2
    assert_table_fits_raster(project)


def test_ids_are_never_used_again_after_undo(project):
    split(project, 1, region_of(project, 5))
    project.undo()
    assert 17 not in project.seeds()
    event = split(project, 1, region_of(project, 6))
    assert [row[0] for row in event.payload["seeds"]["after"]] == [18]
    first = project.next_region_id(64)
    assert project.next_region_id() >= first + 64


def test_undo_and_redo_of_repairs_restore_raster_and_rows(project):
    project.label([5], "labelled", 1)
    before = state_of(project)
    merge(project, 1, region_of(project, 5), region_of(project, 6))
    split(project, 1, region_of(project, 9))
    after = state_of(project)
    project.undo()
    project.undo()
    undone = state_of(project)
    assert undone["rasters"] == before["rasters"] and undone["regions"] == before["regions"]
    assert undone["seeds"] == before["seeds"] and undone["labels"] == before["labels"]
    project.redo()
    project.redo()
    assert {**state_of(project), "history": 0} == {**after, "history": 0}


def test_base_raster_is_never_touched_by_a_repair(project):
    base = next(p for p in (project.path / "regions").iterdir())
    before = tree_hash(base)
    merge(project, 1, region_of(project, 5), region_of(project, 6))
    assert tree_hash(base) == before
    assert project.check(deep=True) == []


def test_rebuilt_raster_is_the_same(project):
    merge(project, 1, region_of(project, 5), region_of(project, 6))
    split(project, 1, region_of(project, 9))
    project.undo()
    before = raster_of(project)
    project.rebuild_regions(1)
    np.testing.assert_array_equal(raster_of(project), before)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda crop, new: crop, "changes nothing"),
        (lambda crop, new: np.where(crop > 0, 5_000_000, 0), "was not reserved"),
        (lambda crop, new: np.where(crop > 0, -4, 0), "was not reserved"),
        (lambda crop, new: crop[:, :, :-1], "Give the same box"),
    ],
)
def test_senseless_repairs_are_refused_whole(project, change, cause):
    before = state_of(project)
    region = region_of(project, 5)
    with pytest.raises(InputError, match=cause):
        redraw(project, 1, "split", [region], lambda crop: change(crop, 0))
    assert state_of(project) == before


def test_repair_must_hold_whole_regions(project):
    box = project.regions(1).box[4].tolist()
    crop = raster_of(project)[box[0] : box[3], box[1] : box[4], box[2] : box[5] - 1]
    with pytest.raises(InputError, match="reaches out of the repaired box"):
        project.repair(1, "delete", (*box[:5], box[5] - 1), np.zeros_like(crop))


# -- splitting anew ----------------------------------------------------------------------------------
def test_resplit_archives_the_vanished_and_brings_the_matched_back(project):
    project.label([3, 4], "labelled", 2)
    raster = grid_raster(project.next_region_id(), n=15)
    publish_split(project, 1, raster, seed=[1, 2, 0, 0, *range(5, 16)])
    seeds = project.seeds()
    assert [s for s in seeds if seeds[s].archived] == [3, 4, 16]
    assert list(seeds)[-2:] == [17, 18]
    assert project.labels()[3].class_id == 2
    publish_split(project, 1, grid_raster(project.next_region_id(), n=3), seed=[3, 16, 1])
    seeds = project.seeds()
    assert not seeds[3].archived and not seeds[16].archived and seeds[2].archived
    assert project.labels()[3].class_id == 2


def test_resplit_matched_with_an_alias_is_the_survivor(project):
    merge(project, 1, region_of(project, 5), region_of(project, 6))
    publish_split(project, 1, grid_raster(project.next_region_id(), n=2), seed=[6, 0])
    assert project.regions(1).seed.tolist() == [5, 17]


def test_seed_that_another_scan_shows_is_not_archived(project):
    second = add_scan(project, name="other").id
    publish_split(project, second, grid_raster(project.next_region_id(), n=3), seed=[1, 2, 3])
    publish_split(project, 1, grid_raster(project.next_region_id(), n=1), seed=[0])
    seeds = project.seeds()
    assert not any(seeds[s].archived for s in (1, 2, 3)) and seeds[4].archived


def test_merge_carries_the_rows_of_other_scans_along(project):
    second = add_scan(project, name="other").id
    publish_split(project, second, grid_raster(project.next_region_id(), n=2), seed=[6, 7])
    merge(project, 1, region_of(project, 5), region_of(project, 6))
    assert project.regions(second).seed.tolist() == [5, 7]
    project.undo()
    assert project.regions(second).seed.tolist() == [6, 7]


def test_repairs_of_gone_regions_cannot_be_taken_back(project):
    project.label([9], "labelled", 1)
    merge(project, 1, region_of(project, 5), region_of(project, 6))
    event = project.label([10], "labelled", 1)
    publish_split(project, 1, grid_raster(project.next_region_id()), seed=np.zeros(16))
    done, _ = project.history()
    assert [e.sequence for e in done] == [event.sequence]


def test_hyperspectral_scan_has_a_flat_raster(project):
    scan = add_scan(project, modality=Modality.HSI, shape=(7, 24, 24)).id
    raster = grid_raster(project.next_region_id(), shape=(1, 24, 24))
    publish_split(project, scan, raster)
    assert project.regions_source(scan).shape == (1, 24, 24)


def wrong_split(project, kind):
    first = project.next_region_id()
    raster = grid_raster(first, n=2)
    table = table_of(1, raster)
    if kind == "shape":
        raster = raster[:, :, :-1]
    if kind == "twice":
        table.region[1] = table.region[0]
    if kind == "taken":
        table.region[1] = region_of(project, 5)
    if kind == "seed":
        table.seed[0] = 99
    if kind == "double seed":
        table.seed[:] = 5
    if kind == "box":
        table.box[1, 5] = 25
    if kind == "zero":
        table.region[0] = 0
    dtype = np.int16 if kind == "dtype" else np.int32
    create_zarr(project.path / "jobs" / "r.zarr", raster.shape, SHAPE, dtype)[...] = raster
    return table


@pytest.mark.parametrize(
    "kind", ["shape", "dtype", "twice", "taken", "seed", "double seed", "box", "zero"]
)  # fmt: skip
def test_split_that_does_not_fit_is_refused_whole(project, kind):
    table = wrong_split(project, kind)
    before = state_of(project)
    with pytest.raises(InputError):
        project.add_split(1, {}, table, project.path / "jobs" / "r.zarr")
    assert state_of(project) == before
    assert project.check(deep=True) == []
