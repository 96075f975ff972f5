"""What asking saves: every strategy replayed on three folders of pictures and two synthetic trays.

    python benchmarks/replay.py --images FOLDER --keep FOLDER [--encoder bundled] [--jobs 2]

The folders `rice`, `oilpalm_seeds` and `persimmon_545nm` of `--images` hold one seed per picture and name its
class; one that is not there is left out. The trays are those of ``seedlab sample`` with 400 seeds, judged on
2,000 fresh ones. In `--keep` stay projects, vectors, fresh seeds, and the result of each set as
`SET-ENCODER.json`; a run that was interrupted goes on with the first set that has none of the same request.
`disagreement` is replayed where `--odd` names two methods; `label_errors` never, as it asks about labelled
seeds. Prints a table of the answers that each strategy needs for what random answers reach at the full
budget, then one JSON line.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import napari_seedlab
from napari_seedlab.learn.queries import STRATEGIES

PICTURES = ("rice", "oilpalm_seeds", "persimmon_545nm")
TRAYS = ("ct", "hsi")
SCANS = {"ct": "scan.tif", "hsi": "scan.hdr"}
N_SEEDS, TRAY_STATE = 400, 7


def options() -> argparse.Namespace:
    """What was asked for on the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--images", type=Path, required=True)
    p.add_argument("--encoder", default="bundled", help="a+b for two")
    p.add_argument("--strategies", default="all")
    p.add_argument("--budget", type=int, default=150)
    p.add_argument("--batch", type=int, default=10)
    p.add_argument("--repeats", type=int, default=8)
    p.add_argument("--fresh", type=int, default=2000, help="seeds that judge a tray")
    p.add_argument("--odd", default="", help="methods that score oddness first, such as vae,distance")
    p.add_argument("--sets", default=",".join((*PICTURES, *TRAYS)))
    p.add_argument("--jobs", type=int, default=1, help="sets at a time, each in a process of its own")
    p.add_argument("--keep", type=Path)
    return p.parse_args()


def seedlab(*args: object) -> dict[str, Any]:
    """One command in a process of its own, on one thread; its JSON object."""
    command = [sys.executable, "-m", "napari_seedlab.cli.main", *map(str, args), "--json"]
    alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **os.environ}
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=alone)
    return json.loads(told.stdout.splitlines()[-1])


def project_of(name: str, a: argparse.Namespace, keep: Path) -> Path | None:
    """The project of a set, made where it is not there whole; None where its pictures are not there."""
    project, tray, is_made = keep / f"{name}.seedlab", keep / name, keep / f"{name}.made"
    if name in PICTURES and not (a.images / name).is_dir():
        return None
    if not is_made.exists():
        for half in (project, tray):  # of a run that was interrupted
            shutil.rmtree(half, ignore_errors=True)
        for scored in keep.glob(f"{name}.*.scored"):
            scored.unlink()
        seedlab("new", project)
        if name in PICTURES:
            seedlab("import", project, a.images / name, "--one-seed-per-file", "--truth-from-folders")
        else:
            seedlab(
                "sample", "--kind", name, "--n-seeds", N_SEEDS, "--random-state", TRAY_STATE, "--to", tray
            )
            seedlab("import", project, tray / SCANS[name], "--modality", name)
            seedlab("split", project)
        is_made.touch()
    for method in filter(None, a.odd.split(",")):
        if not (scored := keep / f"{name}.{method}.scored").exists():
            seedlab("anomaly", project, "--method", method)
            scored.touch()
    return project


def asked(a: argparse.Namespace) -> dict[str, Any]:
    """All that a result depends on, the bundled weights included."""
    weights = sorted((Path(napari_seedlab.__file__).parent / "weights").glob("*.safetensors"))
    names = ("encoder", "strategies", "budget", "batch", "repeats", "fresh", "odd")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in weights)).hexdigest()
    return {**{name: getattr(a, name) for name in names}, "weights": digest}


def replay(a: argparse.Namespace, name: str, keep: Path) -> dict[str, Any] | None:
    """The replay of one set, as it was kept where the same was asked before; None without its pictures."""
    stem, begun = f"{name}-{a.encoder}", time.perf_counter()
    kept = keep / f"{stem}.json"
    if kept.exists() and (told := json.loads(kept.read_text())).get("asked") == asked(a):
        return told
    project = project_of(name, a, keep)
    if project is None:
        return None
    made = time.perf_counter()
    told = seedlab(
        "simulate", project, "--encoder", a.encoder, "--strategies", a.strategies, "--budget", a.budget,
        "--batch", a.batch, "--repeats", a.repeats, "--fresh", a.fresh, "--to", keep / f"{stem}.png",
    )  # fmt: skip
    seconds = {"made": round(made - begun), "seconds": round(time.perf_counter() - made)}
    told |= {**seconds, "asked": asked(a)}
    kept.write_text(json.dumps(told))
    return told


def tried(a: argparse.Namespace, name: str, keep: Path) -> dict[str, Any] | str | None:
    """As :func:`replay`; in words where a command fails, so that the other sets go on."""
    try:
        return replay(a, name, keep)
    except subprocess.CalledProcessError as error:
        return f"seedlab {error.cmd[3]} ended with {error.returncode}"


def cell(told: dict[str, Any], strategy: str) -> str:
    """Answers to random's end, their share of the budget, and the end reached."""
    if strategy not in told["labels_to_random"]:
        return "-"
    needed, most = told["labels_to_random"][strategy], told["budget"][-1]
    end = told[told["judged_by"]][strategy][-1]
    share = "never" if needed is None else f"{needed} ({100 * needed / most:.0f} %)"
    return f"{share}, {100 * end:.1f}"


def table(found: dict[str, dict[str, Any]]) -> str:
    """A table: one line for each strategy, one column for each set."""
    strategies = list(dict.fromkeys(s for told in found.values() for s in told["labels_to_random"]))
    head = [f"{name} @{told['budget'][-1]}" for name, told in found.items()]
    lines = [f"| strategy | {' | '.join(head)} |", "|---|" + "---|" * len(found)]
    lines += [f"| {s} | {' | '.join(cell(told, s) for told in found.values())} |" for s in strategies]
    return "\n".join(lines)


def main() -> None:
    a = options()
    names = a.sets.split(",")
    if unknown := sorted(set(names) - {*PICTURES, *TRAYS}):
        raise SystemExit(f"--sets: {', '.join(unknown)} is none of {', '.join((*PICTURES, *TRAYS))}")
    if unknown := sorted(set(a.strategies.split(",")) - {"all", *STRATEGIES}):
        raise SystemExit(f"--strategies: {', '.join(unknown)} is none of all, {', '.join(STRATEGIES)}")
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(a.jobs) as pool:
        keep = Path(temporary) if a.keep is None else a.keep
        keep.mkdir(parents=True, exist_ok=True)
        wanted = dict(zip(names, pool.map(lambda name: tried(a, name, keep), names), strict=True))
    found = {name: told for name, told in wanted.items() if isinstance(told, dict)}
    print(table(found))
    keys = ("labels_to_random", "refused", "budget", "judged_by", "encoder", "n_judges", "n_repeats", "made")
    line = {name: {key: told[key] for key in (*keys, "seconds")} for name, told in found.items()}
    failed = {name: told for name, told in wanted.items() if isinstance(told, str)}
    missing = [name for name, told in wanted.items() if told is None]
    print(json.dumps({"benchmark": "replay", "missing": missing, "failed": failed, "sets": line}))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
