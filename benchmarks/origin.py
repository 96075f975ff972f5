"""What a project that starts from another one saves, and when it says that its seeds are others.

    python benchmarks/origin.py [--encoders descriptors] [--states 5] [--outlines true|split] [--json]

An earlier tray of 400 seeds was labelled with 150 answers as the app asks; the new tray has other contrast,
noise, blur, voxel size and class shares. Both are answered as the app asks, up to 150, from scratch and from
the earlier project, and judged by balanced accuracy on 800 fresh seeds of the new kind. Then: how many seeds
lie outside what the earlier tray shows, for a tray like it, for the new kind, and for a tray with inverted
contrast (every grey value of a seed mirrored at that of the typical seed).
"""

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
from napari_seedlab.learn.calibration import balanced_accuracy
from napari_seedlab.learn.embedding import ScanView, scan_levels, seed_boxes
from napari_seedlab.learn.encoders import SeedImage, make_encoder
from napari_seedlab.learn.head import Head, pool_scaler
from napari_seedlab.learn.person import rounds
from napari_seedlab.learn.transfer import domain_of, mapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_seedlab.imaging.phantom import Dials, Phantom

IDS, BUDGET, BATCH = GRAIN_SCHEME.ids, 150, 10
NAMES = {c.id: c.name for c in GRAIN_SCHEME}
SHIFTED = DEFAULT_TRAY.replace(
    diameter=18.0, voxel_size_um=90.0, noise=0.045, blur=0.95, cupping=0.09, rings=0.01, streaks=0.01,
    air_grey=40.0, seed_grey=115.0, shares=(0.6, 0.22, 0.15, 0.03),
)  # fmt: skip


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


def labelled_head(tray: Tray, random_state: int, n: int = BUDGET) -> Head:
    """The head of a tray after `n` answers to what the app asks."""
    for answers, result in rounds(tray.vectors, tray.class_id, IDS, random_state, BATCH):
        if len(answers.seed) >= n and result.head is not None:
            return result.head
    raise AssertionError("the tray has too few seeds")


def curve(tray: Tray, fresh: Tray, random_state: int, earlier: Head | None) -> list[float]:
    """Balanced accuracy on fresh seeds after 0, 10, … answers; NaN before there is a model."""
    scaler = pool_scaler(tray.vectors)
    prior = None if earlier is None else mapped(earlier, NAMES, IDS, NAMES, scaler)
    out = []
    for answers, result in rounds(tray.vectors, tray.class_id, IDS, random_state, BATCH, prior=prior):
        p = None if result.head is None else result.head.probabilities(fresh.vectors)
        right = np.nan if p is None else balanced_accuracy(fresh.class_id, np.asarray(IDS)[p.argmax(1)])
        out.append(float(right))
        if len(answers.seed) >= BUDGET:
            break
    return out


def one_state(
    state: int, encoders: Sequence[str], outlines: str, n: int = 400, n_fresh: int = 800
) -> dict[str, Any]:
    """Everything for one random state of trays, annotator and folds."""
    earlier = tray_of(n, 1000 + state, encoders=encoders, outlines=outlines)
    new = tray_of(n, 2000 + state, SHIFTED, encoders, outlines)
    fresh = tray_of(n_fresh, 3000 + state, SHIFTED, encoders, outlines)
    head, domain = labelled_head(earlier, 50 + state), domain_of(earlier.vectors)
    same = tray_of(n, 4000 + state, encoders=encoders, outlines=outlines)
    inverted = tray_of(n // 2, 5000 + state, encoders=encoders, outlines=outlines, inverted=True)
    kinds = {"same": same, "shifted": new, "inverted": inverted}
    return {
        "state": state,
        "scratch": curve(new, fresh, state, None),
        "started": curve(new, fresh, state, head),
        "outside": {kind: float(domain.is_outside(t.vectors).mean()) for kind, t in kinds.items()},
    }


def summary(states: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the states, and the labels needed to reach what is reached from scratch in the end."""
    scratch, started = (np.asarray([s[k] for s in states]) for k in ("scratch", "started"))
    mean, target = started.mean(0), float(scratch.mean(0)[-1])
    reached = np.flatnonzero(mean >= target)
    worst = (started - scratch)[:, 1:].mean(0).min()
    return {
        "budget": list(range(0, BUDGET + 1, BATCH)),
        "scratch": [None if np.isnan(v) else round(float(v), 4) for v in scratch.mean(0)],
        "started": [round(float(v), 4) for v in mean],
        "labels_to_scratch_at_the_end": int(reached[0]) * BATCH if len(reached) else None,
        "worst_difference_of_means": round(float(worst), 4),
        "worst_difference_of_a_state": round(float((started - scratch)[:, 1:].min()), 4),
        "outside": {k: [round(s["outside"][k], 3) for s in states] for k in states[0]["outside"]},
    }


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoders", default="descriptors")
    parser.add_argument("--states", type=int, default=5)
    parser.add_argument("--outlines", choices=("true", "split"), default="true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    states = []
    for state in range(asked.states):
        states.append(one_state(state, asked.encoders.split(","), asked.outlines))
        line = {k: np.round(v, 3).tolist() for k, v in states[-1].items() if isinstance(v, list)}
        sys.stderr.write(f"state {state}: {json.dumps({**line, 'outside': states[-1]['outside']})}\n")
    told = {"encoders": asked.encoders, "outlines": asked.outlines, **summary(states)}
    sys.stdout.write(json.dumps(told, indent=None if asked.json else 1) + "\n")


if __name__ == "__main__":
    main()
