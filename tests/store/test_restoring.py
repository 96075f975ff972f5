"""A project made from the events and files of another one, which may be a stranger's."""

import copy
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from small_project import (
    add_scan,
    facts,
    grid_raster,
    publish_split,
    raster_of,
    small_project,
    state_of,
)

from napari_seedlab.core import EventKind, ModelCard, ProjectDamaged, Suggestion, event_hash
from napari_seedlab.files import ArraySource, create_zarr, open_array, read_json, write_json
from napari_seedlab.store import Project


@pytest.fixture
def project(tmp_path):
    with small_project(tmp_path / "P.seedlab") as opened:
        (tmp_path / "w.bin").write_bytes(b"weights")
        opened.register_model(ModelCard("net-1", "net", "", (1, 2), ""), {"w.bin": tmp_path / "w.bin"})
        opened.label([1], "labelled", 2)
        yield opened


def rewritten(events, kind, change):
    """The events with the payload of the first of a kind changed, and a chain that fits."""
    first = next(e.sequence for e in events if e.kind is kind)
    before, out = "0" * 64, []
    for event in events:
        payload = copy.deepcopy(dict(event.payload))
        if event.sequence == first:
            change(payload)
        fields = (event.sequence, event.uuid, event.utc, event.annotator, event.kind, payload)
        out.append(replace(event, payload=payload, prev_hash=before, hash=event_hash(*fields, before)))
        before = out[-1].hash
    return out


def attached(project, folder, meanwhile=lambda: None):
    """The attachments of an export; what goes on `meanwhile` does not show in them."""
    named = project.attach(folder / "frozen")
    meanwhile()
    for name, path in named.items():
        target = folder / "attached" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if os.path.isdir(path) else shutil.copyfile)(path, target)
    return folder / "attached"


def put(*keys, value):
    def change(payload):
        for key in keys[:-1]:
            payload = payload[key]
        payload[keys[-1]] = value

    return change


ESCAPES = {
    "raster": (EventKind.SPLIT, put("raster", "name", value="../../victim")),
    "absolute raster": (EventKind.SPLIT, put("raster", "name", value="/victim")),
    "raster number": (EventKind.SPLIT, put("raster", "name", value=7)),
    "model folder": (EventKind.MODEL, put("folder", value="../../victim")),
    "model file": (EventKind.MODEL, put("files", value={"../x": "0"})),
    "blob": (EventKind.SPLIT, put("table", value="../../victim")),
    "scan": (EventKind.SCAN, put("source", "path", value="scans/../../victim")),
    "other folder": (EventKind.SCAN, put("source", "path", value="models/x")),
}


@pytest.mark.parametrize("case", ESCAPES)
def test_names_in_foreign_events_cannot_leave_the_folder(case, project, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "mine").write_bytes(b"mine")
    raster = {1: project.regions_source(1).path}
    events = rewritten(project.events(), *ESCAPES[case])
    frozen = attached(project, tmp_path)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(ProjectDamaged, match=r"event \d+|blob") as caught:
        Project.create_from(tmp_path / "Q.seedlab", events, project.path / "blobs", raster, attached=frozen)
    assert "\n" not in str(caught.value)
    assert (victim / "mine").read_bytes() == b"mine" and sorted(os.listdir(tmp_path)) == before


def test_one_raster_never_replaces_another(project, tmp_path):
    second = add_scan(project, name="other").id
    publish_split(project, second, grid_raster(project.next_region_id()))
    events = project.events()
    names = [e.payload["raster"]["name"] for e in events if e.kind is EventKind.SPLIT]
    events = rewritten(events, EventKind.SPLIT, put("raster", "name", value=names[1]))
    rasters = {scan: project.regions_source(scan).path for scan in (1, second)}
    with pytest.raises(ProjectDamaged, match="named twice"):
        Project.create_from(tmp_path / "Q.seedlab", events, project.path / "blobs", rasters)


def drop(*keys):
    def change(payload):
        for key in keys[:-1]:
            payload = payload[key]
        del payload[keys[-1]]

    return change


MALFORMED = {
    "scan id": (EventKind.SCAN, drop("scan")),
    "facts": (EventKind.SCAN, drop("facts", "shape")),
    "modality": (EventKind.SCAN, put("facts", "modality", value="mri")),
    "source": (EventKind.SCAN, drop("source", "layout")),
    "scheme": (EventKind.SCHEME, drop("classes")),
    "scheme class": (EventKind.SCHEME, put("classes", value=[{"id": 1}])),
    "raster": (EventKind.SPLIT, drop("raster")),
    "raster name": (EventKind.SPLIT, drop("raster", "name")),
    "label seeds": (EventKind.LABEL, drop("seeds")),
    "label seed": (EventKind.LABEL, put("seeds", value=["x"])),
    "huge seed": (EventKind.LABEL, put("seeds", value=[2**70])),
    "label state": (EventKind.LABEL, put("state", value="maybe")),
    "card": (EventKind.MODEL, drop("card", "kind")),
    "card classes": (EventKind.MODEL, drop("card", "class_ids")),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_event_is_one_line(case, project, tmp_path):
    raster = {1: project.regions_source(1).path}
    events = rewritten(project.events(), *MALFORMED[case])
    with pytest.raises(ProjectDamaged) as caught:
        Project.create_from(tmp_path / "Q.seedlab", events, project.path / "blobs", raster)
    assert "\n" not in str(caught.value) and not (tmp_path / "Q.seedlab").exists()


def test_a_table_that_leads_outside_is_not_followed(project):
    with project._database.transaction() as connection:
        connection.exec_driver_sql("UPDATE rasters SET base = '../../x'")
        connection.exec_driver_sql("UPDATE models SET folder = '../../x'")
    for read in (
        lambda: project.regions_source(1),
        lambda: project.model_path("net-1", "w.bin"),
        project.check,
    ):
        with pytest.raises(ProjectDamaged, match="cannot be a file name"):
            read()


def add_copied_scan(project):
    values = np.arange(4 * 24 * 24, dtype="u2").reshape(4, 24, 24)
    cache = project.job_folder("import-1") / "scan.zarr"
    create_zarr(cache, values.shape, (2, 24, 24), "u2")[...] = values
    source = ArraySource(str(cache), "zarr", values.shape, ("z", "y", "x"), "<u2")
    return project.add_scan(facts(), source, "ann", cache).id, values


def test_models_caches_copies_and_place_come_along(project, tmp_path):
    scan, values = add_copied_scan(project)
    project.put_arrays("head-ct", seed=[1], p=[[0.5, 0.5]])
    create_zarr(tmp_path / "h.zarr", (2, 3, 4), (2, 3, 4), "f2")[...] = 7
    project.put_tree("heat-1", tmp_path / "h.zarr")
    asked = Suggestion("u", 3, 0.5, "margin", "because", 1.0)
    place = {"queue": [{**vars(asked), "evidence": []}], "current_seed": 3}
    project.set_state("place", place)
    project.set_state("scan", scan)
    before, frozen = (
        state_of(project),
        attached(project, tmp_path, lambda: project.put_arrays("head-ct", seed=[2], p=[[0.1, 0.9]])),
    )
    names = [str(p.relative_to(frozen)) for p in frozen.rglob("*") if p.is_file()]
    with project.__class__.create_from(
        tmp_path / "Q.seedlab", project.events(), frozen / "blobs",
        {1: project.regions_source(1).path}, project.uuid, frozen,
    ) as again:  # fmt: skip
        assert state_of(again) == before and again.check(deep=True) == []
        assert again.model_path("net-1", "w.bin").read_bytes() == b"weights"
        assert again.next_model_number("net") == 2 and again.next_model_number("fcdd") == 1
        assert again.get_arrays("head-ct")["seed"].tolist() == [1]
        assert (open_array(again.tree_source("heat-1"))[...] == 7).all()
        assert again.get_state("place") == place and again.get_state("scan") == scan
        source = again.scan_source(scan)
        assert source.path.startswith(str(again.path))
        np.testing.assert_array_equal(open_array(source)[...], values)
        assert again.stored_source(scan) == project.stored_source(scan)
    assert {n.split("/")[0] for n in names} == {"blobs", "models", "arrays", "scans", "state.json"}
    with Project.open(tmp_path / "Q.seedlab") as again:
        assert again.check(deep=True) == []


@pytest.mark.parametrize("state", [[], {"place": 1}, {"place": {"queue": [{"x": 1}]}}, {"scan": 1}])
def test_a_senseless_place_is_left(state, project, tmp_path):
    frozen = attached(project, tmp_path)
    (frozen / "state.json").unlink(missing_ok=True)
    write_json(frozen / "state.json", state)
    with Project.create_from(tmp_path / "Q", project.events(), frozen / "blobs", attached=frozen) as again:
        assert again.get_state("place") is None
    assert not (tmp_path / "Q" / "state.json").exists() or read_json(tmp_path / "Q" / "state.json") == {}


# -- the scans themselves ----------------------------------------------------------------------------
def test_check_reads_the_copies_of_scans(project):
    scan, _ = add_copied_scan(project)
    assert project.check() == []
    chunk = next(p for p in (project.path / "scans" / f"{scan}.zarr" / "c").rglob("*") if p.is_file())
    chunk.write_bytes(chunk.read_bytes() + b"x")
    (line,) = project.check()
    assert line.startswith(f"scans/{scan}.zarr: is not what was written")


def linked(project, tmp_path):
    from napari_seedlab.files import file_hash

    path = tmp_path / "tray.raw"
    path.write_bytes(bytes(4 * 24 * 24))
    now = path.stat()
    known = replace(facts(), source_path=str(path), source_size=now.st_size, source_mtime_ns=now.st_mtime_ns)
    source = ArraySource(
        str(path), "raw", known.shape, ("z", "y", "x"), "|u1", size=now.st_size, sha256=file_hash(path)
    )
    project.add_scan(known, source)
    return path


CHANGES = {
    "size": (lambda p: p.write_bytes(p.read_bytes() + b"1"), "changed on disk"),
    "gone": (lambda p: p.unlink(), "cannot be read"),
    "content": (lambda p: p.write_bytes(b"1" * p.stat().st_size), "written again"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_linked_file_that_changed_is_told(case, tmp_path):
    change, words = CHANGES[case]
    with Project.create(tmp_path / "P.seedlab") as project:
        path = linked(project, tmp_path)
        assert project.check() == [] and project.changed_sources() == []
        change(path)
        if case == "content":
            os.utime(path, ns=(5, 5))
        for line in (*project.check(), *project.changed_sources()):
            assert words in line and "tray.raw" in line and "\n" not in line
        assert len(project.check()) == len(project.changed_sources()) == 1


def test_a_hash_tells_what_size_and_time_do_not(tmp_path):
    with Project.create(tmp_path / "P.seedlab") as project:
        path = linked(project, tmp_path)
        now = path.stat()
        path.write_bytes(b"1" * now.st_size)
        os.utime(path, ns=(now.st_atime_ns, now.st_mtime_ns))
        assert project.changed_sources() == []
        (line,) = project.check()
        assert "hash differs" in line and "tray.raw" in line


def test_the_same_bytes_written_again_are_no_damage(tmp_path):
    with Project.create(tmp_path / "P.seedlab") as project:
        os.utime(linked(project, tmp_path), ns=(5, 5))
        assert project.check() == [] and len(project.changed_sources()) == 1


# -- frozen rasters ----------------------------------------------------------------------------------
@pytest.mark.parametrize("is_edited", [False, True])
def test_a_frozen_raster_does_not_follow_repairs(is_edited, project, tmp_path):
    from small_project import merge

    table = project.regions(1)
    if is_edited:
        merge(project, 1, int(table.region[8]), int(table.region[9]))
    expected = raster_of(project)
    frozen = project.raster_snapshot(1, tmp_path)
    chunks = [p for p in (tmp_path / "raster-1.zarr" / "c").rglob("*") if p.is_file()]
    assert chunks and all(p.stat().st_nlink > 1 for p in chunks)  # no voxel was copied
    merge(project, 1, int(table.region[4]), int(table.region[5]))
    assert (raster_of(project) != expected).any()
    np.testing.assert_array_equal(open_array(frozen)[...], expected)


def test_a_frozen_raster_where_there_are_no_links(project, tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    frozen = project.raster_snapshot(1, tmp_path)
    np.testing.assert_array_equal(open_array(frozen)[...], raster_of(project))
