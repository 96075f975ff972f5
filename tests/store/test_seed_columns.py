"""What tables tell of seeds: kept by the journal, taken back as one, no label."""

import json
import sqlite3

import pytest
from small_project import add_scan, grid_raster, merge, publish_split, small_project, state_of

from napari_seedlab.core import InputError, ProjectError, canonical_json
from napari_seedlab.store import Project, migrations, seed_columns

WEIGHTS = {"Weight": [0.5, None, 12], "treatment": ["heat", "cold", None]}


@pytest.fixture
def project(tmp_path):
    with small_project(tmp_path / "P.seedlab") as opened:
        yield opened


def told(project):
    return project.seed_columns(), {s.id: s.lot for s in project.seeds().values() if s.lot}


def test_a_table_is_one_edit_that_undo_takes_back_also_after_a_restart(project):
    project.label([1], "labelled", 2)
    project.add_seed_table([1, 2, 3], WEIGHTS, ["A", None, "B"], "t.csv", "ann")
    first = ({"Weight": {1: 0.5, 3: 12}, "treatment": {1: "heat", 2: "cold"}}, {1: "A", 3: "B"})
    assert told(project) == first and list(project.seed_columns()) == ["Weight", "treatment"]
    project.add_seed_table([3, 4], {"Weight": [None, 7], "sown": ["1 May", None]}, ["C", None])
    second = told(project)
    assert second[0]["Weight"] == {1: 0.5, 3: 12, 4: 7}  # an empty cell leaves what is known
    assert second[0]["sown"] == {3: "1 May"} and second[1] == {1: "A", 3: "C"}
    path = project.path
    project.close()
    with Project.open(path) as again:
        assert told(again) == second
        again.undo()
        assert told(again) == first
        again.undo()
        assert told(again) == ({}, {}) and len(again.labels()) == 1
        again.redo()
        again.redo()
        assert told(again) == second
        assert again.check(deep=True) == []
        before = state_of(again)
        again.rebuild()
        assert told(again) == second and state_of(again) == before


def test_a_repair_below_a_table_can_be_taken_back_after_it(project):
    regions = project.regions(1)
    merge(project, 1, int(regions.region[0]), int(regions.region[1]))
    project.add_seed_table([1, 3], {"Weight": [1, 2]}, ["A", "A"])
    project.undo()
    project.undo()
    assert told(project) == ({}, {}) and project.seeds()[2].alias_of is None
    project.redo()
    project.redo()
    assert told(project)[1] == {1: "A", 3: "A"} and project.check(deep=True) == []


def test_a_new_split_keeps_what_is_known_and_a_part_that_is_cut_off_has_the_lot(project):
    from small_project import split

    project.add_seed_table([1], {"Weight": [1]}, ["A"])
    split(project, 1, int(project.regions(1).region[0]))
    assert project.seeds()[17].lot == "A" and project.seed_columns() == {"Weight": {1: 1}}
    second = add_scan(project, name="other").id
    publish_split(project, second, grid_raster(project.next_region_id()))
    assert told(project)[0] == {"Weight": {1: 1}}


@pytest.mark.parametrize(
    ("seeds", "columns"), [([1, 99], {"a": [1, 2]}), ([1, 1], {"a": [1, 2]}), ([1], {"a": [None]}), ([], {})]
)
def test_what_cannot_be_kept_is_refused_and_nothing_written(project, seeds, columns):
    n = len(project.events())
    with pytest.raises(InputError):
        project.add_seed_table(seeds, columns)
    assert len(project.events()) == n and project.seed_columns() == {}


def as_before(path):
    """Make of a project what the first format was."""
    with sqlite3.connect(path / "project.sqlite") as connection:
        connection.execute("DROP TABLE seed_columns")
        connection.execute("DELETE FROM schema_version WHERE version > 1")
        connection.execute("INSERT OR IGNORE INTO schema_version VALUES (1, '2026-01-01')")
    connection.close()


def test_a_project_of_the_first_format_opens_and_takes_a_table(project):
    project.label([1], "labelled", 2)
    path, labels = project.path, project.labels()
    project.close()
    as_before(path)
    with Project.open(path, read_only=True) as old:  # as it is: nothing is written
        assert old.labels() == labels and old.seed_columns() == {} and old.check(deep=True) == []
    with Project.open(path) as new:
        assert (path / "snapshots" / "before-format-2.sqlite").is_file()
        assert new.labels() == labels
        new.add_seed_table([2], {"Weight": [3]})
        assert new.check(deep=True) == []
    with Project.open(path, read_only=True) as again:
        assert again.seed_columns() == {"Weight": {2: 3}}


def test_an_empty_database_is_still_refused(project, monkeypatch):
    with project._database.reading() as connection:
        monkeypatch.setattr(migrations, "OLDEST_READ", 3)
        with pytest.raises(ProjectError, match="Open it once for writing"):
            migrations.require_current(connection, "P")


def test_a_project_made_from_the_events_knows_the_same(project, tmp_path):
    project.add_seed_table([1, 2, 3], WEIGHTS, ["A", None, "B"], "t.csv", "ann")
    rasters = {1: project.regions_source(1).path}
    with Project.create_from(
        tmp_path / "Q.seedlab", project.events(), project.path / "blobs", rasters
    ) as made:
        assert told(made) == told(project) and made.check(deep=True) == []


def test_a_merged_seed_has_what_is_known_of_those_it_took_in(project):
    table = project.regions(1)
    region = dict(zip(table.seed.tolist(), table.region.tolist(), strict=True))
    project.add_seed_table(
        [1, 2, 3], {"Weight": [None, 2, 3], "treatment": ["heat", "cold", None]}, [None, None, "B"]
    )
    before = told(project)
    merge(project, 1, region[2], region[3])
    merge(project, 1, region[1], region[2])
    columns, lots = told(project)
    assert columns["Weight"][1] == 2 and columns["treatment"][1] == "heat" and lots[1] == "B"
    assert project.seed_columns()["Weight"] is project.seed_columns()["Weight"]
    assert project.check(deep=True) == []
    project.add_seed_table([1], {"Weight": [5]}, ["A"])
    assert told(project)[0]["Weight"][1] == 5 and told(project)[1][1] == "A"
    project.undo()
    assert told(project) == (columns, lots)
    project.undo()
    project.undo()
    assert told(project) == before


@pytest.mark.parametrize("value", [True, [1], {"a": 1}])
def test_a_value_that_is_neither_text_nor_a_number_is_refused(project, value):
    with pytest.raises(ValueError, match="neither text nor a number"):
        project.add_seed_table([1, 2], {"a": [1, value]})
    assert project.seed_columns() == {}


def test_check_tells_of_a_table_that_is_lost(project):
    event = project.add_seed_table([1], {"Weight": [1]})
    assert project.check() == []
    (project.path / "blobs" / f"{event.payload['table']}.npz").unlink()
    (line,) = project.check()
    assert event.payload["table"] in line and "is missing" in line


def test_a_table_costs_no_reading_of_columns_that_it_does_not_name(project, monkeypatch):
    project.add_seed_table([1, 2], {f"c{i}": [i, "x"] for i in range(10)})
    before, parsed = project.seed_columns(), []
    monkeypatch.setattr(
        seed_columns.json, "loads", lambda text, real=json.loads: parsed.append(text) or real(text)
    )
    project.add_seed_table([1], {"c3": [7]})
    columns = '{"1":3,"2":"x"}', '{"1":7,"2":"x"}'
    project.seed_columns()
    assert [text for text in parsed if text in columns] == list(columns)
    assert not any(text == '{"1":4,"2":"x"}' for text in parsed)
    assert project.seed_columns()["c4"] is before["c4"] and project.seed_columns()["c3"] == {1: 7, 2: "x"}


def test_any_text_is_kept_as_it_was(project):
    texts = {1: 'a"b,\\"', 2: "two\nlines\\n", 10: "\u2028ä{}[]:", 3: "", 4: 2.5, 5: -3}
    project.add_seed_table(list(texts), {"note": list(texts.values())})
    assert project.seed_columns() == {"note": texts}
    with project._database.reading() as connection:
        (kept,) = connection.exec_driver_sql("SELECT cells FROM seed_columns").scalars()
    assert kept == canonical_json({str(seed): value for seed, value in texts.items()})
