import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
from bad_inputs import BAD

from napari_seedlab.core import InputError
from napari_seedlab.core.errors import MAX_LINE
from napari_seedlab.io.gate import shown_name
from napari_seedlab.io.reader_process import reader

GIB_KB = 2**20
SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def warm():
    reader().warm().join()
    return reader()


def peak_kb(pid):
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1])


def refusal(warm, path):
    """The line of the refusal, after the checks that hold for all of them."""
    started = time.monotonic()
    with pytest.raises(InputError) as caught:
        facts, source = warm.describe(path)
        if source.layout == "encoded":
            warm.planes(path, facts, 0, 1)
    assert time.monotonic() - started < 5
    line = str(caught.value)
    assert len(line.splitlines()) == 1 and len(line) <= MAX_LINE and line.isprintable()
    assert shown_name(path) in line or shown_name(path.with_suffix(".raw")) in line
    if warm.pid is not None and os.path.exists(f"/proc/{warm.pid}/status"):
        assert peak_kb(warm.pid) < GIB_KB
    return line


@pytest.mark.parametrize("case", BAD)
def test_a_bad_input_is_refused_in_one_line(case, warm, tmp_path):
    maker, words = BAD[case]
    if case.startswith("108") and os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = maker(tmp_path)
    before = warm.pid

    line = refusal(warm, path)

    assert re.search(words, line), line
    assert warm.pid == before  # a clean refusal, not a crash of the reader


def test_the_reader_still_works_after_all_of_them(warm, tmp_path):
    for maker, _ in list(BAD.values())[:12]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        refusal(warm, maker(folder))
    np.save(tmp_path / "good.npy", np.ones((2, 3, 4), np.uint8))
    assert warm.describe(tmp_path / "good.npy")[0].shape == (2, 3, 4)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_are_read_or_refused_but_never_hurt(seed, warm, tmp_path):
    import tifffile

    rng = np.random.default_rng(seed)
    tifffile.imwrite(
        tmp_path / "good.tif",
        rng.integers(0, 9, (4, 30, 30), np.uint16),
        photometric="minisblack",
        compression="zlib",
    )
    good = np.frombuffer((tmp_path / "good.tif").read_bytes(), np.uint8)
    for trial in range(60):
        bytes_ = good.copy()
        at = rng.integers(0, len(bytes_), rng.integers(1, 12))
        bytes_[at] = rng.integers(0, 256, len(at))
        path = tmp_path / f"mutant{trial}.tif"
        path.write_bytes(bytes_.tobytes()[: rng.integers(1, len(bytes_) + 1) if trial % 3 == 0 else None])
        try:
            facts, source = warm.describe(path)
            if source.layout == "encoded":
                warm.planes(path, facts, 0, facts.shape[0])
        except InputError as error:
            line = str(error)
            assert path.name in line and len(line) <= MAX_LINE and len(line.splitlines()) == 1


@pytest.mark.parametrize("pattern", ["broken/*.tif*", "broken/*.hdr"])
def test_shared_broken_files(pattern, warm):
    if not SHARED.is_dir():
        pytest.skip("the shared data folder is not beside the repository")
    readable = {"total-pages-zero.tif"}  # a fax stack that reads well
    for path in sorted(SHARED.glob(pattern)):
        if path.name in readable:
            assert warm.describe(path)[0].shape[0] == 3
        else:
            refusal(warm, path)
