"""What asking saves: every strategy replayed on three folders of pictures and two synthetic trays.

``python benchmarks/replay.py --images FOLDER [--encoder bundled] [--keep FOLDER]``. The folders `rice`,
`oilpalm_seeds` and `persimmon_545nm` in FOLDER hold one seed per picture and name its class; one that is not
there is left out. The trays are those of ``seedlab sample`` with 400 seeds, judged on 2,000 fresh ones. With
`--keep` projects and results stay there and are used again. Prints a table of the answers that each strategy
needs for what random answers reach at the full budget, then one JSON line that tells the encoder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PICTURES = ("rice", "oilpalm_seeds", "persimmon_545nm")
TRAYS = ("ct", "hsi")
N_SEEDS, TRAY_STATE = 400, 7


def options() -> argparse.Namespace:
    """What was asked for on the command line."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--images", type=Path, required=True)
    p.add_argument("--encoder", default="bundled")
    p.add_argument("--strategies", default="all")
    p.add_argument("--budget", type=int, default=150)
    p.add_argument("--batch", type=int, default=10)
    p.add_argument("--repeats", type=int, default=8)
    p.add_argument("--sets", default=",".join((*PICTURES, *TRAYS)))
    p.add_argument("--keep", type=Path)
    return p.parse_args()


def seedlab(*args: object) -> dict[str, Any]:
    """One command; its JSON object."""
    command = [sys.executable, "-m", "napari_seedlab.cli.main", *map(str, args), "--json"]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(told.stdout.splitlines()[-1])


def project_of(name: str, images: Path, keep: Path) -> Path | None:
    """The project of a set, made where it is not there; None where its pictures are not there."""
    project = keep / f"{name}.seedlab"
    if project.exists():
        return project
    if name in PICTURES and not (images / name).is_dir():
        return None
    seedlab("new", project)
    if name in PICTURES:
        seedlab("import", project, images / name, "--one-seed-per-file", "--truth-from-folders")
        return project
    tray = keep / name
    if not tray.exists():
        seedlab("sample", "--kind", name, "--n-seeds", N_SEEDS, "--random-state", TRAY_STATE, "--to", tray)
    seedlab("import", project, tray / ("scan.hdr" if name == "hsi" else "scan.tif"), "--modality", name)
    seedlab("split", project)
    return project


def replay(a: argparse.Namespace, name: str, keep: Path) -> dict[str, Any] | None:
    """The replay of one set."""
    project = project_of(name, a.images, keep)
    if project is None:
        return None
    begun = time.perf_counter()
    told = seedlab(
        "simulate", project, "--encoder", a.encoder, "--strategies", a.strategies, "--budget", a.budget,
        "--batch", a.batch, "--repeats", a.repeats, "--to", keep / f"{name}-{a.encoder}.png",
    )  # fmt: skip
    told["seconds"] = round(time.perf_counter() - begun)
    (keep / f"{name}-{a.encoder}.json").write_text(json.dumps(told))
    return told


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
    with tempfile.TemporaryDirectory() as temporary:
        keep = Path(temporary) if a.keep is None else a.keep
        keep.mkdir(parents=True, exist_ok=True)
        wanted = {name: replay(a, name, keep) for name in a.sets.split(",")}
    found = {name: told for name, told in wanted.items() if told is not None}
    print(table(found))
    keys = ("labels_to_random", "budget", "judged_by", "encoder", "n_judges", "n_repeats", "seconds")
    line = {name: {key: told[key] for key in keys} for name, told in found.items()}
    missing = [name for name, told in wanted.items() if told is None]
    print(json.dumps({"benchmark": "replay", "encoder": a.encoder, "missing": missing, "sets": line}))


if __name__ == "__main__":
    main()
