"""Which seed lies at a place of a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_seedlab.files import open_array

if TYPE_CHECKING:
    from napari_seedlab.session.session import Session


def seed_at(session: Session, place: tuple[float, ...]) -> int:
    """Seed whose region holds the voxel (z, y, x) of the current scan; 0 for none."""
    scan = session.current_scan or 0
    table, source = session.regions(scan), session.regions_source(scan)
    if table is None or source is None:
        return 0
    raster = open_array(source)
    voxel = [round(v) for v in place]
    if any(not 0 <= v < n for v, n in zip(voxel, raster.shape, strict=True)):
        return 0
    cut = tuple(slice(v, v + 1) for v in voxel)
    rows = np.flatnonzero(table.region == int(raster[cut].item()))
    return int(table.seed[rows[0]]) if rows.size else 0
