"""Thumbnails of a project: drawn once for each seed, kept, read in pages."""

import numpy as np
import pytest

from napari_seedlab.core import SeedlabError
from napari_seedlab.learn.embedding import ScanView
from napari_seedlab.learn.thumbnails import plane_limits
from napari_seedlab.session import Session, thumbnails


def test_every_seed_gets_three_cuts_and_keeps_them(split_session, make_session):
    session = split_session
    assert session.thumbnails.find(1) is None
    done = session.thumbnails.ask("ct").wait(60)
    assert done["n_seeds"] == done["n_new"] == 25
    table, row = session.thumbnails.find(2)
    page = table.page(0)
    assert page.shape == (25, 3, 40, 40) and page.dtype == np.uint8 and table.is_volume
    ball = page[row]
    assert ball[:, 20, 20].min() > 150 and ball[:, 0, 0].max() == 0  # grey in the middle, black around
    wide = (ball > 100).sum((1, 2))
    assert wide.min() > 0.9 * wide.max()  # a ball is as wide in each cut
    assert session.thumbnails.ask("ct") is None  # nothing is new
    session.close()
    again = make_session(session.path)
    table, row = again.thumbnails.find(2)
    np.testing.assert_array_equal(table.page(0)[row], ball)


def test_only_edited_seeds_are_drawn_again(split_session):
    session = split_session
    session.thumbnails.ask("ct").wait(60)
    before, _ = session.thumbnails.find(1)
    kept = before.page(0)[before.row[5]]
    session.merge([1, 2]).wait(60)
    done = session.thumbnails.ask("ct").wait(60)
    assert (done["n_seeds"], done["n_new"]) == (24, 1)
    table, _ = session.thumbnails.find(1)
    np.testing.assert_array_equal(table.page(0)[table.row[5]], kept)
    assert session.thumbnails.find(2) is None


def test_a_read_only_project_asks_for_nothing(split_session):
    session = split_session
    session.close()
    with Session.open(session.path, read_only=True) as reader:
        assert reader.thumbnails.ask("ct") is None


def test_pictures_without_the_table_of_their_seeds_are_drawn_anew(split_session, make_session, monkeypatch):
    """The program ended between the two: pictures of other seeds must not stand under the old ones."""
    session = split_session
    session.thumbnails.ask("ct").wait(60)
    project, kept = session.desk.do(lambda p: p).result(), session.thumbnails.tables.pop("ct")
    with monkeypatch.context() as crash:
        crash.setattr(project, "put_arrays", lambda *a, **k: 1 / 0)
        with pytest.raises(SeedlabError):
            session.thumbnails.ask("ct").wait(60)
    session.close()
    again = make_session(session.path)
    assert again.thumbnails.find(1) is None
    assert again.thumbnails.ask("ct").wait(60)["n_new"] == len(kept.seeds)


def test_a_job_that_finds_all_drawn_keeps_them(split_session):
    from napari_seedlab.session.thumbnails import _step

    session = split_session
    session.thumbnails.ask("ct").wait(60)
    before = session.thumbnails.tables["ct"].seeds
    assert session.desk.start(_step(session, session.thumbnails, "ct")).wait(60)["n_new"] == 0
    assert session.thumbnails.tables["ct"].seeds.tolist() == before.tolist()


def test_pictures_of_an_earlier_version_stand_until_they_are_drawn_anew(
    split_session, make_session, monkeypatch
):
    session = split_session
    with monkeypatch.context() as earlier:
        earlier.setattr(thumbnails, "VERSION", 1)
        session.thumbnails.ask("ct").wait(60)
    session.close()
    again = make_session(session.path)
    assert again.thumbnails.find(2) is not None
    assert again.thumbnails.ask("ct").wait(60)["n_new"] == 25
    assert again.thumbnails.ask("ct") is None


def test_seeds_of_a_dark_photo_are_seen_in_their_colours():
    """Limits are those of the seeds, one range for the three colours, and glare does not count."""
    planes = np.full((3, 3000, 40), 250, np.uint8)
    regions = np.zeros((1, 3000, 40), np.int32)
    regions[0, ::2, 10:30] = 1
    for plane, value in zip(planes, (40, 30, 20), strict=True):
        plane[regions[0] == 1] = value
    planes[:, 1400:1500, 12] = 255
    scan = ScanView("image", planes, regions, None, (1.0, 1.0, 1.0))
    limits = plane_limits(scan, (0, 1, 2))
    assert limits[:, 0].tolist() == [0, 0, 0] and np.ptp(limits[:, 1]) == 0
    assert 40 <= limits[0, 1] <= 80
    bare = ScanView("image", planes, np.zeros_like(regions), None, (1.0, 1.0, 1.0))
    assert plane_limits(bare, (0, 1, 2))[0, 1] > 200  # no seed: of the whole picture
