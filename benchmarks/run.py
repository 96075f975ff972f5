"""Runs every benchmark, one JSON line each; the peer's side is interleaved in the same process or run."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
# Name, and the options of a full run.
ALL = {
    "objects": [],  # perf P3: features of all seeds
    "classify": [],  # perf P4: one answer, all seeds classified and coloured anew
    "split": [],  # perf P5: distance, markers, flood
    "map": [],  # perf P7: first map; with --part window: frames, recolouring and lasso of 50,000 seeds
    "keys": [],  # from the key of an answer to the next seed, in a real window
    "reopen": [],  # 1,080 seeds in 12 scans: until the first one can be answered
    "strokes": [],  # perf P1: stroke to slice
    "open": ["--viewer"],  # perf P15: first slice of a large file on the screen
    "start": [],  # perf P16: time and memory to the first painted dock
    "odd": [],  # odd seeds among 1,000: how early they are shown, time and memory of scoring
    "lateness": [],  # perf P12: event loop during the whole story
}


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("names", nargs="*", default=list(ALL), help="which ones")
    failed = 0
    for name in p.parse_args().names:
        begun = time.perf_counter()
        code = subprocess.run([sys.executable, str(HERE / f"{name}.py"), *ALL[name]], check=False).returncode
        sys.stderr.write(f"{name}: {time.perf_counter() - begun:.0f} s, exit {code}\n")
        failed += code != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
