import os
import stat

import pytest

from napari_seedlab.core import ProjectError
from napari_seedlab.files import (
    atomic,
    atomic_write,
    file_changed,
    link_tree,
    publish_tree,
    sweep_temporaries,
)


def fail_nth(monkeypatch, name, n, error):
    """Make the n-th call of ``os.<name>`` raise."""
    plain, calls = getattr(os, name), []

    def call(*args, **kwargs):
        calls.append(args)
        if len(calls) == n:
            raise OSError(error, os.strerror(error))
        return plain(*args, **kwargs)

    monkeypatch.setattr(os, name, call)


@pytest.mark.parametrize("data", [b"new", lambda stream: stream.write(b"new")], ids=["bytes", "writer"])
def test_replaces_the_whole_file_privately(tmp_path, data):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old content")
    atomic_write(target, data)
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
@pytest.mark.parametrize("error", [28, 5, 13, 24])
def test_failure_keeps_the_old_file_and_says_why(tmp_path, monkeypatch, call, error):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    fail_nth(monkeypatch, call, 1, error)
    with pytest.raises(ProjectError, match=r"^a\.bin: could not be written") as caught:
        atomic_write(target, b"new")
    assert "\n" not in str(caught.value)
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_writer_that_raises_leaves_nothing(tmp_path):
    def writer(stream):
        stream.write(b"half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        atomic_write(tmp_path / "a.bin", writer)
    assert os.listdir(tmp_path) == []


def test_file_and_folder_are_synced_before_and_after_the_rename(tmp_path, monkeypatch):
    steps = []
    for name in ("fsync", "replace"):
        plain = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, p=plain: (steps.append(n), p(*a))[1])
    atomic_write(tmp_path / "a.bin", b"x")
    assert steps == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("n_files", [3, atomic.MANY_FILES + 5])
def test_tree_is_published_and_private(tmp_path, n_files):
    source = tmp_path / "work"
    (source / "c").mkdir(parents=True)
    for i in range(n_files):
        (source / "c" / str(i)).write_bytes(b"x")
    publish_tree(source, tmp_path / "final")
    assert sorted(os.listdir(tmp_path)) == ["final"]
    assert len(os.listdir(tmp_path / "final" / "c")) == n_files
    assert stat.S_IMODE((tmp_path / "final").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "final" / "c" / "0").stat().st_mode) == 0o600


def test_published_tree_replaces_the_old_one(tmp_path):
    for name in ("work", "final"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(b"x")
    publish_tree(tmp_path / "work", tmp_path / "final")
    assert os.listdir(tmp_path / "final") == ["work"]
    assert os.listdir(tmp_path) == ["final"]


@pytest.mark.parametrize("n", [1, 2])
def test_failed_rename_keeps_the_old_tree(tmp_path, monkeypatch, n):
    for name in ("work", "final"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(b"x")
    fail_nth(monkeypatch, "rename", n, 28)
    with pytest.raises(ProjectError, match=r"^final: could not be written \(No space"):
        publish_tree(tmp_path / "work", tmp_path / "final")
    assert os.listdir(tmp_path / "final") == ["final"]


def test_leftovers_are_swept_and_nothing_else(tmp_path):
    (tmp_path / ".a.bin.1.abcd.tmp").write_bytes(b"")
    (tmp_path / ".b.1.abcd.tmp").mkdir()
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "kept.tmp").write_bytes(b"")
    assert len(sweep_temporaries(tmp_path)) == 2
    assert sorted(os.listdir(tmp_path)) == [".hidden", "kept.tmp"]


def test_linked_trees_share_files_and_keep_what_is_renamed_over(tmp_path):
    (tmp_path / "a" / "c").mkdir(parents=True)
    (tmp_path / "a" / "c" / "0").write_bytes(b"old")
    link_tree(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b" / "c" / "0").stat().st_ino == (tmp_path / "a" / "c" / "0").stat().st_ino
    atomic_write(tmp_path / "a" / "c" / "0", b"new")
    assert (tmp_path / "b" / "c" / "0").read_bytes() == b"old"


def test_a_tree_that_cannot_be_linked_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"x")
    fail_nth(monkeypatch, "link", 1, 18)
    monkeypatch.setattr(atomic.shutil, "copyfile", lambda *args: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(ProjectError, match=r"^b: could not be written"):
        link_tree(tmp_path / "a", tmp_path / "b")
    assert os.listdir(tmp_path) == ["a"]


def test_a_changed_file_is_told_by_size_and_time(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    size, time = path.stat().st_size, path.stat().st_mtime_ns
    assert file_changed(path, size, time) == ""
    assert "4 bytes when it was opened, 3 now" in file_changed(path, 4, time)
    assert "written again" in file_changed(path, size, time - 1)
    path.unlink()
    assert "cannot be read any more" in file_changed(path, size, time)
