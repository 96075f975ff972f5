"""How well encoders tell classes apart from few labels, and how fast the bundled ones are (perf P6).

    python benchmarks/encoders.py [--images FOLDER] [--sets rice,ct,...] [--encoders bundled,...]
    python benchmarks/encoders.py --speed

One JSON line per set and encoder: balanced accuracy of the logistic head on 50 labels drawn at random, mean
and standard error over `--draws` draws, the rest of the set as test. FOLDER holds the folders `rice`,
`oilpalm_seeds` and `persimmon_545nm` of pictures whose sub-folders name the class; the phantoms are made.
Classes judge and never teach an encoder.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.imaging.phantom import DEFAULT_TRAY, make_tray, make_twin, tray_dials
from napari_seedlab.learn.embedding import DESCRIBE, ScanView, describe_seed, scan_levels, seed_boxes
from napari_seedlab.learn.encoders import SeedImage

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from napari_seedlab.imaging.phantom import Phantom

FOLDERS = ("rice", "oilpalm_seeds", "persimmon_545nm")
PHANTOMS = ("ct", "hsi", "ct_outside")
N_SEEDS = 400
N_LABELS = 50
OUTSIDE = DEFAULT_TRAY.replace(
    diameter=15.5,
    noise=0.06,
    blur=1.2,
    cupping=0.15,
    rings=0.016,
    streaks=0.016,
    air_grey=50.0,
    seed_grey=115.0,
)  # none of it within the dials of learn/pretrain.py


@dataclass(frozen=True)
class Pool:
    """Seeds of a set and their classes, (n,) str."""

    seeds: list[SeedImage]
    classes: npt.NDArray[np.str_]


def seeds_of(scan: ScanView, wavelengths_nm: tuple[float, ...] = ()) -> tuple[list[SeedImage], list[int]]:
    """Every region of a scan as encoders see it, and its seed id."""
    levels = scan_levels(scan)
    found, ids = [], []
    for row, image, raster in seed_boxes(scan, np.arange(len(scan.table))):
        mask = raster == scan.table.region[row]
        found.append(SeedImage(scan.modality, image.copy(), mask, levels, scan.scale_um, wavelengths_nm))
        ids.append(int(scan.table.seed[row]))
    return found, ids


def phantom_pool(name: str, random_state: int = 101, n: int = N_SEEDS) -> Pool:
    """A tray with true outlines, in CT (inside or outside the usual dials) or from above."""
    base = OUTSIDE if name == "ct_outside" else DEFAULT_TRAY
    tray = make_tray(tray_dials(n, random_state, base))
    seeds, ids = seeds_of(cube_scan(tray) if name == "hsi" else volume_scan(tray), _bands(tray, name))
    return Pool(seeds, np.asarray([str(tray.table.class_id[i - 1]) for i in ids]))


def _bands(tray: Phantom, name: str) -> tuple[float, ...]:
    return make_twin(tray).wavelengths_nm if name == "hsi" else ()


def volume_scan(tray: Phantom) -> ScanView:
    """The volume of a phantom with its true regions."""
    return ScanView(
        "ct", tray.volume, tray.instances, table_of(tray.instances), (tray.dials.voxel_size_um,) * 3
    )


def cube_scan(tray: Phantom) -> ScanView:
    """The twin of a phantom with its true regions."""
    cube = make_twin(tray)
    scale = (tray.dials.voxel_size_um,) * 3
    return ScanView("hsi", cube.data, cube.instances, table_of(cube.instances), scale)


def table_of(regions: npt.NDArray[np.int32]) -> Any:
    """Region table of a raster whose ids are the seed ids."""
    from scipy.ndimage import find_objects

    from napari_seedlab.core import RegionTable

    places = [(i + 1, p) for i, p in enumerate(find_objects(regions)) if p is not None]
    ids = np.asarray([i for i, _ in places], np.int32)
    box = np.asarray([[*(s.start for s in p), *(s.stop for s in p)] for _, p in places], np.int32)
    n = np.bincount(regions.ravel())[ids]
    return RegionTable(1, ids, ids.astype(np.int64), box, box.reshape(-1, 2, 3).mean(1), n)


def folder_pool(folder: Path) -> Pool:
    """A folder of single-seed pictures, imported as the app does it; its folders name the classes."""
    from napari_seedlab.files import open_array
    from napari_seedlab.jobs import InlineRunner
    from napari_seedlab.session import Session
    from napari_seedlab.session.sheets import reference_classes

    with tempfile.TemporaryDirectory() as place:
        with Session.create(Path(place) / "p.seedlab", InlineRunner()) as session:
            session.import_folder(folder, truth_from_folders=True).wait()
            facts, table = session.scans[1].facts, session.regions(1)
            assert table is not None
            image, raster = (
                open_array(session.scan_source(1))[...],
                open_array(session.regions_source(1))[...],
            )
            truth = reference_classes(session, "image")
        z, y, x = facts.voxel_size_um or (1.0, 1.0, 1.0)
        seeds, ids = seeds_of(ScanView("image", image, raster, table, (z, y, x)))
    return Pool(seeds, np.asarray([truth[i] for i in ids]))


def describe(seeds: Iterable[SeedImage]) -> npt.NDArray[np.float32]:
    """Hand-made descriptors, (n, d) float32."""
    return np.stack(
        [DESCRIBE.get(s.modality, describe_seed)(s.image, s.mask, s.levels, s.scale_um) for s in seeds]
    )


def linear_accuracy(
    vectors: npt.NDArray[np.float32],
    classes: npt.NDArray[np.str_],
    n_draws: int = 8,
    n_labels: int = N_LABELS,
) -> tuple[float, float]:
    """Mean balanced accuracy of the head on random labels, and its standard error over draws."""
    from napari_seedlab.learn.calibration import balanced_accuracy
    from napari_seedlab.learn.head import fit_head, pool_scaler

    names, columns = np.unique(classes, return_inverse=True)
    scaler, found = pool_scaler(vectors), []
    for draw in range(n_draws):
        order = np.random.default_rng([draw, len(vectors)]).permutation(len(vectors))
        known, fresh = order[: min(n_labels, len(order) // 2)], order[min(n_labels, len(order) // 2) :]
        head = fit_head(vectors[known], columns[known], range(len(names)), scaler)
        found.append(balanced_accuracy(columns[fresh], head.logits(vectors[fresh]).argmax(1)))
    return float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(n_draws))


def vectors_of(name: str, pool: Pool) -> npt.NDArray[np.float32]:
    """Vectors of a pool by ``descriptors``, ``bundled``, or ``untrained``: the same net, as drawn."""
    from napari_seedlab.learn.bundled import NetworkEncoder, bundled_encoder, new_network

    if name == "descriptors":
        return describe(pool.seeds)
    encoder = bundled_encoder(pool.seeds[0].modality)
    if name == "untrained":
        encoder = NetworkEncoder(name, {kind: new_network(kind, 0) for kind in encoder.networks})
    return encoder.encode(pool.seeds)


def speed(kind: str = "volume", n: int = 128) -> dict[str, Any]:
    """Seeds a second through the encoder, through the bare network in bfloat16 and in float32."""
    import torch
    from grains import interleave

    from napari_seedlab.learn.bundled import BATCH, NetworkEncoder, bundled_encoder, encode_views
    from napari_seedlab.learn.canonical import canonical

    torch.set_num_threads(1)
    pool = phantom_pool("hsi" if kind == "cube" else "ct", n=n)
    given = bundled_encoder("hsi" if kind == "cube" else "ct")
    network = given.networks[kind]
    encoder = NetworkEncoder("bundled", {kind: network})
    cut = [canonical(seed, kind) for seed in pool.seeds]
    crops = torch.from_numpy(np.stack([c.crop for c in cut]))
    masks = torch.from_numpy(np.stack([c.mask for c in cut]))

    def bare(is_bfloat16: bool) -> None:
        for first in range(0, n, BATCH):
            part = slice(first, first + BATCH)
            encode_views(network, crops[part], masks[part], is_bfloat16)

    seconds = interleave(
        {
            "encoder": lambda: encoder.encode(pool.seeds),
            "bare_bfloat16": lambda: bare(True),
            "bare_float32": lambda: bare(False),
        },
        3,
    )
    rate = {name: round(n / s["median"], 1) for name, s in seconds.items()}
    return {
        "benchmark": "P6",
        "kind": kind,
        "seeds_a_second": rate,
        "encoder_of_bare": round(rate["encoder"] / rate["bare_bfloat16"], 3),
        "bfloat16_of_float32": round(rate["bare_bfloat16"] / rate["bare_float32"], 3),
        "targets": {"encoder_of_bare": 0.85, "bfloat16_of_float32": 2.0},
    }


def main() -> None:
    p = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    p.add_argument("--images", type=Path, default=None)
    p.add_argument("--sets", default=",".join(FOLDERS + PHANTOMS))
    p.add_argument("--encoders", default="descriptors,untrained,bundled")
    p.add_argument("--draws", type=int, default=24)
    p.add_argument("--random-state", type=int, default=101, help="of the phantoms")
    p.add_argument("--speed", action="store_true")
    a = p.parse_args()
    facts = {"cpus": os.cpu_count(), "load1": round(os.getloadavg()[0], 2)}
    if a.speed:
        for kind in ("volume", "cube"):
            print(json.dumps(speed(kind) | facts), flush=True)
        return
    for name in a.sets.split(","):
        if name in FOLDERS and a.images is None:
            continue
        pool = folder_pool(a.images / name) if name in FOLDERS else phantom_pool(name, a.random_state)
        for encoder in a.encoders.split(","):
            begun = time.process_time()
            vectors = vectors_of(encoder, pool)
            spent = time.process_time() - begun
            mean, error = linear_accuracy(vectors, pool.classes, a.draws)
            line = {"benchmark": "linear accuracy", "set": name, "encoder": encoder, "mean": round(mean, 4)}
            line |= {"error": round(error, 4), "n_seeds": len(pool.seeds), "n_columns": vectors.shape[1]}
            line |= {
                "n_labels": min(N_LABELS, len(pool.seeds) // 2),
                "draws": a.draws,
                "cpu_s": round(spent, 1),
            }
            print(json.dumps(line | facts), flush=True)


if __name__ == "__main__":
    main()
