"""Oddness of cubes in a project: which scan is looked at, what is kept, what is not taken up again."""

import shutil
import threading

import numpy as np
import pytest
import tifffile

from napari_seedlab import files
from napari_seedlab.session.anomaly import anomaly_step
from tests.session.conftest import small_tray

N_BANDS, SHAPE = 6, (60, 80)


def cube_of(seeds):
    """A plate (band, y, x), with twelve discs on it where `seeds`, one of them with an odd spot."""
    rng = np.random.default_rng(0)
    cube = rng.normal(10, 1, (N_BANDS, *SHAPE)).astype(np.float32)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for i in range(12 * seeds):
        cube[:, (y - 10 - 20 * (i // 4)) ** 2 + (x - 10 - 20 * (i % 4)) ** 2 < 36] += 100
    cube[3:, 9:12, 9:12] += 20
    return cube


@pytest.fixture
def cubes(make_session, tmp_path):
    """A session with a cube that nobody split, and the messages of the session."""
    np.save(tmp_path / "plain.npy", cube_of(False))
    np.save(tmp_path / "seeds.npy", cube_of(True))
    session = make_session()
    session.import_scan(tmp_path / "plain.npy", "hsi").wait(60)
    session.said = []
    session.message.connect(lambda level, text: session.said.append((level, text)))
    return session


def test_the_pixels_of_an_unsplit_cube_are_there_again_when_the_project_opens(cubes, make_session):
    cubes.find_odd().wait(60)
    assert "error" not in dict(cubes.said)
    heat = cubes.anomaly.heat[1]
    cubes.close()
    again = make_session(cubes.path).anomaly
    assert again.heat == {1: heat}
    assert len(again.seeds) == 0


def test_scores_that_are_told_are_those_of_the_job_and_maps_of_other_scans_stay(cubes, tmp_path):
    cubes.import_scan(tmp_path / "seeds.npy", "hsi").wait(60)
    cubes.split(2).wait(60)
    cubes.embed().wait(60)
    cubes.show_scan(2)
    of_seeds = cubes.find_odd().wait(60)
    cubes.show_scan(1)
    of_pixels = cubes.find_odd(method="rx").wait(60)
    assert len(of_seeds["scores"]) == 12
    assert of_pixels["scores"] == {}
    assert cubes.anomaly.model_id == of_seeds["model"]
    assert len(cubes.anomaly.seeds) == 12
    cubes.show_scan(2)
    assert cubes.find_odd(method="rx").wait(60)["model"] == cubes.anomaly.model_id
    assert sorted(cubes.anomaly.heat) == [1, 2]


def test_the_scan_is_the_one_that_was_shown_when_it_was_asked_for(cubes, tmp_path):
    np.save(tmp_path / "ct.npy", np.zeros((8, 20, 20), np.uint8) + np.arange(20, dtype=np.uint8))
    cubes.import_scan(tmp_path / "ct.npy", "ct").wait(60)
    cubes.show_scan(1)
    is_switched = threading.Event()
    cubes.desk.do(lambda _: is_switched.wait(60))
    task = cubes.find_odd()
    cubes.show_scan(2)
    is_switched.set()
    task.wait(60)
    assert sorted(cubes.anomalies["hsi"].heat) == [1]


def leave_behind(session, step):
    """A job folder as a session leaves it whose process was killed."""

    def prepare(project):
        request, folder = session.desk._prepare(project, step, 1)
        files.write_json(folder / "request.json", request.to_json())
        return folder

    folder = session.desk.do(prepare).result()
    session.close()
    return folder


def test_a_spectral_job_that_was_interrupted_is_not_taken_up_after_a_split(cubes, make_session, tmp_path):
    cubes.import_scan(tmp_path / "seeds.npy", "hsi").wait(60)
    cubes.show_scan(2)
    cubes.desk.do(lambda _: None).result()
    folder = leave_behind(cubes, anomaly_step(cubes, "hsi", {}))
    again = make_session(cubes.path)
    assert not folder.exists()
    again.split(2).wait(60)
    assert len(again.find_odd().wait(60)["scores"]) == 12


@pytest.mark.parametrize("asked", [{"normal_class": 2}, {}], ids=["another normal class", "another pool"])
def test_an_interrupted_job_about_something_else_waits(split_session, make_session, tmp_path, asked):
    settings = {"size": 12, "n_steps": 2, "n_fits": 1, "batch": 4, "width": 4, "device": "cpu"}
    folder = leave_behind(split_session, anomaly_step(split_session, "ct", settings))
    session = make_session(split_session.path)
    if not asked:
        tifffile.imwrite(tmp_path / "plane.tif", small_tray()[0][10])
        session.import_scan(tmp_path / "plane.tif", "image").wait(60)
        session.split(2).wait(60)
        session.embed("image").wait(60)
        session.show_scan(2)
    pool = session.pool
    task = session.find_odd(settings, **asked)
    task.wait(60)
    assert task.job_id != folder.name
    assert sorted(session.anomalies) == [pool]
    session.show_scan(1)
    later = session.find_odd(settings)
    later.wait(60)
    assert later.job_id == folder.name


SCENE = {"n_steps": 2, "n_fits": 1, "batch": 4, "width": 4, "device": "cpu"}


@pytest.mark.parametrize("interrupted", [1, 2], ids=["unsplit", "split"])
def test_an_interrupted_job_is_taken_up_for_the_cube_that_it_is_about(
    cubes, make_session, tmp_path, interrupted
):
    cubes.import_scan(tmp_path / "seeds.npy", "hsi").wait(60)
    cubes.split(2).wait(60)
    cubes.embed().wait(60)
    cubes.show_scan(interrupted)
    folder = leave_behind(cubes, anomaly_step(cubes, "hsi", SCENE, "fcdd"))
    again = make_session(cubes.path)
    again.show_scan(3 - interrupted)
    other = again.find_odd(SCENE, "fcdd")
    other.wait(60)
    assert other.job_id != folder.name
    again.show_scan(interrupted)
    task = again.find_odd(SCENE, "fcdd")
    task.wait(60)
    assert task.job_id == folder.name


def test_an_interrupted_job_whose_folder_is_gone_is_begun_anew(split_session, make_session):
    settings = {"size": 12, "n_steps": 2, "n_fits": 1, "batch": 4, "width": 4, "device": "cpu"}
    folder = leave_behind(split_session, anomaly_step(split_session, "ct", settings))
    session, said = make_session(split_session.path), []
    session.message.connect(lambda _, text: said.append(text))
    shutil.rmtree(folder)
    task = session.find_odd(settings)
    task.wait(60)
    assert task.job_id != folder.name
    assert said[0] == "The interrupted training is not there any more; begun anew."
