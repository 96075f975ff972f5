"""A file that is a scan of the project already is not added again."""

import numpy as np
import pytest
import tifffile

from tests.session.conftest import small_tray


@pytest.fixture
def twice(make_session, tray):
    """A session with a scan beside the first one, which is shown, and what it said."""
    session = make_session()
    session.import_scan(tray).wait(60)
    session.import_scan(tray, "hsi").wait(60)
    session.said = []
    session.message.connect(lambda level, text: session.said.append((level, text)))
    return session


def test_the_scan_that_is_there_is_shown(twice, tray):
    events = twice.desk.do(lambda project: len(project.events())).result()
    assert twice.current_scan == 1
    assert twice.import_scan(tray, "hsi").wait(60)["scan"] == 2
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


HEADER = """ENVI
samples = 6
lines = 5
bands = 4
header offset = 0
data type = 12
interleave = bsq
byte order = {order}
wavelength units = nm
wavelength = {{{first}, 500, 600, 700}}
"""


@pytest.mark.parametrize("corrected", [{"order": 1}, {"first": 410}], ids=["byte order", "wavelengths"])
def test_a_corrected_header_is_another_scan(make_session, tmp_path, corrected):
    np.arange(4 * 5 * 6, dtype="<u2").tofile(tmp_path / "cube.raw")
    header, first = tmp_path / "cube.hdr", {"order": 0, "first": 400}
    header.write_text(HEADER.format(**first))
    session, said = make_session(), []
    assert session.import_scan(header).wait(60)["scan"] == 1
    session.message.connect(lambda _, text: said.append(text))
    header.write_text(HEADER.format(**first | corrected))
    assert session.import_scan(header).wait(60)["scan"] == 2
    assert said[0] == "cube is not what it was as scan 1; added as scan 2."
    old, new = (session.scans[scan].facts.wavelengths_nm for scan in (1, 2))
    assert (old == new) == ("first" not in corrected)
    header.write_text(HEADER.format(**first))
    told = session.import_scan(header).wait(60)
    assert (told["scan"], told["wavelengths_nm"][0]) == (1, 400.0)
