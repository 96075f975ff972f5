"""perf P12: how late the window's event loop runs, in the story and beside chatty jobs.

``xvfb-run -a python benchmarks/lateness.py [--stacks FILE]``. One JSON line. ``story``: the autoplay on one
tray with 60 answers. ``control``: bare napari with the same layers and camera flights, alone and
(``control_beside_jobs``) while the same project trains and fits. ``jobs``: one window
beside a job that sends 50 progress messages a second for 10 s and jobs that leave a file of 100 MB, with
the start of the processes; ``idle``: the same window before. Late milliseconds are told apart by what kept
the loop (see :mod:`napari_seedlab.ui.lateness`); targets: ``else`` p99 ≤ 10, max ≤ 100 ms, the other
parts at most 1.2 times the control. ``--stacks`` writes what the main thread did whenever the loop was over
50 ms late.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from napari_seedlab.core import JobRequest
from napari_seedlab.ui import hands
from napari_seedlab.ui.lateness import LatenessMeter

SIZE = (1366, 768)
LATE_MS, LOOK_S = 50.0, 0.02
N_SEEDS, N_ANSWERS = 120, 60


class WatchedMeter(LatenessMeter):
    """A meter that also keeps what the main thread did while the loop was late."""

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self.found: list[tuple[float, str, list[str]]] = []
        self._looks: list[str] = []
        self._main = threading.get_ident()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._end.wait(LOOK_S):
            if self._timer.isActive() and (time.perf_counter() - self._last) * 1000 > LATE_MS - 20:
                frame = sys._current_frames().get(self._main)
                if frame is not None:
                    self._looks.append(_shown(traceback.format_stack(frame)) + self._others(frame))

    def _others(self, frame: Any) -> str:
        """What other threads do while the main thread only waits for its turn."""
        if frame.f_code.co_name != "breathe":
            return ""
        apart = (self._main, threading.get_ident())
        stacks = [traceback.format_stack(f)[-4:] for t, f in sys._current_frames().items() if t not in apart]
        busy = [s for s in stacks if "wait" not in s[-1] and "get(block" not in s[-1]]
        return "".join("  another thread:\n" + "".join(s) for s in busy)

    def _tick(self) -> None:
        late_ms = (time.perf_counter() - self._last) * 1000
        looks, self._looks = self._looks, []
        if late_ms > LATE_MS:
            self.found.append((late_ms, " and ".join(sorted(self._seen)) or "else", looks))
        super()._tick()

    def stop(self) -> dict[str, dict[str, Any]]:
        """End, and give n, p99 and max in ms per part."""
        self._end.set()
        return super().stop()


def _shown(frames: list[str]) -> str:
    """Our own frames above the event loop, and the innermost ones."""
    own = [f for f in frames[:-6] if "napari_seedlab" in f and "hands.py" not in f and "autoplay.py" not in f]
    return "".join([*own, *frames[-6:]])


def write_stacks(path: Path, found: list[tuple[float, str, list[str]]]) -> None:
    """Write what the main thread did, the longest first."""
    blocks = []
    for late_ms, part, looks in sorted(found, key=lambda x: (x[1], -x[0])):
        blocks.append(f"===== {part} {late_ms:.0f} ms\n" + "----\n".join(list(dict.fromkeys(looks))[:3]))
    path.write_text("\n".join(blocks))


def story(folder: Path, stacks: Path | None) -> dict[str, Any]:
    """Parts of the autoplay on one tray, and of the control."""
    import napari

    from napari_seedlab.io.samples import write_sample
    from napari_seedlab.ui.autoplay import Player
    from napari_seedlab.ui.demo import DEMO, _controls, _session
    from napari_seedlab.ui.docks import open_docks

    tray = folder / "tray"
    write_sample("ct", N_SEEDS, 0, tray)
    viewer = napari.Viewer(title="Seedlab")
    viewer.window._qt_window.resize(*SIZE)
    ui = open_docks(viewer)
    ui.bind(_session(folder / DEMO, True))
    player = Player(viewer, ui, (tray, tray), None, 0)
    player.meter = meter = WatchedMeter(viewer)
    meter.start()
    player.open_scan()
    player.split()
    player.find_odd()
    player.label(N_ANSWERS)
    player.finish_training()
    player.paint()
    player.export(folder / "export")
    found = meter.stop()
    if stacks is not None:
        write_stacks(stacks, meter.found)
    ui.bind(None)
    viewer.close()
    return {
        "story": found,
        "n_over_50": sum(part == "else" for _, part, _ in meter.found),
        **_controls(folder, tray, SIZE),
    }


def jobs(folder: Path, stacks: Path | None) -> dict[str, Any]:
    """Parts beside jobs that report often and leave much, with the start of the processes."""
    import napari

    from napari_seedlab.ui.docks import open_docks

    viewer = napari.Viewer(title="Seedlab")
    viewer.window._qt_window.resize(*SIZE)
    ui = open_docks(viewer)
    _wait(2)
    idle = _measured(viewer, lambda: _wait(5))
    started = _measured(viewer, lambda: _start(ui, folder / "jobs.seedlab"))
    chatty = _measured(viewer, lambda: _job(ui, folder, "split-1", "tests.jobs.toy:count", n=500, pace=0.02))
    large = _measured(viewer, lambda: [_job(ui, folder, f"net-{i}", "tests.jobs.toy:big") for i in range(3)])
    ui.bind(None)
    viewer.close()
    phases = {"idle": idle, "start": started, "50_per_s": chatty, "100_mb": large}
    looked = [x for phase in phases.values() for x in phase.pop("stacks")]
    if stacks is not None:
        write_stacks(stacks.with_suffix(".jobs"), looked)
    return phases


def _wait(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        hands.breathe()


def _start(ui: Any, path: Path) -> None:
    """Make a project as the button does; its processes start."""
    from napari_seedlab.ui.projects import make_project

    make_project(ui, path)
    hands.wait_until(lambda: ui.session is not None, "the project", 60)
    hands.wait_until(lambda: ui.session.desk.runner.wait_warm(0), "the worker", 60)
    _wait(1)


def _job(ui: Any, folder: Path, name: str, function: str, **params: Any) -> None:
    """Run one job beside the window; its progress shows in a dock."""
    runner = ui.session.desk.runner
    lane = "live" if name.startswith("split") else "background"
    runner.submit(JobRequest(name, function, params, lane=lane), folder / name)
    hands.wait_until(lambda: runner.status(name).state.is_final, "the job", 60)
    runner.wait(name, 1)


def _measured(viewer: Any, work: Any) -> dict[str, Any]:
    meter = WatchedMeter(viewer)
    meter.start()
    work()
    return {**meter.stop(), "stacks": meter.found}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--stacks", type=Path, help="file for what the main thread did while late")
    p.add_argument("--part", choices=("story", "jobs"), help="only one part")
    a = p.parse_args()
    line: dict[str, Any] = {"benchmark": "P12", "answers": N_ANSWERS, "cores": os.cpu_count()}
    line["load1_before"] = round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory(prefix="seedlab-late-") as folder:
        if a.part != "story":
            line["jobs"] = jobs(Path(folder), a.stacks)
        if a.part != "jobs":
            line |= story(Path(folder), a.stacks)
    line["load1"] = round(os.getloadavg()[0], 2)
    line["targets"] = {"else_p99_ms": 10, "else_max_ms": 100, "other_parts_ratio": 1.2}
    print(json.dumps(line), flush=True)
    os._exit(0)  # a viewer left open can crash while the interpreter shuts down


if __name__ == "__main__":
    main()
