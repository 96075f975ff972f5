"""Opening, locking, refusing: one line each, nothing half done."""

import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys

import numpy as np
import pytest
from small_project import add_scan, facts, merge, raster_of, small_project, state_of

from napari_seedlab.core import (
    ClassScheme,
    InputError,
    LabelState,
    ModelCard,
    ProjectDamaged,
    ProjectError,
    ProjectLocked,
    SeedClass,
    SeedlabError,
)
from napari_seedlab.files import ArraySource, create_zarr, open_array
from napari_seedlab.store import Project, opening
from napari_seedlab.store import lock as lock_module
from napari_seedlab.store.migrations import MIGRATIONS


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "P.seedlab"
    with small_project(path) as project:
        project.label([1, 2], "labelled", 3, "ann")
        table = project.regions(1)
        merge(project, 1, int(table.region[4]), int(table.region[5]))
    return path


@pytest.fixture
def path(template, tmp_path):
    shutil.copytree(template, tmp_path / "P.seedlab")
    return tmp_path / "P.seedlab"


def one_line(caught, name="P.seedlab"):
    text = str(caught.value)
    assert text.startswith(f"{name}: ") and "\n" not in text and len(text) <= 200
    return text


# -- making ------------------------------------------------------------------------------------------
def test_new_project_is_private_and_empty(tmp_path):
    with Project.create(tmp_path / "P.seedlab") as project:
        assert (project.scans(), project.seeds(), project.labels(), project.strokes(1)) == ([], {}, {}, [])
        assert project.scheme("grain").ids == (1, 2, 3, 4)
        assert project.scheme("tissue").ids == (1, 2, 3, 4)
        assert project.check(deep=True) == []
        assert project.history() == ([], [])
    for root, folders, names in os.walk(tmp_path / "P.seedlab"):
        assert all(stat.S_IMODE(os.stat(os.path.join(root, n)).st_mode) == 0o600 for n in names), names
        assert all(stat.S_IMODE(os.stat(os.path.join(root, n)).st_mode) == 0o700 for n in folders)
    assert stat.S_IMODE(os.stat(tmp_path / "P.seedlab").st_mode) == 0o700


def test_files_stay_private_after_work(path):
    with Project.open(path) as project:
        project.label([3], "unsure")
        project.put_arrays("a", x=[1])
        project.set_state("place", 1)
    for root, _, names in os.walk(path):
        assert [n for n in names if os.stat(os.path.join(root, n)).st_mode & 0o077] == []


@pytest.mark.parametrize("there", ["folder", "file"])
def test_existing_name_is_refused(tmp_path, there):
    target = tmp_path / "P.seedlab"
    target.mkdir() if there == "folder" else target.write_bytes(b"mine")
    with pytest.raises(ProjectError, match="exists already") as caught:
        Project.create(target)
    one_line(caught)
    assert os.listdir(tmp_path) == ["P.seedlab"]


def test_nothing_is_left_when_making_fails(tmp_path, monkeypatch):
    with pytest.raises(ProjectError, match="could not be written"):
        Project.create(tmp_path / "nowhere" / "P.seedlab")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(ProjectError, match="No space left"):
        Project.create(tmp_path / "P.seedlab")
    assert os.listdir(tmp_path) == []


# -- opening -----------------------------------------------------------------------------------------
def test_reopened_project_is_the_same(path):
    with Project.open(path) as project:
        before, identity = state_of(project), project.uuid
    with Project.open(path) as project:
        assert state_of(project) == before
        assert project.uuid == identity
        assert project.notes == ()


def test_moved_project_finds_its_own_files(tmp_path):
    with Project.create(tmp_path / "P.seedlab") as project:
        values = np.arange(4 * 24 * 24, dtype="u2").reshape(4, 24, 24)
        cache = project.job_folder("import-1") / "scan.zarr"
        create_zarr(cache, values.shape, (2, 24, 24), "u2")[...] = values
        source = ArraySource(str(cache), "zarr", values.shape, ("z", "y", "x"), "<u2")
        project.add_scan(facts(), source, "ann", cache)
        assert not cache.exists()
    os.rename(tmp_path / "P.seedlab", tmp_path / "Q.seedlab")
    with Project.open(tmp_path / "Q.seedlab", read_only=True) as project:
        np.testing.assert_array_equal(np.asarray(open_array(project.scan_source(1))), values)
        assert project.scans()[0].facts == facts()


def test_source_outside_keeps_its_path(path):
    with Project.open(path) as project:
        assert project.scan_source(1).path == "/data/a.raw"
        with pytest.raises(InputError, match="scan 7"):
            project.scan_source(7)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        ("missing folder", "is not there"),
        ("file", "is a file"),
        ("no database", "holds no project"),
        ("noise", "damaged"),
        ("cut", "damaged"),
        ("noise page", "damaged"),
        ("changed event", "event 3: is not what was written"),
        ("lost event", "some are missing"),
        ("newer", "newer version"),
    ],
)
def test_unusable_project_is_one_line_and_stays_as_it_is(path, damage, cause, read_only):
    hurt(path, damage)
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file() and p.name != "lock"}
    with pytest.raises(ProjectError, match=re.escape(cause)) as caught:
        Project.open(path, read_only=read_only)
    one_line(caught)
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file() and p.name != "lock"} == before
    if damage in ("noise", "cut", "noise page", "changed event", "lost event"):
        assert isinstance(caught.value, ProjectDamaged)


def hurt(path, damage):
    database = path / "project.sqlite"
    content = bytearray(database.read_bytes())
    if damage in ("missing folder", "file"):
        shutil.rmtree(path)
        path.write_bytes(b"x") if damage == "file" else None
    elif damage == "no database":
        database.unlink()
    elif damage == "noise":
        database.write_bytes(os.urandom(len(content)))
    elif damage == "cut":
        database.write_bytes(content[: len(content) // 2])
    elif damage == "noise page":
        at = 4096 * (len(content) // 8192)
        content[at : at + 4096] = np.random.default_rng(0).bytes(4096)
        database.write_bytes(content)
    else:
        statement = {
            "changed event": "UPDATE events SET payload = replace(payload, '1', '2') WHERE sequence = 3",
            "lost event": "DELETE FROM events WHERE sequence = 4",
            "newer": "INSERT INTO schema_version VALUES (99, '')",
        }[damage]
        with sqlite3.connect(database) as connection:
            connection.execute(statement)
        connection.close()


def test_every_page_of_noise_is_found_or_harmless(path):
    """A damaged page never crashes the opening and never shows other labels."""
    database = path / "project.sqlite"
    content = database.read_bytes()
    with Project.open(path) as project:
        expected = project.labels()
    for page in range(0, len(content) // 4096, 3):
        hurt_content = bytearray(content)
        hurt_content[page * 4096 : page * 4096 + 4096] = np.random.default_rng(page).bytes(4096)
        database.write_bytes(hurt_content)
        try:
            with Project.open(path, read_only=True) as project:
                assert project.labels() == expected
        except SeedlabError as error:
            assert len(str(error)) <= 200


# -- one writer --------------------------------------------------------------------------------------
def test_second_window_is_refused_and_told_who(path):
    with Project.open(path):
        with pytest.raises(ProjectLocked) as caught:
            Project.open(path)
        assert f"(process {os.getpid()})" in one_line(caught)
    with Project.open(path) as project:
        assert project.holder.pid == os.getpid()


def test_second_window_reads_what_the_first_writes_and_never_writes(path):
    with Project.open(path) as writer, Project.open(path, read_only=True) as reader:
        writer.label([7], "labelled", 1)
        assert reader.labels() == writer.labels()
        assert reader.holder.pid == os.getpid()
        np.testing.assert_array_equal(raster_of(reader), raster_of(writer))
        for write in (
            lambda: reader.label([7], "unsure"),
            lambda: reader.undo(),
            lambda: reader.next_region_id(),
            lambda: reader.put_arrays("a", x=[1]),
            lambda: reader.set_scheme(reader.scheme("grain")),
            lambda: reader.set_state("place", 1),
            lambda: reader.put_tree("heat-1", path / "regions"),
            lambda: reader.register_model(ModelCard("net-1", "net", "", (1,), ""), {}),
            lambda: reader.drop_job("split"),
        ):
            with pytest.raises(ProjectError, match="is open read-only"):
                write()
        assert (path / "jobs" / "split").is_dir()
        assert [p for name in ("arrays", "models") for p in (path / name).iterdir()] == []
        folder = reader.job_folder("export-1")
        assert folder.is_dir() and not folder.is_relative_to(path)
        assert not (path / "jobs" / "export-1").exists()
    assert not folder.parent.exists()


def test_reading_leaves_no_trace(path):
    def snapshot():
        return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in path.rglob("*")}

    before = snapshot()
    with Project.open(path, read_only=True) as project:
        state_of(project)
        project.check()
    assert snapshot() == before


HOLD = """
import os, signal, sys
sys.path.insert(0, {root!r})
from napari_seedlab.store import Project
project = Project.open({path!r})
project.label([9], "labelled", 1)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_process(path):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = HOLD.format(root=root, path=str(path))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert child.stdout.readline() == b"held\n"
    yield child
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()


def test_killed_writer_frees_the_lock_and_loses_nothing(path, other_process):
    with pytest.raises(ProjectLocked, match=f"process {other_process.pid}"):
        Project.open(path)
    other_process.kill()
    other_process.wait()
    with Project.open(path) as project:
        assert project.labels()[9].class_id == 1
        assert any("was not closed last time" in note for note in project.notes)
        project.close()
    with Project.open(path) as project:
        assert project.notes == ()


def other_host(path, hours=30):
    from datetime import UTC, datetime, timedelta

    since = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    value = {"host": "labpc7", "pid": 5, "user": "eve", "since": since}
    (path / "lock").write_text(json.dumps(value))


def test_lock_of_another_host_counts_on_a_network_drive_only(path, monkeypatch):
    other_host(path)
    Project.open(path).close()
    other_host(path)
    monkeypatch.setattr(opening, "is_network", lambda path: True)
    with pytest.raises(ProjectLocked, match=r"30 hours ago by eve on labpc7"):
        Project.open(path)
    with Project.open(path, take_over=True) as project:
        assert any("network drive" in note for note in project.notes)
        with project._database.reading() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 3
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "truncate"
        project.label([3], "unsure")
        assert project.slowest_commit > 0


def test_local_database_is_synced_at_each_commit(path):
    with Project.open(path) as project, project._database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "truncate"
        assert connection.exec_driver_sql("PRAGMA mmap_size").scalar() == 0


def test_noise_in_the_lock_file_is_no_obstacle(path):
    (path / "lock").write_bytes(b"\xff{not json")
    with Project.open(path) as project:
        assert project.holder.pid == os.getpid()


@pytest.mark.parametrize("error", [13, 30])
def test_read_only_folder_says_so(path, monkeypatch, error):
    plain = os.open

    def refuse(target, flags, *args, **kwargs):
        if flags & os.O_RDWR and str(target).endswith("lock"):
            raise OSError(error, os.strerror(error))
        return plain(target, flags, *args, **kwargs)

    monkeypatch.setattr(lock_module.os, "open", refuse)
    with pytest.raises(ProjectError, match="Open it read-only") as caught:
        Project.open(path)
    one_line(caught)


# -- faults while it is open -------------------------------------------------------------------------
def test_moved_folder_is_noticed_before_an_answer_is_accepted(path):
    project = Project.open(path)
    os.rename(path, path.with_name("moved"))
    with pytest.raises(ProjectError, match="was moved, removed or unmounted") as caught:
        project.label([3], "unsure")
    one_line(caught)
    os.rename(path.with_name("moved"), path)
    project.label([3], "unsure")
    project.close()


def test_folder_that_was_exchanged_is_noticed(path):
    """Without this the answer would go into a file that has no name any more."""
    project = Project.open(path)
    shutil.copytree(path, path.with_name("copy"))
    os.rename(path, path.with_name("moved"))
    os.rename(path.with_name("copy"), path)
    with pytest.raises(ProjectError, match="was moved, removed or unmounted"):
        project.label([3], "unsure")
    project.close()


def test_full_drive_keeps_what_was_saved_and_recovers(path):
    with Project.open(path) as project:
        before = state_of(project)
        with project._database.reading() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        with pytest.raises(ProjectError, match=r"full.*Free some space"):
            for _ in range(200):
                project.label(range(1, 6), "unsure", suggestion={1: {"reason": "x" * 5000}})
                before = state_of(project)
        assert state_of(project) == before
        with project._database.reading() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count=1073741823")
        project.label([3], "labelled", 2)
        assert project.check(deep=True) == []


def test_a_blob_that_cannot_be_written_leaves_no_event(path, monkeypatch):
    with Project.open(path) as project:
        before = state_of(project)

        def full(*args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(ProjectError, match="No space left"):
            project.stroke(1, 0, 0, [[1, 1]], [1])
        monkeypatch.undo()
        assert state_of(project) == before


def test_temporary_files_of_a_killed_writer_are_swept(path):
    (path / "blobs" / ".x.1.ab.tmp").write_bytes(b"x")
    (path / "regions" / "orphan.zarr").mkdir()
    (path / "jobs" / ".y.tmp").write_bytes(b"x")
    with Project.open(path, read_only=True):
        assert (path / "blobs" / ".x.1.ab.tmp").exists()
    with Project.open(path):
        assert not (path / "blobs" / ".x.1.ab.tmp").exists()
        assert not (path / "regions" / "orphan.zarr").exists()
        assert (path / "jobs" / ".y.tmp").exists()


def test_stale_raster_is_brought_up_from_the_patches(path):
    with Project.open(path) as project:
        expected = raster_of(project)
        edited = open_array(project.regions_source(1)).source.path
    shutil.rmtree(edited)
    with Project.open(path) as project:
        np.testing.assert_array_equal(raster_of(project), expected)


@pytest.mark.parametrize("what", ["blobs", "regions", "models", "arrays"])
def test_check_names_each_damaged_file(path, what, tmp_path):
    with Project.open(path) as project:
        (tmp_path / "w.bin").write_bytes(b"weights")
        project.register_model(ModelCard("head-1", "head", "", (1,), ""), {"w.bin": tmp_path / "w.bin"})
        project.put_arrays("a", x=[1, 2])
        assert project.check(deep=True) == []
        files = [p for p in (path / what).rglob("*") if p.is_file() and "edited" not in str(p)]
        files[0].write_bytes(files[0].read_bytes() + b"x")
        (line,) = project.check()
        assert line.startswith(f"{what}/") or line.startswith("head-1")
        assert line.endswith(".") and line.count(". ") == 1  # what is wrong, what to do
        shutil.rmtree(path / what)
        assert len(project.check()) >= 1


def test_deep_check_finds_a_changed_answer(path):
    with sqlite3.connect(path / "project.sqlite") as connection:
        connection.execute("UPDATE labels SET class_id = 4")
    connection.close()
    with Project.open(path) as project:
        assert project.check() == []
        assert project.check(deep=True) == [
            "table labels: is not what the journal amounts to. Rebuild the project."
        ]
        project.rebuild()
        assert project.check(deep=True) == []


def test_database_is_copied_now_and_then(path, monkeypatch):
    monkeypatch.setattr(opening, "SNAPSHOT_AFTER", 1)
    for seed in range(1, 6):
        with Project.open(path) as project:
            project.label([seed], "unsure")
    names = sorted(os.listdir(path / "snapshots"))
    assert len(names) == opening.KEEP_SNAPSHOTS
    (path / "project.sqlite").write_bytes(b"x" * 9000)
    with pytest.raises(ProjectDamaged):
        Project.open(path)
    shutil.copyfile(path / "snapshots" / names[-1], path / "project.sqlite")
    with Project.open(path) as project:
        assert project.labels()[5].state is LabelState.UNSURE


# -- classes, answers --------------------------------------------------------------------------------
def test_class_ids_keep_their_meaning(path):
    with Project.open(path) as project:
        grain = project.scheme("grain")
        without_used = ClassScheme("grain", tuple(c for c in grain if c.id != 3))
        with pytest.raises(InputError, match="class 3 dead is used by labels"):
            project.set_scheme(without_used)
        project.set_scheme(ClassScheme("grain", tuple(c for c in grain if c.id != 2)))
        again = SeedClass(2, "sprouted", "#112233", "2")
        with pytest.raises(InputError, match="class id 2 once meant abnormal"):
            project.set_scheme(ClassScheme("grain", (*project.scheme("grain").classes, again)))
        new = SeedClass(5, "sprouted", "#112233", "2")
        project.set_scheme(ClassScheme("grain", (*project.scheme("grain").classes, new)))
        assert project.scheme("grain").ids == (1, 3, 4, 5)
        assert project.labels()[1].class_id == 3


@pytest.mark.parametrize(
    ("seeds", "state", "class_id", "cause"),
    [
        ([99], "labelled", 1, "seed 99"),
        ([], "labelled", 1, "no seed"),
        ([1], "labelled", 9, "class 9"),
        ([1], "labelled", 0, "class 0"),
        ([1], "conflict", 0, "conflict"),
    ],
)
def test_senseless_answers_are_refused(path, seeds, state, class_id, cause):
    with Project.open(path) as project:
        before = state_of(project)
        with pytest.raises(InputError, match=cause):
            project.label(seeds, state, class_id)
        assert state_of(project) == before


@pytest.mark.parametrize(
    ("place", "points", "classes"),
    [
        ((1, 0, 4), [[0, 0]], [1]),
        ((1, 3, 0), [[0, 0]], [1]),
        ((1, 0, 0), [[0, 24]], [1]),
        ((1, 1, 0), [[4, 0]], [1]),
        ((1, 0, 0), [[-1, 0]], [1]),
        ((1, 0, 0), [[0, 0]], [9]),
        ((1, 0, 0), [[0, 0]], [1, 1]),
        ((1, 0, 0), np.zeros((0, 2)), []),
        ((2, 0, 0), [[0, 0]], [1]),
    ],
)
def test_senseless_strokes_are_refused(path, place, points, classes):
    with Project.open(path) as project:
        with pytest.raises(InputError):
            project.stroke(*place, points, classes)
        assert project.strokes(1) == []


def test_payload_must_be_plain(path):
    with Project.open(path) as project:
        for bad in (float("nan"), object(), "\ud800"):
            with pytest.raises(InputError, match="cannot be written down"):
                project.label([3], "unsure", suggestion={3: {"reason": bad}})
        project.label([3], "unsure", suggestion={3: {"p": np.float32(0.5), "n": np.int64(3)}})
        assert project.label_facts()[3]["suggestion"] == {"p": 0.5, "n": 3}


# -- other formats -----------------------------------------------------------------------------------
def test_older_project_is_copied_then_migrated_in_one_go(path, monkeypatch):
    from napari_seedlab.store import migrations

    def to_3(connection):
        connection.exec_driver_sql("CREATE TABLE extra (x INTEGER)")

    monkeypatch.setattr(migrations.migrate, "__defaults__", ((*MIGRATIONS, to_3),))
    with Project.open(path) as project:
        assert len(project.labels()) == 2
    assert os.listdir(path / "snapshots") == ["before-format-3.sqlite"]


def test_failed_migration_leaves_the_old_project(path, monkeypatch):
    from napari_seedlab.store import migrations

    def to_3(connection):
        connection.exec_driver_sql("CREATE TABLE extra (x INTEGER)")
        raise ProjectError("P.seedlab", "planted")

    monkeypatch.setattr(migrations.migrate, "__defaults__", ((*MIGRATIONS, to_3),))
    with pytest.raises(ProjectError, match="planted"):
        Project.open(path)
    monkeypatch.undo()
    with Project.open(path) as project, project._database.reading() as connection:
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars().all()
        assert "extra" not in tables


def test_broken_chain_makes_no_project(path, tmp_path):
    from dataclasses import replace

    with Project.open(path) as project:
        events = project.events()
    events[5] = replace(events[5], annotator="mallory")
    with pytest.raises(ProjectDamaged, match="event 6: is not what was written"):
        Project.create_from(tmp_path / "Q.seedlab", events, path / "blobs")
    with pytest.raises(ProjectDamaged, match="is missing"):
        Project.create_from(tmp_path / "Q.seedlab", events[:5])
    assert sorted(os.listdir(tmp_path)) == ["P.seedlab"]


def test_names_are_shown_safely(tmp_path):
    with Project.create(tmp_path / "P\n\u202e.seedlab") as project:
        scan = add_scan(project, name="tray 'x' \n ☃").id
        assert project.scans()[0].facts.name == "tray 'x' \n ☃" and scan == 1
        with pytest.raises(ProjectLocked) as caught:
            Project.open(project.path)
        assert "\n" not in str(caught.value) and "\u202e" not in str(caught.value)


def test_importing_the_room_loads_no_database():
    code = "import sys, napari_seedlab.store; print([m for m in ('sqlalchemy', 'zarr') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
