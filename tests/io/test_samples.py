"""Sample scans: what is written, what is shipped, what napari gets."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import tifffile

from napari_seedlab.core import GRAIN_SCHEME, InputError
from napari_seedlab.imaging.phantom import Dials, make_tray
from napari_seedlab.io import samples


@pytest.fixture(scope="module")
def ct(tmp_path_factory):
    return samples.write_sample("ct", 9, 4, tmp_path_factory.mktemp("samples") / "ct")


@pytest.fixture(scope="module")
def hsi(tmp_path_factory):
    return samples.write_sample("hsi", 9, 4, tmp_path_factory.mktemp("samples") / "hsi")


def rows_of(folder):
    with (folder / "truth.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_recipe_makes_the_scan_again(ct):
    recipe = json.loads((ct.parent / "recipe.json").read_text())
    again = make_tray(Dials.from_json(recipe["dials"]))
    assert np.array_equal(again.volume, tifffile.imread(ct))
    assert np.array_equal(again.instances, tifffile.imread(ct.parent / "instances.tif"))
    assert np.array_equal(again.defect_mask, tifffile.imread(ct.parent / "defects.tif"))


def test_the_same_sample_has_the_same_bytes(ct, tmp_path):
    again = samples.write_sample("ct", 9, 4, tmp_path / "again")
    for path in ct.parent.iterdir():
        assert path.read_bytes() == (again.parent / path.name).read_bytes(), path.name


def test_scan_lies_uncompressed_in_one_piece_with_its_voxel_size(ct):
    with tifffile.TiffFile(ct) as file:
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        assert file.series[0].dataoffset is not None
        assert {p.compression for p in file.pages} == {tifffile.COMPRESSION.NONE}
    assert {pixels[f"PhysicalSize{a}"] for a in "XYZ"} == {75.0}
    assert pixels["PhysicalSizeXUnit"] == "µm"


def test_truth_names_each_seed_where_it_lies(ct):
    instances = tifffile.imread(ct.parent / "instances.tif")
    rows = rows_of(ct.parent)
    assert [int(r["seed"]) for r in rows] == np.unique(instances)[1:].tolist()
    for row in rows:
        centroid = np.argwhere(instances == int(row["seed"])).mean(axis=0)
        assert [float(row[a]) for a in "zyx"] == pytest.approx(centroid, abs=0.01)
        assert GRAIN_SCHEME.by_name(row["class"])


def test_cube_is_read_by_its_header(hsi):
    header = hsi.read_text()
    facts = dict(line.split(" = ", 1) for line in header.splitlines()[1:])
    shape = tuple(int(facts[k]) for k in ("bands", "lines", "samples"))
    nm = [float(w) for w in facts["wavelength"].strip("{ }").split(",")]
    cube = np.fromfile(hsi.with_suffix(".raw"), "<u2").reshape(shape)
    seeds = tifffile.imread(hsi.parent / "instances.tif").reshape(shape[1:]) > 0
    assert len(nm) == shape[0] == 60
    assert facts["wavelength units"] == "Nanometers"
    assert 3000 < cube[nm.index(min(nm, key=lambda w: abs(w - 850))), seeds].mean() < 7000


def test_twin_has_the_seeds_of_the_tray(ct, hsi):
    in_tray = {r["seed"]: r["class"] for r in rows_of(ct.parent)}
    assert {r["seed"]: r["class"] for r in rows_of(hsi.parent)}.items() <= in_tray.items()


@pytest.mark.parametrize(
    ("kind", "n_seeds", "words"),
    [("mri", 9, "ct, hsi, tube"), ("ct", 0, "at least 1")],
    ids=["kind", "number"],
)
def test_what_cannot_be_made_is_refused(tmp_path, kind, n_seeds, words):
    with pytest.raises(InputError, match=words):
        samples.write_sample(kind, n_seeds, 0, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_file_where_the_folder_should_be_is_refused_and_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"mine\.txt: is a file, not a folder"):
        samples.write_sample("ct", 9, 0, tmp_path / "mine.txt")
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_folder_in_use_is_refused_and_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not an empty folder"):
        samples.write_sample("ct", 9, 0, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_shipped_samples_are_small_and_whole(name):
    folder = samples.sample_folder(name)
    sizes = [p.stat().st_size for p in folder.iterdir()]
    assert max(sizes) <= 8_000_000
    assert {"instances.tif", "tissues.tif", "truth.csv", "recipe.json"} < {p.name for p in folder.iterdir()}


def test_all_samples_weigh_at_most_22_megabytes():
    folder = samples.sample_folder("ct_tray").parent
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) <= 22_000_000


def test_installed_package_is_looked_at_first(tmp_path, monkeypatch):
    inside = tmp_path / "napari_seedlab" / "sample_data" / "ct_tray"
    beside = tmp_path / "sample_data" / "ct_tray"
    beside.mkdir(parents=True)
    monkeypatch.setattr(samples, "__file__", str(tmp_path / "napari_seedlab" / "io" / "samples.py"))
    assert samples.sample_folder("ct_tray") == beside
    inside.mkdir(parents=True)
    assert samples.sample_folder("ct_tray") == inside


def test_unknown_sample_is_refused():
    with pytest.raises(InputError, match="ct_tray, hsi_tray, ct_tube"):
        samples.sample_folder("../core")


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_napari_gets_scan_and_seeds_in_micrometres(name):
    (scan, scan_facts, scan_kind), (seeds, seed_facts, seeds_kind) = samples.LAYERS[name]()
    assert (scan_kind, seeds_kind) == ("image", "labels")
    assert len(scan_facts["scale"]) == scan.ndim == 3
    assert scan.shape[-seeds.ndim :] == seeds.shape
    assert tuple(scan_facts["scale"][-seeds.ndim :]) == tuple(seed_facts["scale"])
    assert scan_facts["scale"][-1] in (75.0, 65.0)
    assert seeds.max() <= 120
