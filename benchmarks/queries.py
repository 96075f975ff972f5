"""perf P8: the next 20 seeds to ask among 100,000, by entropy, k-center and BADGE, against the peers.

``python benchmarks/queries.py [--peer-python /path/of/a/venv/bin/python]``. Peers in this process:
scikit-learn's logistic prediction with numpy entropy (what modAL does), greedy k-center of numpy and
scikit-learn, and k-means++ on gradients that are written out. With `--peer-python`, an interpreter that has
scikit-activeml, its BADGE and entropy sampling are timed there, in turn with ours, on the first `--peer-rows`
seeds. One JSON line: seconds, ratios, peaks of what numpy allocates. Targets: 1.0, 0.4, 0.08; memory 0.1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
from grains import interleave, ratio

if TYPE_CHECKING:
    from collections.abc import Callable

PEER = """
import sys, time, tracemalloc
import numpy as np
rows, dim, classes, pick, labelled = map(int, sys.argv[1:])
rng = np.random.default_rng(0)
X = rng.normal(size=(rows, dim)).astype(np.float32)
y = np.full(rows, np.nan)
L = rng.choice(rows, labelled, replace=False)
y[L] = rng.integers(0, classes, labelled)
from skactiveml.classifier import SklearnClassifier
from skactiveml.pool import Badge, UncertaintySampling
from sklearn.linear_model import LogisticRegression
model = SklearnClassifier(LogisticRegression(max_iter=50), classes=list(range(classes))).fit(X[L], y[L])
ways = {"badge": Badge(random_state=0), "entropy": UncertaintySampling(method="entropy", random_state=0)}
print("ready", flush=True)
for line in sys.stdin:
    name, measured = line.split()
    if measured == "memory":
        tracemalloc.start()
    begun = time.perf_counter()
    ways[name].query(X, y, model, batch_size=pick, fit_clf=False)
    told = time.perf_counter() - begun
    if measured == "memory":
        told = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
    print(told, flush=True)
"""


def options() -> argparse.Namespace:
    """What was asked for on the command line."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--rows", type=int, default=100_000)
    p.add_argument("--dim", type=int, default=384)
    p.add_argument("--classes", type=int, default=4)
    p.add_argument("--pick", type=int, default=20)
    p.add_argument("--labelled", type=int, default=200)
    p.add_argument("--peer-rows", type=int, default=20_000)
    p.add_argument("--peer-python", default="")
    p.add_argument("--reps", type=int, default=5)
    return p.parse_args()


def peak_of(way: Callable[[], object]) -> float:
    """Most MiB that Python and numpy allocate during a call."""
    tracemalloc.start()
    way()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return round(peak, 1)


class Peer:
    """scikit-activeml in another interpreter, asked one query at a time."""

    def __init__(self, a: argparse.Namespace) -> None:
        sizes = [str(n) for n in (a.peer_rows, a.dim, a.classes, a.pick, a.labelled)]
        command = [a.peer_python, "-c", PEER, *sizes]
        self._run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def _answer(self) -> list[str]:
        assert self._run.stdout is not None
        return self._run.stdout.readline().split()

    def query(self, name: str, measured: str) -> float:
        """The `seconds` or the MiB of `memory` of one query."""
        assert self._run.stdin is not None
        self._run.stdin.write(f"{name} {measured}\n")
        self._run.stdin.flush()
        return float(self._answer()[0])

    def end(self) -> None:
        """Let it go."""
        self._run.communicate()


def k_center_peer(x: np.ndarray, known: np.ndarray, n: int) -> None:
    """Greedy farthest points in plain numpy and scikit-learn."""
    from sklearn.metrics import pairwise_distances_argmin_min

    gap = pairwise_distances_argmin_min(x, x[known])[1]
    for _ in range(n):
        row = int(gap.argmax())
        gap = np.minimum(gap, np.linalg.norm(x - x[row], axis=1))


def badge_peer(x: np.ndarray, p: np.ndarray, n: int) -> None:
    """K-means++ on gradients that are written out."""
    residual = p.copy()
    residual[np.arange(len(p)), p.argmax(1)] -= 1
    gradient = (residual[:, :, None] * x[:, None]).reshape(len(x), -1)
    gap = (gradient**2).sum(1)
    row = int(gap.argmax())
    draws = np.random.default_rng(0)
    for _ in range(n):
        gap = np.minimum(gap, ((gradient - gradient[row]) ** 2).sum(1))
        row = int(np.searchsorted(np.cumsum(gap), draws.random() * gap.sum()))


def main() -> None:
    a = options()
    from sklearn.linear_model import LogisticRegression

    from napari_seedlab.learn.head import fit_head
    from napari_seedlab.learn.queries import STRATEGIES, Pool

    rng = np.random.default_rng(0)
    x = rng.normal(size=(a.rows, a.dim)).astype(np.float32)
    known = np.zeros(a.rows, bool)
    known[rng.choice(a.rows, a.labelled, replace=False)] = True
    said = np.where(known, rng.integers(0, a.classes, a.rows), -1)
    head = fit_head(x[known], said[known], range(a.classes), (np.zeros(a.dim), np.ones(a.dim)))
    model = LogisticRegression(max_iter=50).fit(x[known], said[known])
    p = head.probabilities(x)
    pool = Pool(np.arange(a.rows), x, ~known, known, p, said=said, class_ids=tuple(range(a.classes)))
    m = a.peer_rows
    few = Pool(pool.seeds[:m], x[:m], ~known[:m], known[:m], p[:m])

    def ask(name: str, among: Pool = pool) -> list[int]:
        return [pick.row for pick in STRATEGIES[name](among, a.pick, np.random.default_rng(0))]

    def entropy_ours() -> None:
        told = head.probabilities(x, is_scaled=True)
        STRATEGIES["entropy"](Pool(pool.seeds, x, ~known, known, told), a.pick, rng)

    def entropy_peer() -> None:
        told = model.predict_proba(x)
        h = -(told * np.log(np.clip(told, 1e-9, 1))).sum(1)
        np.argpartition(-h, a.pick)[: a.pick]

    ways = {
        "entropy": entropy_ours,
        "entropy_sklearn": entropy_peer,
        "k_center": lambda: ask("k_center"),
        "k_center_numpy": lambda: k_center_peer(x, known, a.pick),
        "badge": lambda: ask("badge"),
        "badge_numpy": lambda: badge_peer(x, p, a.pick),
    }
    seconds = interleave(ways, a.reps)
    peak = {name: peak_of(way) for name, way in ways.items()}
    pairs = (("entropy", "entropy_sklearn"), ("k_center", "k_center_numpy"), ("badge", "badge_numpy"))
    line = {
        "benchmark": "P8",
        "options": vars(a),
        "seconds": seconds,
        "ratio": {mine: ratio(seconds, mine, peer) for mine, peer in pairs},
        "peak_mib": peak,
        "memory_ratio": {mine: round(peak[mine] / peak[peer], 3) for mine, peer in pairs},
        "targets": {"entropy": 1.0, "k_center": 0.4, "badge": 0.08, "memory": 0.1},
    }
    if a.peer_python:
        line["scikit_activeml"] = against_activeml(
            a, {n: lambda n=n: ask(n, few) for n in ("badge", "entropy")}
        )
    print(json.dumps({**line, "cpus": os.cpu_count(), "load1": round(os.getloadavg()[0], 2)}))


def against_activeml(a: argparse.Namespace, ours: dict) -> dict:
    """Seconds and memory of ours and theirs on `peer_rows` seeds, in turn."""
    peer, told = Peer(a), {}
    for name, way in ours.items():
        mine, theirs = [], []
        for rep in range(a.reps + 1):
            begun = time.perf_counter()
            way()
            took = time.perf_counter() - begun
            their = peer.query(name, "seconds")
            if rep:
                mine.append(took)
                theirs.append(their)
        memory, their_memory = peak_of(way), peer.query(name, "memory")
        told[name] = {
            "rows": a.peer_rows,
            "ours_s": round(statistics.median(mine), 4),
            "theirs_s": round(statistics.median(theirs), 4),
            "ratio": round(statistics.median(mine) / statistics.median(theirs), 3),
            "ratio_min": round(min(mine) / min(theirs), 3),
            "ours_mib": memory,
            "theirs_mib": round(their_memory, 1),
            "memory_ratio": round(memory / their_memory, 3),
        }
    peer.end()
    return told


if __name__ == "__main__":
    sys.exit(main())
