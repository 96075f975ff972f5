"""How small a defect may be and still be found: recall at 5 % false alarms against its share of the seed.

Each random state is a tray of the phantom in which 15 % of the seeds have one cavity or one dense spot of 0.1
to 10 % of the seed; nothing is labelled and the trays are what the methods learn from. Seeds are cut by their
true outlines: how well they are split is not judged here. The baseline is whichever of six plain statistics
of the grey values inside a seed finds most, chosen with the truth.

``python scripts/detection_curve.py --random-states 0 1 2 --to docs/pictures/detection_curve.png --json F``
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import RegionTable
from napari_seedlab.imaging.phantom import DEFAULT_TRAY, Phantom, make_tray, tray_dials
from napari_seedlab.learn import crops_io, distance, fcdd, vae
from napari_seedlab.learn.pool import Pool
from napari_seedlab.learn.refits import Method, fit_all

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Floats = npt.NDArray[np.floating]

SHARES = (0.85, 0.15, 0.0, 0.0)
SIZES = (0.001, 0.1)  # of the seed's volume
KINDS = ("cavity", "dense")
N_BINS = 8
FALSE_ALARMS = 0.05
WANTED = 0.8  # recall that counts as found
METHODS = ("fcdd", "vae", "distance")
STATISTICS: dict[str, Callable[[Floats], Any]] = {
    "standard deviation": np.std,
    "mean": np.mean,
    "maximum": np.max,
    "minimum": lambda v: -np.min(v),
    "coefficient of variation": lambda v: np.std(v) / np.mean(v),
    "range of 98 %": lambda v: np.ptp(np.percentile(v, (1, 99))),
}
COLOURS = {"fcdd": "#0072b2", "vae": "#d55e00", "distance": "#009e73", "baseline": "#707070"}


def tray(n_seeds: int, random_state: int) -> Phantom:
    """A tray whose only abnormal seeds have one defect of the sizes in question."""
    kinds = tuple((kind, 1.0) for kind in KINDS)
    base = DEFAULT_TRAY.replace(shares=SHARES, abnormal=kinds, defect_fraction=SIZES)
    return make_tray(tray_dials(n_seeds, random_state, base))


def finish(steps: Generator[Any, None, Any]) -> Any:
    """What a generator of progress returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def oddness(phantom: Phantom, name: str, random_state: int) -> Floats:
    """Score of each seed of the table by a method with its own settings, learnt from these seeds."""
    known = phantom.table
    table = RegionTable(1, known.id, known.id.astype(np.int64), known.box, known.centroid, known.n_voxels)
    scan = crops_io.ScanInput(1, "ct", phantom.volume, phantom.instances, table, (1.0, 1.0, 1.0))
    kinds = {"fcdd": fcdd.FCDDSettings, "vae": vae.VAESettings, "distance": distance.DistanceSettings}
    settings = kinds[name]().sized("volume")
    seeds = finish(crops_io.cut_channels([scan], settings.size, crops_io.scan_scaling))
    pool, members = Pool(seeds.crops, seeds.masks), np.arange(len(seeds))
    module = vae if name == "vae" else fcdd
    method = Method(name, "", module.new_trainer, module.heat_maps)
    if name == "distance":

        def banked(trunk: Any, pool: Pool, members: npt.NDArray[np.int64]) -> Any:
            return distance.remember(trunk, pool, members, settings, random_state)

        method = Method(name, "", module.new_trainer, module.heat_maps, banked)
    with tempfile.TemporaryDirectory() as folder:
        found, _ = finish(fit_all(Path(folder), pool, members, method, settings, random_state))
    order = np.searchsorted(seeds.seeds, known.id)
    return np.asarray(found.score)[order]


def plain(phantom: Phantom) -> dict[str, Floats]:
    """Each statistic of the grey values inside each seed."""
    values = []
    for seed, box in zip(phantom.table.id, phantom.table.box.tolist(), strict=True):
        place = tuple(slice(low, high) for low, high in zip(box[:3], box[3:], strict=True))
        values.append(phantom.volume[place][phantom.instances[place] == seed].astype(float))
    return {name: np.array([statistic(v) for v in values]) for name, statistic in STATISTICS.items()}


def measure(n_seeds: int, random_state: int) -> dict[str, Any]:
    """Sizes and kinds of the defects of one tray, and which of them each method finds."""
    phantom = tray(n_seeds, random_state)
    odd = phantom.table.class_id != 1
    seconds, scores = {}, plain(phantom)
    for name in METHODS:
        begun = time.process_time()
        scores[name] = oddness(phantom, name, random_state)
        seconds[name] = round(time.process_time() - begun, 1)
    hits = {}
    for name, score in scores.items():
        threshold = np.quantile(score[~odd], 1 - FALSE_ALARMS, method="higher")
        hits[name] = (score[odd] > threshold).tolist()
    sizes = phantom.table.defect_fraction[odd].tolist()
    return {
        "random_state": random_state,
        "size": sizes,
        "kind": phantom.table.kind[odd].tolist(),
        "found": hits,
        "cpu_seconds": seconds,
    }


def smallest(size: Floats, found: npt.NDArray[np.bool_]) -> float | None:
    """The size from which a rising curve (isotonic regression) shows the wanted recall."""
    from sklearn.isotonic import isotonic_regression

    order = np.argsort(size, kind="stable")
    reached = np.flatnonzero(isotonic_regression(found[order].astype(float)) >= WANTED)
    return float(size[order][reached[0]]) if reached.size else None


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Recall by size of each method over all trays, and the smallest size that is found."""
    size, kind = (np.concatenate([r[k] for r in rows]) for k in ("size", "kind"))
    found = {n: np.concatenate([r["found"][n] for r in rows]).astype(bool) for n in rows[0]["found"]}
    best = max(STATISTICS, key=lambda n: found[n].mean())
    edges = np.geomspace(*SIZES, N_BINS + 1)
    part = np.clip(np.searchsorted(edges, size, side="right") - 1, 0, N_BINS - 1)
    shown = {**{n: found[n] for n in METHODS}, "baseline": found[best]}
    return {
        "baseline": best,
        "size_percent": np.round(100 * np.sqrt(edges[1:] * edges[:-1]), 3).tolist(),
        "n": np.bincount(part, minlength=N_BINS).tolist(),
        "recall": {
            n: [round(float(f[part == b].mean()), 3) if (part == b).any() else None for b in range(N_BINS)]
            for n, f in shown.items()
        },
        "recall_of_all": {n: round(float(f.mean()), 3) for n, f in shown.items()},
        "recall_by_kind": {
            n: {k: round(float(f[kind == k].mean()), 3) for k in KINDS} for n, f in shown.items()
        },
        "smallest_percent": {n: _percent(smallest(size, f)) for n, f in shown.items()},
        "smallest_percent_by_kind": {
            n: {k: _percent(smallest(size[kind == k], f[kind == k])) for k in KINDS} for n, f in shown.items()
        },
    }


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 2)


def draw(told: dict[str, Any], path: Path) -> None:
    """The curves as a PNG: size in percent of the seed's volume, recall in percent."""
    from PIL import Image, ImageDraw, ImageFont

    scale, width, height = 2, 790, 440
    left, right, top, bottom = (scale * v for v in (64, 240, 40, 56))
    picture = Image.new("RGB", (scale * width, scale * height), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(15 * scale)
    x0, x1, y0, y1 = left, scale * width - right, scale * height - bottom, top
    low, high = np.log10(SIZES) + 2

    def place(size: float, recall: float) -> tuple[float, float]:
        along = (np.log10(size) - low) / (high - low)
        return float(x0 + along * (x1 - x0)), float(y0 + recall * (y1 - y0))

    for recall in (0, 0.2, 0.4, 0.6, 0.8, 1):
        y = place(1, recall)[1]
        pen.line((x0, y, x1, y), "#222222" if recall == 0 else "#dddddd", scale)
        pen.text((x0 - 8 * scale, y), f"{100 * recall:.0f}", "#222222", font, "rm")
    for size in (0.1, 0.2, 0.5, 1, 2, 5, 10):
        x = place(size, 0)[0]
        pen.line((x, y0, x, y0 + 5 * scale), "#222222", scale)
        pen.text((x, y0 + 8 * scale), f"{size:g}", "#222222", font, "mt")
    pen.text(
        ((x0 + x1) / 2, scale * height - 8 * scale),
        "size of the defect, % of the seed's volume",
        "#222222",
        font,
        "mb",
    )
    pen.text((8 * scale, 8 * scale), "defects found at 5 % false alarms, %", "#222222", font, "lt")
    ends = []
    for name, recalls in reversed(told["recall"].items()):
        points = [place(s, r) for s, r in zip(told["size_percent"], recalls, strict=True) if r is not None]
        pen.line(points, COLOURS[name], 3 * scale, "curve")
        for x, y in points:
            pen.ellipse([v + d * 4 * scale for d in (-1, 1) for v in (x, y)], COLOURS[name])
        found = told["smallest_percent"][name]
        words = f"{name}: 80 % from {found:.2g} %" if found else f"{name}: 80 % nowhere"
        ends.append([points[-1][1], words.replace("baseline", "plain statistic"), COLOURS[name], points[-1]])
    spread_out(ends, 20 * scale, y0)
    for y, words, colour, point in ends:
        pen.line((point[0] + 6 * scale, point[1], x1 + 8 * scale, y), colour, scale)
        pen.text((x1 + 10 * scale, y), words, colour, font, "lm")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((width * 3 // 2, height * 3 // 2), Image.Resampling.LANCZOS).quantize(64).save(
        path, optimize=True
    )


def spread_out(ends: list[Any], gap: float, lowest: float) -> None:
    """Part labels, each led by its height, until none lies on another one."""
    ends.sort(key=lambda e: e[0])
    for above, end in pairwise(ends):
        end[0] = max(end[0], above[0] + gap)
    over = max(0.0, ends[-1][0] - lowest)
    for end in ends:
        end[0] -= over


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--random-states", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--n-seeds", type=int, default=400, help="of each tray")
    p.add_argument("--to", type=Path, help="PNG to draw")
    p.add_argument("--json", type=Path, help="file for all figures")
    p.add_argument("--drawn-from", type=Path, help="figures of an earlier run, instead of measuring")
    a = p.parse_args()
    if a.drawn_from:
        rows = json.loads(a.drawn_from.read_text())["trays"]
    else:
        rows = [measure(a.n_seeds, state) for state in a.random_states]
    told = summary(rows)
    if a.json:
        a.json.write_text(json.dumps({**told, "trays": rows}))
    if a.to:
        draw(told, a.to)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
