"""Folders of single-seed pictures, from the files to the hidden truth."""

import hashlib
import json
import os

import numpy as np
import pytest
from PIL import Image

from napari_seedlab.core import InputError, LabelState, ProjectError, SeedlabError
from napari_seedlab.files import open_array
from napari_seedlab.session import Session, making, sheets

N_GOOD, N_BAD = 5, 3


def picture(i, size=(36, 48), colour=(190, 120, 60), spot=False):
    """An ellipse on dark ground, (y, x, 3) uint8, and where it lies."""
    y, x = np.mgrid[: size[0], : size[1]]
    inside = ((y - size[0] / 2) / 10) ** 2 + ((x - size[1] / 2) / (12 + i % 3)) ** 2 <= 1
    out = np.where(inside[..., None], colour, (15, 15, 20)).astype(np.uint8)
    dark = (np.hypot(y - size[0] / 2, x - size[1] / 2) < 4) if spot else np.zeros(size, bool)
    out[dark] = 40
    return out, inside, dark


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def folder(tmp_path):
    """Good and bad pictures in folders of their class, one bad one with a mask of its spot."""
    place = tmp_path / "grains"
    for i in range(N_GOOD):
        save(place / "Good" / f"g{i}.png", picture(i)[0])
    for i in range(N_BAD):
        array, _, dark = picture(i, spot=True)
        save(place / "Bad" / f"b{i}.png", array)
    save(place / "Bad" / "b0_mask.png", np.where(dark, 255, 0).astype(np.uint8))
    return place


@pytest.fixture
def session(tmp_path):
    with Session.create(tmp_path / "p.seedlab") as opened:
        yield opened


def notes(session):
    return list(session.scans[1].facts.notes)


def test_each_picture_becomes_one_seed_on_one_sheet(session, folder):
    told = session.import_folder(folder).wait()
    facts, table = session.scans[1].facts, session.regions(1)
    assert told["n_seeds"] == len(table) == N_GOOD + N_BAD and told["n_skipped"] == 0
    assert facts.is_colour and facts.name == "grains" and facts.shape[0] == 3
    sheet = session.sheets[1]
    assert list(sheet.paths) == sorted(sheet.paths) and sheet.paths[0] == "Bad/b0.png"
    image, raster = open_array(session.scan_source(1)), open_array(session.regions_source(1))[...]
    for row, path in enumerate(sheet.paths):
        array, inside, _ = picture(int(path[-5]), spot=path.startswith("Bad"))
        tile = sheet.tile_of(table, row)
        top, left = sheet.sheet.corner(tile)
        cut = (slice(top + 4, top + 40), slice(left + 4, left + 52))
        np.testing.assert_array_equal(image[(slice(None), *cut)], array.transpose(2, 0, 1))
        np.testing.assert_array_equal(raster[0][cut] == table.region[row], inside)
        assert table.n_voxels[row] == inside.sum() and (raster == table.region[row]).sum() == inside.sum()
    assert not session.labels


def test_pictures_of_more_than_one_object_are_told(session, folder):
    for name in ("g1", "g3"):
        array = picture(0, size=(36, 96))[0]
        array[:, :48] = picture(1)[0]
        save(folder / "Good" / f"{name}.png", array)
    array[:, :48], array[4:6, 4:9] = (15, 15, 20), 200  # a seed and a speck
    save(folder / "Good" / "g4.png", array)
    session.import_folder(folder).wait()
    told = [note for note in notes(session) if "several seeds" in note]
    assert told == ["2 of 8 pictures seem to show several seeds and count as one: look at g1.png, g3.png"]
    assert "size of a pixel not stated: seeds are measured in pixels" in notes(session)
    assert not any("voxel" in note for note in notes(session))


def test_seeds_know_their_file_and_the_class_of_the_folder_stays_hidden(session, folder):
    session.import_folder(folder, truth_from_folders=True).wait()
    first = int(session.regions(1).seed[0])
    whole = sheets.all_files(session)
    assert sorted(whole.values()) == sorted(session.sheets[1].paths)
    assert {seed: sheets.file_of(session, seed) for seed in whole} == {
        seed: path.partition("/")[2] for seed, path in whole.items()
    }
    truth = sheets.reference_classes(session, "image")
    assert sorted(truth.values()) == ["Bad"] * N_BAD + ["Good"] * N_GOOD
    assert truth == {seed: path.partition("/")[0] for seed, path in whole.items()}
    assert not session.labels and session.label(first).state is LabelState.NONE
    assert all(c.name not in ("Good", "Bad") for c in session.scheme)


def test_seed_ids_tell_nothing_of_a_hidden_class(session, folder, tmp_path):
    session.import_folder(folder, truth_from_folders=True).wait()
    paths = session.sheets[1].paths
    assert (
        list(paths) == sorted(paths, key=lambda p: hashlib.sha256(os.fsencode(p)).digest()) != sorted(paths)
    )
    assert session.import_folder(folder).wait()["scan"] == 1  # the same order once more
    assert session.sheets[1].paths == paths


def test_without_the_wish_no_truth_is_kept(session, folder):
    session.import_folder(folder).wait()
    assert sheets.reference_classes(session, "image") == {}
    assert sheets.file_of(session, int(session.regions(1).seed[0])) == "Bad/b0.png"


def test_the_reference_survives_reopening_and_an_export(session, folder, tmp_path):
    session.import_folder(folder, truth_from_folders=True).wait()
    before = sheets.reference_classes(session, "image")
    mask = sheets.reference_mask(session, 1)
    session.export(tmp_path / "out").wait()
    session.close()
    rows = (tmp_path / "out" / "labels.csv").read_text().splitlines()
    at = rows[0].split(",").index("file")
    assert sorted(row.split(",")[at] for row in rows[1:]) == sorted(session.sheets[1].paths)
    assert all(row.split(",")[rows[0].split(",").index("class")] == "" for row in rows[1:])
    making.new_project(tmp_path / "again.seedlab", tmp_path / "out")
    for path in (tmp_path / "p.seedlab", tmp_path / "again.seedlab"):
        with Session.open(path) as again:
            assert sheets.reference_classes(again, "image") == before
            np.testing.assert_array_equal(sheets.reference_mask(again, 1), mask)
        assert making.check_project(path)["ok"]


def test_masks_are_no_seeds_and_lie_on_the_grid_of_the_sheet(session, folder):
    session.import_folder(folder).wait()
    mask = sheets.reference_mask(session, 1)
    raster = open_array(session.regions_source(1))[...]
    first = int(session.regions(1).region[0])
    assert mask.shape == raster.shape and mask.sum() == picture(0, spot=True)[2].sum()
    assert set(np.unique(raster[mask])) == {first}


def test_no_job_is_given_the_truth(session, folder):
    session.import_folder(folder, truth_from_folders=True).wait()
    seen = {}
    step_folder = {}

    def keep(project):
        from napari_seedlab.session.anomaly import anomaly_step

        place = project.job_folder("look")
        step_folder["at"] = place
        seen.update(anomaly_step(session, "image", {}).prepare(project, place))

    session.desk.do(keep).result()
    names = {p.name for p in step_folder["at"].iterdir()}
    assert "reference" not in json.dumps(seen) and not any("reference" in n or "teachers" in n for n in names)
    with np.load(step_folder["at"] / "labels.npz") as labels:
        assert len(labels["seed"]) == 0


def test_only_the_teachers_teach(session, folder):
    from napari_seedlab.core import JobRequest
    from napari_seedlab.files import write_json
    from napari_seedlab.learn.heat import read_teachers
    from napari_seedlab.session.anomaly import anomaly_step

    session.import_folder(folder, truth_from_folders=True).wait()
    good = [s for s, name in sheets.reference_classes(session, "image").items() if name == "Good"]

    def prepare(project):
        place = project.job_folder("look")
        params = anomaly_step(session, "image", {}, teachers=good).prepare(project, place)
        write_json(place / "request.json", JobRequest("look", "m:f", params).to_json())
        return params["trained_on"], read_teachers(place)

    assert session.desk.do(prepare).result() == ("reference normal", set(good))


def test_the_embedding_tells_colours_apart(session, tmp_path):
    place = tmp_path / "two"
    for i in range(4):
        save(place / f"{i}.png", picture(0, colour=(190, 90, 90) if i % 2 else (90, 90, 190))[0])
    session.import_folder(place).wait()
    session.embed("image").wait()
    vectors = session.embeddings["image"].vectors
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-5)
    assert np.abs(vectors[0, -6:] - vectors[1, -6:]).max() > 1
    np.testing.assert_allclose(vectors[0, :-6], vectors[1, :-6], atol=1e-3)


def test_vectors_with_other_entries_are_computed_anew(session, folder):
    session.import_folder(folder).wait()
    assert session.embed("image").wait()["n_new"] == N_GOOD + N_BAD
    known = session.embeddings["image"]
    columns = {"seed": known.seeds, "key": known.key, "content": known.content}
    former = {**columns, "vector": known.vectors[:, :-6], "version": np.asarray("descriptors 0 image")}
    session.desk.do(lambda project: project.put_arrays("vectors-image-descriptors", **former)).result()
    session.embeddings = {}
    assert session.embed("image").wait()["n_new"] == N_GOOD + N_BAD
    np.testing.assert_array_equal(session.embeddings["image"].vectors, known.vectors)
    assert session.embed("image").wait()["n_new"] == 0


def test_grey_and_deep_pictures_join_the_others(session, tmp_path):
    place = tmp_path / "mixed"
    colour = picture(0)[0]
    save(place / "a.png", colour)
    save(place / "b.png", colour[..., 0])
    save(place / "c.png", colour[..., 0].astype(np.uint16) * 257)
    session.import_folder(place).wait()
    facts = session.scans[1].facts
    assert facts.dtype == "uint16" and facts.shape[0] == 3
    assert "2 grey pictures lie among the colours of the others" in facts.notes
    image = open_array(session.scan_source(1))[...]
    values = [image[:, int(z[1]), int(z[2])].tolist() for z in session.regions(1).centroid]
    assert values == [[190 * 257, 120 * 257, 60 * 257], [190 * 257] * 3, [190 * 257] * 3]


def test_grey_folders_have_one_plane(session, tmp_path):
    for i in range(3):
        save(tmp_path / "grey" / f"{i}.png", picture(i)[0][..., 0])
    session.import_folder(tmp_path / "grey").wait()
    assert session.scans[1].facts.axes == ("z", "y", "x") and session.scans[1].facts.shape[0] == 1


def test_what_is_no_picture_is_counted_and_what_is_broken_is_named(session, folder):
    (folder / "readme.txt").write_text("x")
    (folder / "Good" / "notes.csv").write_text("x")
    whole = (folder / "Good" / "g0.png").read_bytes()
    (folder / "Good" / "cut.png").write_bytes(whole[:-30])
    for i in range(6):
        (folder / "Bad" / f"empty{i}.jpg").write_bytes(b"")
    os.symlink("loop.png", folder / "loop.png")
    os.symlink(folder, folder / "Good" / "again")
    told = session.import_folder(folder).wait()
    assert told["n_seeds"] == N_GOOD + N_BAD and told["n_skipped"] == 8
    said = notes(session)
    assert "2 files are no pictures and were left out" in said
    start = said.index("8 of 17 pictures and masks were skipped:")
    assert said[start + 1].startswith("empty0.jpg: is empty") and said[start + 6] == "… and 3 more"


def test_names_of_any_language_and_suffixes_of_any_case(session, tmp_path):
    names = ("Übergröße/семя.PNG", "Übergröße/種 1.png", "a b/é.JPG")
    for name in names:
        save(tmp_path / "n" / name, picture(0)[0])
    session.import_folder(tmp_path / "n", truth_from_folders=True).wait()
    assert sorted(sheets.all_files(session).values()) == sorted(names)
    assert set(sheets.reference_classes(session, "image").values()) == {"Übergröße", "a b"}


def test_large_pictures_are_averaged_down_and_said(session, tmp_path):
    save(tmp_path / "big" / "a.png", picture(0, size=(1100, 300))[0])
    save(tmp_path / "big" / "a_mask.png", np.full((1100, 300), 255, np.uint8))
    session.import_folder(tmp_path / "big").wait()
    assert "1 of 1 pictures are averaged down 2 times" in notes(session)
    assert session.scans[1].facts.shape[1:] == (550 + 8, 150 + 8)
    assert sheets.reference_mask(session, 1).sum() == 550 * 150


@pytest.mark.parametrize(
    ("values", "n_marked"),
    [([0, 1, 2], 2), ([0, 255], 1), ([0], 0), (list(range(0, 200, 4)), 18), (list(range(0, 100, 2)), 0)],
    ids=["labels", "black and white", "black", "grey", "dark grey"],
)
def test_all_labels_of_a_mask_are_marked_and_the_bright_half_of_a_grey_one(tmp_path, values, n_marked):
    from napari_seedlab.io import image_folder

    marks = np.zeros((10, 20), np.uint8)
    marks.flat[: len(values)] = values
    save(tmp_path / "a.png", np.zeros((10, 20), np.uint8))
    save(tmp_path / "a_mask.png", marks)
    found = image_folder.list_pictures(tmp_path)
    assert image_folder.read_mask(found, "a_mask.png", (10, 20)).sum() == n_marked


def test_one_picture_is_enough_and_a_wrong_mask_is_left_out(session, tmp_path):
    save(tmp_path / "one" / "a.png", picture(0)[0])
    save(tmp_path / "one" / "a_mask.png", np.zeros((9, 9), np.uint8))
    assert session.import_folder(tmp_path / "one").wait()["n_seeds"] == 1
    assert any("a_mask.png: is 9 × 9 pixels, its picture 48 × 36" in note for note in notes(session))


def test_pictures_outside_of_the_class_folders_have_no_truth(session, folder):
    save(folder / "stray.png", picture(0)[0])
    session.import_folder(folder, truth_from_folders=True).wait()
    assert len(sheets.reference_classes(session, "image")) == N_GOOD + N_BAD
    assert "1 of 9 pictures lie in no folder that names their class" in notes(session)


def flat(place):
    save(place / "a.png", picture(0)[0])


def nothing(place):
    place.mkdir()
    (place / "a.txt").write_text("x")


def broken(place):
    place.mkdir()
    (place / "a.png").write_bytes(b"x")


def a_file(place):
    place.write_bytes(b"x")


@pytest.mark.parametrize(
    ("make", "truth", "words"),
    [
        (flat, True, "has its 1 pictures in no folder that names their class"),
        (nothing, False, r"has no picture \(1 other files\)"),
        (broken, False, "has 1 picture, none can be used"),
        (a_file, False, "is a file, not a folder"),
        (lambda place: None, False, "is not there"),
    ],
)
def test_what_cannot_be_a_sheet_is_refused_and_leaves_nothing(session, tmp_path, make, truth, words):
    make(tmp_path / "x")
    with pytest.raises(SeedlabError, match=words) as refused:
        session.import_folder(tmp_path / "x", truth_from_folders=truth).wait()
    assert "\n" not in str(refused.value)
    assert not session.scans and not session.seeds
    assert not list((session.path / "scans").iterdir()) and not list((session.path / "jobs").rglob("*.zarr*"))


def test_too_many_pictures_are_refused_before_any_is_looked_at(session, folder, monkeypatch):
    from napari_seedlab.imaging import tiles
    from napari_seedlab.io import image_folder

    monkeypatch.setattr(tiles, "MAX_SHEET", 5_000)
    monkeypatch.setattr(image_folder, "describe", lambda *a: pytest.fail("a picture was looked at"))
    with pytest.raises(SeedlabError, match="would hold 8 pictures, each on 17 pixels"):
        session.import_folder(folder).wait()


def test_a_cancelled_import_leaves_nothing(session, folder, monkeypatch):
    from napari_seedlab.io import sheets as writing

    def stop(self, first_region):
        for step in whole(self, first_region):
            for request in session.desk.active:
                session.cancel(request.id)
            yield step

    whole = writing.SheetWriter.write
    monkeypatch.setattr(writing.SheetWriter, "write", stop)
    with pytest.raises(SeedlabError, match=r"cancel"):
        session.import_folder(folder).wait()
    assert not session.scans and not list((session.path / "jobs").rglob("*.zarr*"))


def test_the_same_folder_again_only_brings_its_truth(session, folder):
    session.import_folder(folder).wait()
    told = session.import_folder(folder, truth_from_folders=True).wait()
    assert told["scan"] == 1 and len(session.scans) == 1 and len(session.seeds) == N_GOOD + N_BAD
    assert len(sheets.reference_classes(session, "image")) == N_GOOD + N_BAD


def test_an_import_that_stopped_before_its_regions_is_completed_by_the_next(session, folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("napari_seedlab.store.Project.add_split", lambda *a: 1 / 0)
        with pytest.raises(SeedlabError):
            session.import_folder(folder, truth_from_folders=True).wait()
    assert not session.seeds
    told = session.import_folder(folder, truth_from_folders=True).wait()
    assert told["scan"] == 1 and told["n_seeds"] == len(session.seeds) == N_GOOD + N_BAD
    session.delete([1]).wait()
    assert session.import_folder(folder).wait()["n_seeds"] == N_GOOD + N_BAD - 1


def test_a_project_that_is_only_read_refuses(session, folder):
    session.close()
    with (
        Session.open(session.path, read_only=True) as reading,
        pytest.raises(ProjectError, match="is open read-only"),
    ):
        reading.import_folder(folder).wait()


def test_a_sheet_is_not_split_again(session, folder):
    session.import_folder(folder).wait(60)
    table = session.regions(1)
    with pytest.raises(InputError, match="is a sheet of pictures, each of one seed"):
        session.split(1)
    assert session.regions(1) is table
