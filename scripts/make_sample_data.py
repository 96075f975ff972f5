"""Make the scans in ``sample_data/`` again: ``python scripts/make_sample_data.py``."""

from __future__ import annotations

import shutil
from pathlib import Path

from napari_seedlab.io.samples import SAMPLES, write_sample

ROOT = Path(__file__).resolve().parent.parent / "sample_data"
N_SEEDS = {"ct": 120, "hsi": 120, "tube": 115}
RANDOM_STATE = 1


def main() -> None:
    for name, kind in SAMPLES.items():
        folder = ROOT / name
        shutil.rmtree(folder, ignore_errors=True)
        write_sample(kind, N_SEEDS[kind], RANDOM_STATE, folder)
        print(name, *(f"{p.name} {p.stat().st_size}" for p in sorted(folder.iterdir())))


if __name__ == "__main__":
    main()
