"""Values of many seeds or regions by their id."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.integer[Any]]

MOST_ENTRIES = 2**22  # of a table that has a place for each id
BLOCK = 2**16  # ids that are turned into places at a time


def lookup(keys: Ids, values: npt.NDArray[Any], wanted: Ids) -> npt.NDArray[Any]:
    """Values (m,) of `wanted` (m,) among different `keys` (n,) in any order; 0 where absent.

    Ids are counted from 1, so that a table with a place for each is small: read from it, 50,000 values take
    0.2 ms in any order, and 1 to 8 ms where each has to be searched for.
    """
    if not len(keys) or not len(wanted):
        return np.zeros(len(wanted), values.dtype)
    ends = (int(keys.min()), int(keys.max()), int(wanted.min()))
    if ends[0] < 0 or ends[2] < 0 or ends[1] >= MOST_ENTRIES:
        order = np.argsort(keys)
        at = order[np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)]
        return np.where(keys[at] == wanted, values[at], values.dtype.type(0))
    table = np.zeros(ends[1] + 2, values.dtype)  # the last entry is for ids beyond
    table[keys] = values
    return np.take(table, np.minimum(wanted, ends[1] + 1))


def at_ids(table: npt.NDArray[Any], ids: Ids) -> npt.NDArray[Any]:
    """``table[ids]`` of a large array of ids, the last entry for ids beyond, with no copy of the ids."""
    if not ids.flags.c_contiguous:
        return np.take(table, ids, mode="clip")
    out = np.empty(ids.shape, table.dtype)
    flat, places = out.reshape(-1), ids.reshape(-1)
    for start in range(0, len(flat), BLOCK):
        part = slice(start, start + BLOCK)
        np.take(table, places[part], mode="clip", out=flat[part])
    return out
