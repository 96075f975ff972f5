import csv
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from snapshots import CUBE, FACTS, chain, state

from napari_seedlab.core import GRAIN_SCHEME, EventKind, InputError, JobRequest, ProjectError, Scan
from napari_seedlab.files import file_hash, open_array, write_json
from napari_seedlab.io import (
    describe,
    export_steps,
    read_export,
    read_labels_csv,
    read_snapshot,
    reader,
    write_export,
    write_snapshot,
)
from napari_seedlab.io import export as module
from napari_seedlab.io import export_volumes as module_volumes
from napari_seedlab.io.export import scan_stem
from napari_seedlab.io.export_tables import tables

STEM = "scan1_tray_1"


@pytest.fixture
def snapshot(tmp_path):
    (tmp_path / "state").mkdir()
    return state(tmp_path / "state")


@pytest.fixture
def exported(snapshot, tmp_path):
    write_export(snapshot, tmp_path / "out")
    return tmp_path / "out"


def rows(path):
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def equal(a, b):
    """Whether two snapshots hold the same, arrays included."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return a == b


def test_a_snapshot_survives_its_files(snapshot, tmp_path):
    write_snapshot(snapshot, tmp_path)
    assert equal(asdict(read_snapshot(tmp_path)), asdict(snapshot))


def test_an_empty_snapshot_survives_and_exports(snapshot, tmp_path):
    empty = type(snapshot)("p", snapshot.scheme, snapshot.tissue_scheme)
    write_snapshot(empty, tmp_path)
    assert read_snapshot(tmp_path) == empty
    write_export(empty, tmp_path / "out")
    assert read_export(tmp_path / "out").events == ()


def test_one_row_for_each_seed(exported):
    table = {int(r["seed"]): r for r in rows(exported / "labels.csv")}
    assert list(table) == [1, 2, 4, 9, 70_000]
    assert (table[1]["class_id"], table[1]["class"], table[1]["state"]) == ("3", "dead", "labelled")
    assert (table[2]["class_id"], table[2]["class"], table[2]["state"]) == ("0", "unsure", "unsure")
    assert (table[4]["class"], table[4]["state"], table[4]["scan"]) == ("", "not_whole", "2")
    assert (table[9]["class"], table[9]["scan"], table[9]["alias_of"], table[9]["archived"]) == (
        "normal",
        "",
        "1",
        "1",
    )
    assert (table[1]["annotator"], table[1]["lot"]) == ("'=anna", "'+lot")
    assert (table[1]["asked_reason"], table[1]["inclusion_p"]) == ("between normal and dead", "0.25")
    assert (table[70_000]["asked_reason"], table[70_000]["state"]) == ("typical", "none")
    assert (table[1]["p_dead"], table[1]["predicted_class"], table[1]["model"]) == ("0.6", "dead", "head-1")
    assert (table[9]["p_dead"], table[9]["model"]) == ("", "")
    assert (table[2]["anomaly_score"], table[70_000]["anomaly_score"]) == ("0.5", "")


def test_each_pool_has_its_predictions_and_scores(exported):
    table = {int(r["seed"]): r for r in rows(exported / "labels.csv")}
    cells = ("p_normal", "p_abnormal", "p_dead", "predicted_class", "model")
    assert [table[4][c] for c in cells] == ["", "0.25", "0.75", "dead", "net-2"]
    assert (table[4]["anomaly_score"], table[4]["anomaly_model"]) == ("0.125", "fcdd-2")
    assert (table[1]["model"], table[2]["anomaly_model"]) == ("head-1", "fcdd-1")  # the first table counts


def test_places_are_in_voxels_and_um(exported):
    first = rows(exported / "labels.csv")[0]
    assert [float(first[f"centroid_{a}"]) for a in "zyx"] == [0, 0.5, 2]
    assert [float(first[f"centroid_{a}_um"]) for a in "zyx"] == [0, 10, 40]
    assert [int(first[f"box_{a}{e}"]) for e in "01" for a in "zyx"] == [0, 0, 1, 1, 2, 4]
    assert [float(first[f"box_{a}{e}_um"]) for e in "01" for a in "zyx"] == [-20, -10, 10, 20, 30, 70]
    cube = next(r for r in rows(exported / "labels.csv") if r["scan"] == "2")
    assert (cube["centroid_z_um"], float(cube["centroid_y_um"]), float(cube["centroid_x_um"])) == (
        "",
        62.5,
        100,
    )


def test_every_column_is_explained(exported):
    explained = {(r["table"], r["column"]) for r in rows(exported / "columns.csv")}
    for table in ("labels.csv", "events.csv", "regions.csv"):
        header = next(csv.reader((exported / table).read_text("utf-8").splitlines()))
        assert explained >= {(table, column) for column in header}
        assert len(set(header)) == len(header)
    assert all(r["meaning"] for r in rows(exported / "columns.csv"))


def test_events_have_a_row_for_each_seed(exported):
    table = rows(exported / "events.csv")
    assert [(r["sequence"], r["kind"], r["seed"], r["class"]) for r in table] == [
        ("1", "scan", "", ""),
        ("2", "label", "1", "dead"),
        ("2", "label", "2", "dead"),
        ("3", "undo", "", ""),
    ]
    assert (table[1]["reason"], table[2]["reason"], table[3]["undoes"]) == (
        "between normal and dead",
        "",
        "2",
    )


def test_the_label_table_is_a_labels_file(exported):
    said = read_labels_csv(exported / "labels.csv", GRAIN_SCHEME, [1, 2, 4, 9, 70_000])
    assert said == [(1, 3), (2, "unsure"), (9, 1)]


@pytest.mark.parametrize("kind", ["classes", "instances"])
@pytest.mark.parametrize("scan", [1, 2])
def test_volumes_hold_classes_and_seeds(kind, scan, snapshot, exported):
    raster = open_array(snapshot.regions_sources[scan])[...]
    table = snapshot.regions[scan]
    expected = np.zeros_like(raster)
    for region, seed in zip(table.region, table.seed, strict=True):
        label = snapshot.labels.get(int(seed))
        expected[raster == region] = seed if kind == "instances" else (label.class_id if label else 0)
    stem = scan_stem(snapshot.scans[scan - 1])

    tiff = exported / f"{stem}_{kind}.ome.tif"
    np.testing.assert_array_equal(tifffile.imread(tiff).reshape(raster.shape), expected)
    group = zarr.open_group(str(exported / f"{stem}_{kind}.ome.zarr"), mode="r")
    np.testing.assert_array_equal(group["0"][...], expected)


def test_volumes_keep_their_voxel_size(exported):
    facts, source = describe(exported / f"{STEM}_classes.ome.tif")
    assert (facts.voxel_size_um, facts.dtype, facts.shape) == (FACTS.voxel_size_um, "uint8", FACTS.shape)
    assert reader().planes(source.path, facts, 0, 1).max() == 3
    with tifffile.TiffFile(exported / f"{STEM}_instances.ome.tif") as tif:
        assert tif.is_ome and tif.series[0].axes == "ZYX" and tif.series[0].dtype == np.uint32
    ome = json.loads((exported / f"{STEM}_classes.ome.zarr" / "zarr.json").read_text("utf-8"))["attributes"][
        "ome"
    ]
    (scales,) = ome["multiscales"]
    assert ome["version"] == "0.5" and [a["unit"] for a in scales["axes"]] == ["micrometer"] * 3
    assert scales["datasets"][0]["coordinateTransformations"] == [
        {"type": "scale", "scale": [40.0, 20.0, 20.0]}
    ]
    assert ome["image-label"]["properties"][2] == {"label-value": 3, "class": "dead"}


def test_a_cube_has_no_depth_in_um(exported):
    facts, _ = describe(exported / "scan2_cube_classes.ome.tif")
    assert facts.voxel_size_um[1:] == CUBE.voxel_size_um[1:]
    ome = json.loads((exported / "scan2_cube_classes.ome.zarr" / "zarr.json").read_text())["attributes"][
        "ome"
    ]
    assert "unit" not in ome["multiscales"][0]["axes"][0]


def test_the_same_state_gives_the_same_bytes(snapshot, exported, tmp_path):
    write_export(snapshot, tmp_path / "again")
    names = sorted(p.relative_to(exported) for p in exported.rglob("*") if p.is_file())
    assert names == sorted(
        p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file()
    )
    for name in names:
        if name.name != "manifest.json":
            assert (exported / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    manifests = [json.loads((f / "manifest.json").read_text()) for f in (exported, tmp_path / "again")]
    assert {**manifests[0], "created_utc": ""} == {**manifests[1], "created_utc": ""}


def test_reading_back_loses_nothing(snapshot, exported):
    read = read_export(exported)
    for name in ("project_uuid", "scheme", "tissue_scheme", "scans", "seeds", "events"):
        assert getattr(read, name) == getattr(snapshot, name), name
    assert read.sources == snapshot.image_sources
    for scan, table in snapshot.regions.items():
        assert equal(read.regions[scan].columns(), table.columns())
    assert {name: path.read_bytes() for name, path in read.attachments.items()} == {
        "blobs/a.npz": b"strokes", "regions/r.zarr/leaf": b"leaf",
    }  # fmt: skip
    assert set(read.volumes) == {(s, k) for s in (1, 2) for k in ("classes", "instances")}


def test_the_manifest_lists_every_file(exported):
    listed = json.loads((exported / "manifest.json").read_text())["files"]
    found = {p.relative_to(exported).as_posix() for p in exported.rglob("*") if p.is_file()}
    assert set(listed) == found - {"manifest.json"}
    assert all(file_hash(exported / name) == facts["sha256"] for name, facts in listed.items())


def damage_byte(folder):
    path = folder / "labels.csv"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def edit_event(folder):
    """Change an answer and the manifest with it: only the chain can tell."""
    path = folder / "events.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"class_id":3', b'"class_id":1'))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["events.jsonl"] = {"sha256": file_hash(path), "bytes": path.stat().st_size}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def point_outside(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../secret"] = {"sha256": "", "bytes": 0}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def link_outside(folder):
    (folder / "labels.csv").unlink()
    (folder / "labels.csv").symlink_to("/etc/hostname")


DAMAGE = {
    "byte": (damage_byte, r"labels\.csv: is not what was exported"),
    "cut": (lambda f: (f / "regions.csv").write_bytes(b"1"), r"regions\.csv: has 1 bytes"),
    "missing": (lambda f: (f / "events.csv").unlink(), r"events\.csv: is missing"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "is no export"),
    "not json": (lambda f: (f / "manifest.json").write_text("{"), "not JSON"),
    "foreign": (lambda f: (f / "manifest.json").write_text('{"format": "x"}'), "not an export"),
    "newer": (
        lambda f: (f / "manifest.json").write_text('{"format": "napari-seedlab export", "version": 9}'),
        "version 9",
    ),
    "edited event": (edit_event, "breaks at event 2"),
    "outside": (point_outside, "points outside"),
    "link": (link_outside, "points outside"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_export_is_refused(case, exported):
    damage, words = DAMAGE[case]
    damage(exported)
    with pytest.raises(InputError, match=words) as caught:
        read_export(exported)
    assert "\n" not in str(caught.value)


def test_nothing_is_overwritten(snapshot, exported, tmp_path):
    with pytest.raises(InputError, match="out: exists already"):
        write_export(snapshot, exported)
    (tmp_path / "empty").mkdir()
    write_export(snapshot, tmp_path / "empty")
    assert read_export(tmp_path / "empty")


def test_a_cancelled_export_leaves_nothing(snapshot, tmp_path):
    before = set(tmp_path.iterdir())
    for n_steps in (1, 3, 7):
        steps = export_steps(snapshot, tmp_path / "out")
        for _ in range(n_steps):
            next(steps)
        steps.close()
        assert set(tmp_path.iterdir()) == before


def test_a_full_drive_is_one_line_and_leaves_nothing(snapshot, tmp_path, monkeypatch):
    def full(self, content):
        raise OSError(28, "No space left on device")

    before = set(tmp_path.iterdir())
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ProjectError, match="out: cannot be written"):
        write_export(snapshot, tmp_path / "out")
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["../x", "/x", ""])
def test_attachments_stay_inside(name, snapshot, tmp_path):
    bad = replace(snapshot, attachments={name: snapshot.attachments["blobs/a.npz"]})
    with pytest.raises(InputError, match="attachment"):
        write_export(bad, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "stem"),
    [("tray", "scan3_tray"), ("../../x", "scan3_x"), ("ä=", "scan3"), ("a" * 99, "scan3_" + "a" * 60)],
)
def test_file_names_are_safe(name, stem):
    assert scan_stem(Scan(3, replace(FACTS, name=name))) == stem


def test_no_cell_is_a_formula(snapshot):
    for name, content in tables(snapshot).items():
        if name.endswith(".csv"):
            for row in csv.reader(content.decode().splitlines()):
                for cell in row:
                    try:
                        float(cell or "0")
                    except ValueError:
                        assert not cell.startswith(tuple("=+-@\t")), (name, cell)


def test_the_job_writes_the_export(snapshot, tmp_path):
    folder = tmp_path / "job"
    folder.mkdir()
    write_snapshot(snapshot, folder)
    request = JobRequest("export-1", "napari_seedlab.io.export:run", {"to": str(tmp_path / "out")})
    write_json(folder / "request.json", request.to_json())
    steps = module.run(folder)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result = end.value
            break
    assert result.values["rows"] == 5 and result.values["files"] == len(
        read_export(tmp_path / "out").attachments
    ) + sum(1 for p in (tmp_path / "out").rglob("*") if p.is_file() and "attachments" not in p.parts)


@pytest.mark.parametrize("first", [11, 2**31 - 100])
@pytest.mark.parametrize("span", [module_volumes.MAX_SPAN, 0], ids=["table", "bisection"])
def test_large_region_ids_need_no_large_table(first, span, snapshot, monkeypatch):
    monkeypatch.setattr(module_volumes, "MAX_SPAN", span)
    table = snapshot.regions[1]
    moved = replace(table, region=np.asarray([first, first + 1, first + 9], np.int32))
    lookups = module_volumes._lookups(replace(snapshot, regions={1: moved}), 1)
    ids = np.asarray([[0, first, first + 1], [first + 9, first + 5, first + 10]], np.int32)
    assert lookups["instances"](ids).tolist() == [[0, 1, 2], [70_000, 0, 0]]
    assert lookups["classes"](ids).tolist() == [[0, 3, 0], [0, 0, 0]]
    near = lookups["instances"]._near
    assert near is None if span == 0 else len(near) == 11


def test_unequal_answers_of_one_event_have_their_own_rows(snapshot):
    payload = {"seeds": [1, 2], "state": "labelled", "class_id": 0, "said": [["labelled", 3], ["unsure", 0]]}
    changed = replace(snapshot, events=chain((EventKind.LABEL, payload)))
    table = list(csv.DictReader(tables(changed)["events.csv"].decode().splitlines()))
    assert [(r["seed"], r["state"], r["class"]) for r in table] == [
        ("1", "labelled", "dead"),
        ("2", "unsure", ""),
    ]
