"""What a split in the window is followed by, without anybody asking."""

import threading

import pytest

from napari_seedlab.io.samples import write_sample
from napari_seedlab.ui.empty_states import on_map

WAIT_S = 60


@pytest.mark.parametrize("kind", ["hsi", "ct"])
def test_a_split_is_described_and_mapped_by_itself(make_session, tmp_path, kind):
    session = make_session()
    session.import_scan(write_sample(kind, 12, 3, tmp_path / kind), kind).wait(WAIT_S)
    session.follow_up = True
    came, told = threading.Event(), []
    session.regions_changed.connect(lambda _: session.desk.do(lambda _: told.append(on_map(session))))
    session.desk.status.connect(lambda _: told.append(on_map(session)))
    session.layout_changed.connect(lambda: came.set())
    session.split().wait(WAIT_S)
    assert came.wait(WAIT_S) and session.pool in session.embeddings
    assert any("comes by itself" in text for text in told)
    assert not any("choose" in text for text in told), told
