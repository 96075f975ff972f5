"""A procedural scan of seeds, with the truth about every voxel."""

from napari_seedlab.imaging.phantom.dials import DEFAULT_TRAY, TUBE, Dials, tray_dials
from napari_seedlab.imaging.phantom.tray import Phantom, SeedTable, make_tray

__all__ = ["DEFAULT_TRAY", "TUBE", "Dials", "Phantom", "SeedTable", "make_tray", "tray_dials"]
