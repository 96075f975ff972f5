"""A file that is a scan of the project already is not added again."""

import pytest
import tifffile
from conftest import small_tray


@pytest.fixture
def twice(make_session, tray):
    """A session with a scan beside the first one, which is shown, and what it said."""
    session = make_session()
    session.import_scan(tray).wait(60)
    session.import_scan(tray, "image").wait(60)
    session.said = []
    session.message.connect(lambda level, text: session.said.append((level, text)))
    return session


def test_the_scan_that_is_there_is_shown(twice, tray):
    events = twice.desk.do(lambda project: len(project.events())).result()
    assert twice.current_scan == 1
    assert twice.import_scan(tray, "image").wait(60)["scan"] == 2
    assert twice.current_scan == 2
    assert twice.said == [("info", "tray is scan 2 already; nothing was added.")]
    assert sorted(twice.scans) == [1, 2]
    assert twice.desk.do(lambda project: len(project.events())).result() == events


def test_other_content_under_the_same_name_is_another_scan(twice, tray):
    tifffile.imwrite(tray, small_tray(1)[0])
    assert twice.import_scan(tray).wait(60)["scan"] == 3


def test_a_copied_scan_is_known_too(make_session, tmp_path):
    path, session = tmp_path / "packed.tif", make_session()
    tifffile.imwrite(path, small_tray()[0], compression="zlib")
    for _ in range(2):
        assert session.import_scan(path).wait(60)["scan"] == 1
    assert list(session.scans) == [1]
