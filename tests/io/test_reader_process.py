import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_seedlab.core import InputError
from napari_seedlab.io import ReaderProcess
from napari_seedlab.io import reader_process as module

ROOT = Path(__file__).parents[2]


@pytest.fixture
def process():
    process = ReaderProcess(seconds=4.0)
    yield process
    process.close()


@pytest.fixture
def good(tmp_path):
    np.save(tmp_path / "good.npy", np.ones((2, 3, 4), np.uint8))
    return tmp_path / "good.npy"


@pytest.fixture
def packed(tmp_path):
    tifffile.imwrite(
        tmp_path / "z.tif", np.ones((6, 32, 32), np.uint8), photometric="minisblack", compression="zlib"
    )
    return tmp_path / "z.tif"


def child_that(monkeypatch, code):
    """Let the next child run `code` instead of the reader's loop."""
    ready = "import os, sys, json, struct, time\n"
    ready += "def send(m):\n t = json.dumps(m).encode(); os.write(1, struct.pack('<I', len(t)) + t)\n"
    monkeypatch.setattr(module, "START", ready + "send({'ready': 1})\nsys.stdin.readline()\n" + code)


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def gone(pid, seconds=5.0):
    """Whether the process ends in time."""
    deadline = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    return not alive(pid)


def test_it_starts_once_and_stays_warm(process, good):
    process.warm().join()
    pid = process.pid
    assert process.describe(good)[0].shape == (2, 3, 4) and process.pid == pid


def test_a_killed_child_is_replaced(process, good):
    process.warm().join()
    pid = process.pid
    os.kill(pid, signal.SIGKILL)
    assert process.describe(good)[0].shape == (2, 3, 4)
    assert process.pid != pid


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("os.kill(os.getpid(), 11)", "signal 11"),
        ("os._exit(3)", "code 3"),
        ("os.write(1, struct.pack('<I', 2**31))", "announced an answer of 2,048 MiB|2 GiB"),
        ("os.write(1, struct.pack('<I', 4) + b'oops')", "not JSON"),
        ("send([1])", "not an object"),
        ("send({'facts': 1})", "nonsense"),
        ("os.write(1, b'xx'); os._exit(0)", "code 0"),
    ],
    ids=["segfault", "exit", "long", "noise", "list", "nonsense", "cut"],
)
def test_a_child_that_fails_over_a_file_is_one_line_and_replaced(code, words, process, good, monkeypatch):
    with monkeypatch.context() as patch:
        child_that(patch, code)
        with pytest.raises(InputError, match=f"good.npy.*({words})"):
            process.describe(good)
    process.close()
    assert process.describe(good)[0].shape == (2, 3, 4)


def test_a_file_that_kills_every_child_is_refused(process, good, monkeypatch):
    child_that(monkeypatch, "os.kill(os.getpid(), 9)")
    process.warm().join()
    with pytest.raises(InputError, match="signal 9"):
        process.describe(good)


def test_a_silent_child_is_ended_in_time(good, monkeypatch):
    process = ReaderProcess(seconds=0.3)
    child_that(monkeypatch, "time.sleep(60)")
    started = time.monotonic()
    with pytest.raises(InputError, match="no answer in time"):
        process.describe(good)
    assert time.monotonic() - started < 5 and process.pid is None
    process.close()


def test_a_child_stuck_in_a_codec_ends_itself(good):
    """The alarm works without its parent and without Python running."""
    code = (
        "import sys, re, napari_seedlab.io.reader_child as c, napari_seedlab.io.formats as f\n"
        "c.format_of = lambda path: re.match('(a+)+b', 'a' * 60)\n"  # never returns to Python
        "c.main()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(2**30), "0.5"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        child.stdin.write(b'{"op": "describe", "path": "x", "modality": null}\n')
        child.stdin.flush()
        assert child.wait(timeout=20) == -signal.SIGALRM


def test_no_child_outlives_its_app(tmp_path):
    code = (
        "import os, signal\nfrom napari_seedlab.io import reader\n"
        "reader().warm().join()\nprint(reader().pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    pid = int(done.stdout)
    assert done.returncode == -signal.SIGKILL and gone(pid)


def test_a_child_started_in_a_thread_outlives_the_thread(process, good):
    thread = process.warm()
    thread.join()
    pid = process.pid
    assert pid is not None and process.describe(good) and process.pid == pid


def test_memory_is_limited(packed, tmp_path):
    process = ReaderProcess(memory_bytes=48 * 2**20)
    values = np.zeros((8192, 8192), np.uint8)
    tifffile.imwrite(tmp_path / "big.tif", values, compression="zlib", photometric="minisblack")
    with pytest.raises(InputError, match=r"big\.tif.*memory"):
        process.describe(tmp_path / "big.tif")
    assert process.describe(packed)[0].shape == (6, 32, 32)
    process.close()


def test_planes_come_as_described(process, packed):
    facts, _ = process.describe(packed)
    assert process.planes(packed, facts, 2, 5).shape == (3, 32, 32)
    assert process.planes(packed, facts, 2, 2).shape == (0, 32, 32)


def test_planes_of_a_file_that_changed_are_refused(process, packed):
    facts, _ = process.describe(packed)
    tifffile.imwrite(packed, np.ones((6, 20, 20), np.uint8), photometric="minisblack", compression="zlib")
    with pytest.raises(InputError, match="not what was described"):
        process.planes(packed, facts, 0, 2)


def test_many_threads_may_ask(process, packed, good):
    answers = []

    def ask(path):
        facts, source = process.describe(path)
        answers.append(facts.shape if source.layout == "raw" else process.planes(path, facts, 0, 1).shape)

    threads = [threading.Thread(target=ask, args=(p,)) for p in [packed, good] * 6]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(answers)) == [(1, 32, 32), (2, 3, 4)] and len(answers) == 12


def test_the_child_imports_no_more_than_it_needs(process):
    process.warm().join()
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert "numpy" in maps and not any(
        word in maps for word in ("libtorch", "Qt5Core", "/scipy/", "sklearn", "llvmlite")
    )


def test_the_current_folder_is_not_imported_from(tmp_path, good, monkeypatch):
    (tmp_path / "tifffile.py").write_text("raise SystemExit('planted')")
    monkeypatch.chdir(tmp_path)
    process = ReaderProcess()
    assert process.describe(good)[0].shape == (2, 3, 4)
    process.close()
