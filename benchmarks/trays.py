"""Phantom trays whose seeds are encoded and whose classes are known, and the arguments about them."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import GRAIN_SCHEME
from napari_seedlab.imaging.phantom import DEFAULT_TRAY, make_tray, tray_dials
from napari_seedlab.imaging.regions import match_regions, region_table
from napari_seedlab.imaging.split import split
from napari_seedlab.learn.embedding import ScanView, scan_levels, seed_boxes
from napari_seedlab.learn.encoders import SeedImage, make_encoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_seedlab.imaging.phantom import Dials, Phantom

IDS = GRAIN_SCHEME.ids


@dataclass(frozen=True)
class Tray:
    """Seeds of a phantom: vectors (n, d) and true classes (n,); and how many regions are no seed."""

    vectors: npt.NDArray[np.float32]
    class_id: npt.NDArray[np.int32]
    n_others: int = 0


def tray_of(
    n: int,
    random_state: int,
    base: Dials = DEFAULT_TRAY,
    encoders: Sequence[str] = ("descriptors",),
    outlines: str = "true",
    inverted: bool = False,
) -> Tray:
    """Encode the seeds of a phantom tray, with true outlines or as the app splits them."""
    phantom = make_tray(tray_dials(n, random_state, base))
    raster = split(phantom.volume) if outlines == "split" else phantom.instances
    table = region_table(1, raster)
    scan = ScanView("ct", phantom.volume, raster, table, (phantom.dials.voxel_size_um,) * 3)
    levels = scan_levels(scan)
    images, rows = [], []
    for row, image, found in seed_boxes(scan, np.arange(len(table))):
        mask = found == table.region[row]
        grey = np.where(mask, 2 * levels.solid - image, image) if inverted else image.copy()
        images.append(SeedImage("ct", grey, mask, levels, scan.scale_um))
        rows.append(row)
    vectors = np.hstack([make_encoder({"name": name}, "ct").encode(images) for name in encoders])
    truth = _classes(phantom, raster, table.region[rows].tolist())
    seen = truth > 0
    return Tray(vectors[seen], truth[seen], int((~seen).sum()))


def _classes(phantom: Phantom, raster: npt.NDArray[np.int32], regions: list[int]) -> npt.NDArray[np.int32]:
    """True class of each region; 0 where it matches no seed (IoU below 0.5)."""
    class_of = dict(zip(phantom.table.id.tolist(), phantom.table.class_id.tolist(), strict=True))
    if raster is phantom.instances:
        return np.asarray([class_of[r] for r in regions], np.int32)
    pairs = match_regions(raster, phantom.instances)  # by new region: the old one
    seed_of = {found: seed for seed, found in pairs.items()}
    return np.asarray([class_of.get(seed_of.get(r, 0), 0) for r in regions], np.int32)


def asked(about: str | None, n_states: int, outlines: str) -> argparse.Namespace:
    """Which encoders, random states and outlines the command line wants."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", default="descriptors")
    parser.add_argument("--states", type=int, default=n_states)
    parser.add_argument("--outlines", choices=("true", "split"), default=outlines)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def tell(told: dict[str, Any], wanted: argparse.Namespace) -> None:
    """Print what was found beside what was asked, as one JSON object."""
    facts = {"encoders": wanted.encoders, "outlines": wanted.outlines, "states": wanted.states}
    sys.stdout.write(json.dumps({**facts, **told}, indent=None if wanted.json else 1) + "\n")
