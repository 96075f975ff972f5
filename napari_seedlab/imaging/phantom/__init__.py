"""A procedural scan of seeds, with the truth about every voxel.

A scene is made from :class:`Dials` alone: the same dials give the same voxels. Arrays are (z, y, x)
with z downwards; lengths are in voxels unless a name ends in ``_um``.

====================================================  ==================================================
``make_tray(dials) -> Phantom``                       volume uint8, instances int32, tissues uint8,
                                                      defect_mask uint8, table (SeedTable), dials
``make_twin(phantom, n_bands=60) -> Cube``            the same tray from above: data (band, y, x) uint16
                                                      counts, reflectance(), wavelengths_nm, instances
``make_seed_pool(n, random_state, shares, dials)``    SeedPool: images, masks, defects (one crop a seed),
                                                      class_id, kind, defect_fraction
``cut_seeds(phantom)``                                the crops of a scan, in the order of its table
``DEFAULT_TRAY``, ``TUBE``                            presets; change one with ``.replace(noise=0.04)``
``tray_dials(n, random_state)``, ``tube_dials(...)``  as crowded as the preset, for any number of seeds
====================================================  ==================================================

Classes are 1 normal, 2 abnormal, 3 dead, 4 foreign; tissues 0 background, 1 coat, 2 embryo, 3 air
inside. ``chain="image"`` adds blur, cupping, noise, rings and streaks to the density; ``"projected"``
goes through counted projections and filtered back-projection, and is the check of the former.

Examples
--------
>>> tray = make_tray(DEFAULT_TRAY.replace(random_state=1))  # doctest: +SKIP
>>> tray.table.kind[tray.table.class_id == 2]  # doctest: +SKIP
"""

from napari_seedlab.imaging.phantom.dials import DEFAULT_TRAY, TUBE, Dials, tray_dials, tube_dials
from napari_seedlab.imaging.phantom.pool import POOL_SHARES, SeedPool, cut_seeds, make_seed_pool
from napari_seedlab.imaging.phantom.tray import Phantom, SeedTable, make_tray
from napari_seedlab.imaging.phantom.twin import Cube, make_twin

__all__ = [
    "DEFAULT_TRAY",
    "POOL_SHARES",
    "TUBE",
    "Cube",
    "Dials",
    "Phantom",
    "SeedPool",
    "SeedTable",
    "cut_seeds",
    "make_seed_pool",
    "make_tray",
    "make_twin",
    "tray_dials",
    "tube_dials",
]
