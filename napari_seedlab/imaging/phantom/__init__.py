"""A procedural scan of seeds, with the truth about every voxel."""

from napari_seedlab.imaging.phantom.dials import DEFAULT_TRAY, TUBE, Dials, tray_dials
from napari_seedlab.imaging.phantom.pool import POOL_SHARES, SeedPool, cut_seeds, make_seed_pool
from napari_seedlab.imaging.phantom.tray import Phantom, SeedTable, make_tray

__all__ = [
    "DEFAULT_TRAY",
    "POOL_SHARES",
    "TUBE",
    "Dials",
    "Phantom",
    "SeedPool",
    "SeedTable",
    "cut_seeds",
    "make_seed_pool",
    "make_tray",
    "tray_dials",
]
