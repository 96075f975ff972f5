"""What `seedlab check` reads beside the journal and the rasters."""

import pytest
from small_project import small_project

from napari_seedlab.core import ModelCard


@pytest.fixture
def project(tmp_path):
    with small_project(tmp_path / "P.seedlab") as opened:
        yield opened


@pytest.mark.parametrize("change", ["other", "cut", "gone"])
@pytest.mark.parametrize("name", ["w.bin", "card.json"])
def test_check_reads_each_file_of_a_model(project, name, change, tmp_path):
    (tmp_path / "w.bin").write_bytes(b"weights")
    project.register_model(ModelCard("head-1", "head", "", (1,), ""), {"w.bin": tmp_path / "w.bin"})
    project.activate("head-1")
    assert project.check() == []
    (file,) = (project.path / "models").rglob(name)
    text = file.read_bytes()
    changed = text.replace(b"head-1", b"head-2").replace(b"weights", b"weighty")
    file.unlink() if change == "gone" else file.write_bytes(changed if change == "other" else text[:-3])
    (line,) = project.check()
    assert name in line and line.endswith("Train the model again.")


@pytest.mark.parametrize("text", ["", "[1]", '{"scan": 1'])
def test_check_reads_where_the_user_stood(project, text):
    project.set_state("scan", 1)
    assert project.check() == []
    (project.path / "state.json").write_text(text)
    (line,) = project.check()
    assert line.startswith("state.json: is not what was written. Delete it")
