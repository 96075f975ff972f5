import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
from bad_inputs import envi

from napari_seedlab.core import InputError, JobRequest, Progress
from napari_seedlab.files import ArraySource, file_hash, open_array, tree_hash, write_json
from napari_seedlab.io import describe, facts_from_json, facts_to_json, import_file, source_changed
from napari_seedlab.io import importing as module
from napari_seedlab.io.formats import MODULES, format_of

VALUES = np.random.default_rng(0).integers(0, 99, (5, 3, 4)).astype("u2")
ORDER = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}


def finish(steps):
    """All progress of a generator, and what it returns."""
    progress = []
    while True:
        try:
            progress.append(next(steps))
        except StopIteration as end:
            return progress, end.value


def cube(folder, interleave):
    return envi(folder, data=VALUES.transpose(ORDER[interleave]).tobytes(), interleave=interleave)


def stack(folder, compression):
    path = folder / "stack.tif"
    tifffile.imwrite(path, VALUES, photometric="minisblack", compression=compression)
    return path


def fortran(folder):
    np.save(folder / "f.npy", np.asfortranarray(VALUES))
    return folder / "f.npy"


CASES = {
    "raw": (lambda f: stack(f, None), "raw"),
    "packed": (lambda f: stack(f, "zlib"), "zarr"),
    "bsq": (lambda f: cube(f, "bsq"), "raw"),
    "bil": (lambda f: cube(f, "bil"), "zarr"),
    "bip": (lambda f: cube(f, "bip"), "zarr"),
    "fortran": (fortran, "zarr"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("slab", [1, 2**27], ids=["plane by plane", "at once"])
def test_voxels_arrive_in_the_order_of_the_facts(case, slab, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SLAB_BYTES", slab)
    (tmp_path / "cache").mkdir()
    make, layout = CASES[case]

    progress, (facts, source) = finish(import_file(make(tmp_path), None, "tray 7", tmp_path / "cache"))

    assert (facts.name, facts.shape, source.axes, source.layout) == (
        "tray 7",
        VALUES.shape,
        facts.axes,
        layout,
    )
    np.testing.assert_array_equal(open_array(source)[...], VALUES)
    hashed = tree_hash(source.path) if layout == "zarr" else file_hash(facts.source_path)
    assert source.sha256 == hashed
    assert progress and all(isinstance(step, Progress) for step in progress)


def test_the_job_gives_plain_values(tmp_path):
    request = JobRequest(
        "import-1", "napari_seedlab.io.importing:run", {"path": str(stack(tmp_path, "zlib"))}
    )
    write_json(tmp_path / "request.json", request.to_json())
    _, result = finish(module.run(tmp_path))
    values = json.loads(json.dumps(result.values))
    assert result.files == ("scan.zarr",)
    assert facts_from_json(values["facts"]).name == "stack"
    np.testing.assert_array_equal(open_array(ArraySource.from_json(values["source"]))[...], VALUES)


@pytest.mark.parametrize("case", ["packed", "bip"])
def test_a_cancelled_import_leaves_nothing(case, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SLAB_BYTES", 1)
    cache = tmp_path / "cache"
    cache.mkdir()
    steps = import_file(CASES[case][0](tmp_path), None, "", cache)
    next(steps)
    next(steps)
    assert list(cache.iterdir())
    steps.close()
    assert list(cache.iterdir()) == []


def test_a_stack_that_turns_out_to_be_nan_leaves_nothing(tmp_path, monkeypatch):
    values = np.full((4, 8, 8), np.nan, np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", compression="zlib")
    monkeypatch.setattr(module, "describe", lambda *_: (facts, source))
    np.save(tmp_path / "ok.npy", np.zeros_like(values))
    facts, source = describe(tmp_path / "ok.npy")
    bad = os.stat(tmp_path / "a.tif")
    facts = facts_from_json(
        {
            **facts_to_json(facts),
            "source_path": str(tmp_path / "a.tif"),
            "source_size": bad.st_size,
            "source_mtime_ns": bad.st_mtime_ns,
        }
    )
    source = ArraySource(str(tmp_path / "a.tif"), "encoded", facts.shape, facts.axes, "<f4")
    (tmp_path / "cache").mkdir()
    with pytest.raises(InputError, match="no finite voxel"):
        finish(import_file(tmp_path / "a.tif", None, "", tmp_path / "cache"))
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_file_that_changes_meanwhile_is_refused(tmp_path):
    path = stack(tmp_path, None)
    steps = import_file(path, None, "", tmp_path)
    next(steps)
    next(steps)
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError, match=r"stack\.tif: the file was written again"):
        finish(steps)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: None, None),
        (lambda p: p.write_bytes(p.read_bytes() + b"1"), "changed on disk"),
        (lambda p: os.utime(p, ns=(5, 5)), "written again"),
        (Path.unlink, "cannot be read any more"),
    ],
    ids=["same", "size", "time", "gone"],
)
def test_a_changed_source_is_told_in_one_line(change, words, tmp_path):
    path = stack(tmp_path, None)
    facts = describe(path)[0]
    change(path)
    line = source_changed(facts)
    assert line is None if words is None else (words in line and path.name in line and "\n" not in line)


def test_facts_survive_json(tmp_path):
    for facts in (describe(cube(tmp_path, "bip"))[0], describe(stack(tmp_path, None))[0]):
        assert facts_from_json(json.loads(json.dumps(facts_to_json(facts)))) == facts


@pytest.mark.parametrize("suffixes", MODULES.values())
def test_every_format_offers_the_same_door(suffixes):
    module = format_of(Path("a" + suffixes[0].upper()))
    assert callable(module.describe) and callable(module.planes)


def test_planes_of_a_plain_file_are_never_asked_for():
    for suffix in (".npy", ".hdr"):
        with pytest.raises(InputError, match="needs no decoding"):
            next(iter(format_of(Path("a" + suffix)).planes(Path("a" + suffix), None, 0, 1)))


def test_imports_may_run_in_threads(tmp_path):
    results = []

    def job(number):
        folder = tmp_path / str(number)
        folder.mkdir()
        results.append(finish(import_file(stack(folder, "zlib"), None, "", folder))[1])

    threads = [threading.Thread(target=job, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3


@pytest.mark.parametrize("name", ["tray", "tray.tif"])
def test_a_folder_is_no_scan(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=f"^{name}: is a folder, not a file. Choose the scan file in it"):
        describe(tmp_path / name)
