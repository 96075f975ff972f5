import errno
import os

import pytest

from napari_seedlab.core import InputError
from napari_seedlab.io.gate import n_bytes, regular_file, shown_name


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EACCES, "may not be read"), (errno.ELOOP, "leads back"), (errno.EIO, "cannot be opened")],
)
def test_what_the_system_refuses_is_one_line(number, words, monkeypatch):
    def refuse(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError, match=f"scan.tif.*{words}"), regular_file("/data/scan.tif"):
        pass


def test_no_descriptor_is_left_open(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"1")
    os.mkfifo(tmp_path / "p")
    before = len(os.listdir("/proc/self/fd"))
    with regular_file(tmp_path / "a.tif") as (stream, facts):
        assert (stream.read(), facts.st_size) == (b"1", 1)
    for path in (tmp_path, tmp_path / "p", tmp_path / "none"):
        with pytest.raises(InputError), regular_file(path):
            pass
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (1000, "1,000 bytes"), (3 * 2**20, "3,145,728 bytes"),
                        (37 * 2**30, "37 GiB"), (2**70, "over 2^70 bytes"), (64 * 2**20, "64 MiB")]
)  # fmt: skip
def test_sizes_in_words(count, text):
    assert n_bytes(count) == text


@pytest.mark.parametrize("name", ["a\nb.tif", "\u202egpj.tif", "n" * 255, "\udc80.tif", "seed\x00.tif"])
def test_names_fit_on_a_line(name):
    shown = shown_name(f"/data/{name}")
    assert shown.isprintable() and 0 < len(shown) <= 72
