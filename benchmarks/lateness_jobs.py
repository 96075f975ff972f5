"""How late a 5 ms timer runs in the app's process while jobs start, report and return.

``python benchmarks/lateness_jobs.py [--in-process]``. With ``--in-process`` scheduler and client run in a
thread of this process instead of in the cluster host: the design that was measured and left. One line per
phase: ticks, and lateness p50, p99, max in ms; then memory and times.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from napari_seedlab.core import JobRequest
from napari_seedlab.jobs import ClusterRunner

if TYPE_CHECKING:
    from collections.abc import Callable

PERIOD = 0.005  # seconds


def rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Lateness:
    """Ticks on this thread while `work` runs on another, sorted by the phase that work names."""

    def __init__(self) -> None:
        self.phase, self.ticks = "idle", defaultdict(list)

    def run(self, work: Callable[[Lateness], None]) -> None:
        """Tick until `work` has ended."""
        thread = threading.Thread(target=work, args=(self,))
        thread.start()
        last = time.perf_counter()
        while thread.is_alive():
            time.sleep(PERIOD)
            now = time.perf_counter()
            self.ticks[self.phase].append(max(0.0, (now - last - PERIOD) * 1000))
            last = now

    def table(self) -> None:
        """Print one line per phase."""
        everything = [t for name, ticks in self.ticks.items() if name != "idle" for t in ticks]
        for name, ticks in [*self.ticks.items(), ("all but idle", everything)]:
            ticks = sorted(ticks)
            p50, p99 = ticks[len(ticks) // 2], ticks[int(len(ticks) * 0.99)]
            print(f"{name:14s} {len(ticks):5d} ticks  p50 {p50:.2f}  p99 {p99:.2f}  max {ticks[-1]:.1f} ms")


def in_child(lateness: Lateness) -> None:
    time.sleep(1)
    before, begun = rss_mib(), time.perf_counter()
    runner, folder = ClusterRunner(warm_up=("torch", "sklearn.linear_model")), Path(tempfile.mkdtemp())
    lateness.phase = "start"
    runner.start()
    runner.wait_ready()
    ready = time.perf_counter() - begun
    lateness.phase = "warm-up"
    runner.wait_warm()
    lateness.phase = "idle cluster"
    time.sleep(1)
    trips = []
    lateness.phase = "small jobs"
    for i in range(30):
        begun = time.perf_counter()
        runner.submit(JobRequest(str(i), "napari_seedlab.jobs.echo:run", {}), folder / str(i))
        runner.wait(str(i), 30)
        trips.append((time.perf_counter() - begun) * 1000)
    lateness.phase = "50/s + 100 MB"
    for i in range(3):
        runner.submit(JobRequest(f"b{i}", "tests.jobs.toy:big", {}, lane="background"), folder / f"b{i}")
        runner.wait(f"b{i}", 60)
    lateness.phase = "cancel"
    cancels = []
    for i in range(5):
        parameters = {"n": 10**6, "pace": 0.01}
        runner.submit(JobRequest(f"c{i}", "tests.jobs.toy:count", parameters), folder / f"c{i}")
        while not runner.status(f"c{i}").progress.done:
            time.sleep(0.005)
        begun = time.perf_counter()
        runner.cancel(f"c{i}")
        while not runner.status(f"c{i}").state.is_final:
            time.sleep(0.001)
        cancels.append((time.perf_counter() - begun) * 1000)
    after = rss_mib()
    lateness.phase = "close"
    begun = time.perf_counter()
    runner.close(timeout=10)
    print(
        f"ready {ready:.2f} s, close {time.perf_counter() - begun:.2f} s, RSS {before:.0f} -> {after:.0f} MiB"
    )
    print(
        f"round trip p50 {sorted(trips)[15]:.1f} ms, max {max(trips):.1f}; cancel max {max(cancels):.0f} ms"
    )


def in_process(lateness: Lateness) -> None:
    time.sleep(1)
    before = rss_mib()
    lateness.phase = "import"
    from distributed import Client, LocalCluster
    from distributed.security import Security

    lateness.phase = "start"
    cluster = LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        dashboard_address=None,
        security=Security.temporary(),
    )
    client = Client(cluster)
    client.wait_for_workers(1)
    lateness.phase = "idle cluster"
    time.sleep(1)
    lateness.phase = "close"
    after = rss_mib()
    client.close()
    cluster.close()
    print(f"RSS {before:.0f} -> {after:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--in-process", action="store_true")
    lateness = Lateness()
    lateness.run(in_process if parser.parse_args().in_process else in_child)
    lateness.table()
    print("load", os.getloadavg())


if __name__ == "__main__":
    main()
