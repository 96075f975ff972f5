"""Values by id."""

import tracemalloc

import numpy as np
import pytest

from napari_seedlab.imaging.ids import BLOCK, MOST_ENTRIES, at_ids, lookup


@pytest.mark.parametrize("shift", [0, MOST_ENTRIES, -5], ids=["table", "beyond a table", "negative"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64, bool])
def test_values_are_found_in_any_order_and_are_zero_where_absent(shift, dtype):
    rng = np.random.default_rng(0)
    keys = rng.permutation(np.arange(1, 400, 3)) + shift
    values = rng.integers(1, 200, len(keys)).astype(dtype)
    wanted = rng.integers(1, 900, 1000) + shift
    known = dict(zip(keys.tolist(), values.tolist(), strict=True))
    found = lookup(keys, values, wanted)
    assert found.dtype == dtype
    assert found.tolist() == [known.get(w, 0) for w in wanted.tolist()]


def test_nothing_is_known_of_nobody():
    none = np.zeros(0, np.int64)
    assert lookup(none, np.zeros(0, np.uint8), np.arange(3)).tolist() == [0, 0, 0]
    assert lookup(np.arange(1, 3), np.ones(2), none).tolist() == []


@pytest.mark.parametrize("turned", [False, True])
def test_a_plane_of_ids_is_read_without_a_copy_of_the_ids(turned):
    ids = np.random.default_rng(0).integers(0, 50, (900, 1100)).astype(np.int32)
    assert ids.size > 2 * BLOCK
    table = np.random.default_rng(1).integers(0, 255, 40).astype(np.uint8)
    seen = ids.T if turned else ids
    tracemalloc.start()
    found = at_ids(table, seen)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found, table[np.minimum(seen, 39)])
    assert turned or peak < 2 * ids.nbytes / 4 + 8 * BLOCK * 2
