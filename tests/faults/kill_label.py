"""Kill a labelling process at random moments and look for what it had acknowledged.

    python tests/faults/kill_label.py --trials 40 --random-state 0 --json

A driver process labels, takes back, paints and repairs in a loop, and writes ``ack <uuid>`` after
each durable commit. The parent ends its process group with SIGKILL, opens the project as a user
would, and counts: acknowledged events that are gone, projects that do not open, edits that are
there in part, seconds until the project is open. The same project is carried from kill to kill.

The control saves in place (``open(path, "w")``, ``np.save``) and must fail the same check.

With ``--session`` the driver is ``session_driver.py``: a whole session with its worker process, labelling
while a network trains. Then only the session's own process is killed, every second time while a training
runs, and 5 s later none of the processes that it started may be left.

Another driver can be put in place with ``--driver 'command {project} {random_state}'``: it prints
``ready`` and then ``ack <uuid>`` lines.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import psutil

HERE = Path(__file__).resolve()
REPOSITORY = HERE.parents[2]
START_LIMIT = 60.0  # seconds until the driver must be ready
RESTART_LIMIT = 5.0  # seconds within which a project must be open again
LONGEST = 1.0  # seconds after `ready` within which the kill comes
ORPHAN_LIMIT = 5.0  # seconds after the kill until all processes of the driver must be gone
LONGEST_TRAINING = 3.0  # seconds after a training began within which the kill comes
SESSION_DRIVER = HERE.with_name("session_driver.py")
MARK = "SEEDLAB_FAULT_TRIAL"  # environment variable that all processes of a trial inherit
SHAPE, GRID = (4, 48, 48), 6
CONTROLS = ("json", "npy")
OLD = 100_000  # labels that the control holds already


@dataclass
class Tally:
    """What all trials together found."""

    trials: int = 0
    acks: int = 0
    lost: int = 0
    unreadable: int = 0
    mixed: int = 0
    problems: list[str] = field(default_factory=list)
    worst_restart_s: float = 0.0
    trainings: int = 0  # kills while a training ran
    adopted: int = 0  # models that trainings have left
    orphans: int = 0
    worst_orphan_s: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Whether every promise was kept."""
        kept = not (self.lost or self.unreadable or self.mixed or self.problems or self.orphans)
        return kept and self.worst_restart_s <= RESTART_LIMIT


# -- the project under test ------------------------------------------------------------------------
def make_project(path: Path) -> None:
    """One scan with 36 regions."""
    from napari_seedlab.core import Modality, RegionTable, ScanFacts
    from napari_seedlab.files import ArraySource, create_zarr
    from napari_seedlab.store import Project

    with Project.create(path) as project:
        facts = ScanFacts(
            "tray", Modality.CT, SHAPE, ("z", "y", "x"), "uint8", None, None, "/data/a.raw", 1, 1
        )
        scan = project.add_scan(facts, ArraySource("/data/a.raw", "raw", SHAPE, facts.axes, "|u1"), "driver")
        first = project.next_region_id()
        raster, boxes = np.zeros(SHAPE, np.int32), []
        for i in range(GRID * GRID):
            y, x = (8 * v for v in divmod(i, GRID))
            boxes.append((0, y, x, 3, y + 7, x + 7))
            raster[0:3, y : y + 7, x : x + 7] = first + i
        folder = project.job_folder("split")
        create_zarr(folder / "regions.zarr", SHAPE, (2, 16, 16), np.int32)[...] = raster
        n = len(boxes)
        table = RegionTable(
            scan.id,
            np.arange(first, first + n, dtype=np.int32),
            np.zeros(n, np.int64),
            np.asarray(boxes, np.int32),
            np.asarray([[1.0, (b[1] + b[4] - 1) / 2, (b[2] + b[5] - 1) / 2] for b in boxes]),
            np.full(n, 147, np.int64),
        )
        project.add_split(scan.id, {}, table, folder / "regions.zarr", "driver")


# -- drivers (child processes) ---------------------------------------------------------------------
def ack(name: str) -> None:
    """Tell the parent that `name` is durable."""
    sys.stdout.write(f"ack {name}\n")
    sys.stdout.flush()


def say_ready() -> None:
    """Tell the parent that the loop begins."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def drive(path: Path, random_state: int) -> None:
    """Label, take back, paint and repair until killed."""
    from napari_seedlab.store import Project

    chance = random.Random(random_state)
    project = Project.open(path)
    say_ready()
    while True:
        event = one_step(project, chance)
        if event is not None:
            ack(event.uuid)


def one_step(project, chance):
    """One random edit; its event, or None where there was nothing to do."""
    seeds = [s.id for s in project.seeds().values() if not s.archived and s.alias_of is None]
    kind = chance.choices(("label", "bulk", "undo", "redo", "stroke", "repair"), (9, 2, 4, 2, 4, 3))[0]
    if kind == "label":
        asked = {"uuid": str(uuid.uuid4()), "strategy": "random", "inclusion_p": 0.1}
        seed = chance.choice(seeds)
        return project.label([seed], "labelled", chance.randint(1, 4), "driver", suggestion={seed: asked})
    if kind == "bulk":
        return project.label(
            chance.sample(seeds, min(12, len(seeds))), chance.choice(("unsure", "none")), 0, "driver"
        )
    if kind in ("undo", "redo"):
        return getattr(project, kind)()
    if kind == "stroke":
        points = np.random.default_rng(chance.randrange(2**32)).integers(0, 48, (200, 2))
        return project.stroke(
            1, 0, chance.randrange(4), points, np.full(200, chance.randint(-1, 3)), "driver"
        )
    return random_repair(project, chance)


def random_repair(project, chance):
    """Cut a region in two, or give two neighbours one id."""
    from napari_seedlab.files import open_array

    table = project.regions(1)
    row = chance.randrange(len(table))
    box = table.box[row]
    crop = np.asarray(open_array(project.regions_source(1)))
    if chance.random() < 0.5:
        new = crop[tuple(slice(a, b) for a, b in zip(box[:3], box[3:], strict=True))].copy()
        middle = max(1, new.shape[2] // 2)
        part = new[:, :, :middle]
        part[part == table.region[row]] = project.next_region_id(64)
        return project.repair(1, "split", box, new, "driver") if new.shape[2] > 1 else None
    other = chance.randrange(len(table))
    low = np.minimum(box[:3], table.box[other][:3])
    high = np.maximum(box[3:], table.box[other][3:])
    new = crop[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].copy()
    new[new == table.region[other]] = table.region[row]
    return project.repair(1, "merge", (*low, *high), new, "driver") if other != row else None


def drive_in_place(path: Path, random_state: int, kind: str) -> None:
    """The control: keep all labels in one file that is written over the old one."""
    chance = random.Random(random_state)
    state = {f"seed {i}": chance.random() for i in range(OLD)}
    rows = np.asarray([f"{v:.30f}" for v in state.values()], "U36")
    target = path / f"labels.{kind}"
    known = read_in_place(path, kind) if target.exists() else []
    say_ready()
    while True:
        known.append(str(uuid.uuid4()))
        if kind == "json":
            with open(target, "w") as stream:
                json.dump({"acks": known, "state": state}, stream)
        else:
            np.save(target, np.concatenate([rows, np.asarray(known, "U36")]))
        ack(known[-1])


def read_in_place(path: Path, kind: str) -> list[str]:
    """Acknowledged names in the control's file."""
    if kind == "json":
        return list(json.loads((path / "labels.json").read_text())["acks"])
    return [str(v) for v in np.load(path / "labels.npy", allow_pickle=False)[OLD:]]


# -- one trial (parent) ----------------------------------------------------------------------------
def run_and_kill(command: list[str], seconds: float) -> list[str]:
    """Run a driver, SIGKILL its group `seconds` after it is ready; what it acknowledged."""
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, start_new_session=True, cwd=REPOSITORY, env=environment()
    )
    pipe = child.stdout.fileno()
    try:
        text = read_until(pipe, b"ready\n", START_LIMIT)
        text += read_for(pipe, seconds)
    except BaseException:
        child.stdout.close()
        raise
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    with child.stdout:
        text += child.stdout.read()
    whole_lines = text.decode().split("\n")[:-1]
    return [line.removeprefix("ack ") for line in whole_lines if line.startswith("ack ")]


def environment() -> dict[str, str]:
    """Environment of a driver: it imports the checkout."""
    path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def read_until(pipe: int, mark: bytes, limit: float) -> bytes:
    """Bytes of the pipe up to and after `mark`."""
    text, end = b"", time.monotonic() + limit
    while mark not in text:
        ready, _, _ = select.select([pipe], [], [], max(0.0, end - time.monotonic()))
        block = os.read(pipe, 65536) if ready else b""
        if not block:
            raise RuntimeError(f"the driver did not get ready, it said {text[-200:]!r}")
        text += block
    return text


def read_for(pipe: int, seconds: float) -> bytes:
    """Bytes that come within `seconds`, so that the pipe never fills up."""
    text, end = b"", time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        ready, _, _ = select.select([pipe], [], [], left)
        block = os.read(pipe, 65536) if ready else b""
        if ready and not block:
            raise RuntimeError("the driver ended on its own")
        text += block
    return text


def kill_session(command: list[str], seconds: float, in_training: bool, tally: Tally) -> list[str]:
    """Run the session's driver, SIGKILL it alone, look for what it left; what it acknowledged."""
    mark, begun = uuid.uuid4().hex, time.perf_counter()
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, cwd=REPOSITORY, env={**environment(), MARK: mark}
    )
    pipe = child.stdout.fileno()
    try:
        text = read_until(pipe, b"ready\n", START_LIMIT)
        tally.worst_restart_s = max(tally.worst_restart_s, time.perf_counter() - begun)
        if in_training:
            text += read_until(pipe, b"training\n", START_LIMIT)
        text += read_for(pipe, seconds)
    except BaseException:
        child.stdout.close()
        raise
    finally:
        child.kill()
        child.wait()
    tally.trainings += b"training\n" in text
    text += count_orphans(mark, tally, pipe)
    child.stdout.close()
    whole_lines = text.decode().split("\n")[:-1]
    return [line.removeprefix("ack ") for line in whole_lines if line.startswith("ack ")]


def count_orphans(mark: str, tally: Tally, pipe: int) -> bytes:
    """Wait for the processes of a trial to go, end those that stay; the last bytes of the pipe."""
    begun = time.monotonic()
    while (left := marked(mark)) and time.monotonic() - begun < ORPHAN_LIMIT:
        time.sleep(0.05)
    tally.worst_orphan_s = max(tally.worst_orphan_s, time.monotonic() - begun)
    tally.orphans += len(left)
    for process in left:
        tally.problems.append(f"left running: {' '.join(process.cmdline())[-200:]}")
        process.kill()
    text = b""
    while select.select([pipe], [], [], 0)[0] and (block := os.read(pipe, 65536)):
        text += block
    return text


def marked(mark: str) -> list[psutil.Process]:
    """Living processes that inherited the mark of a trial, in whatever session or group."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def verify(path: Path, acks: set[str], tally: Tally) -> None:
    """Open the killed project for writing and compare it with all that was acknowledged."""
    from napari_seedlab.core import SeedlabError
    from napari_seedlab.store import Project

    start = time.perf_counter()
    try:
        project = Project.open(path)
    except SeedlabError as error:
        tally.unreadable += 1
        tally.problems.append(str(error))
        return
    with project:
        project.regions_source(1)
        tally.worst_restart_s = max(tally.worst_restart_s, time.perf_counter() - start)
        tally.lost += len(acks - {event.uuid for event in project.events()})
        tally.problems += project.check(deep=True)
        tally.mixed += mixed_regions(project)
        tally.adopted = len([m for m in project.models() if m.kind in ("net", "fcdd")])


def mixed_regions(project) -> int:
    """Regions whose voxels are not those of the table."""
    from napari_seedlab.files import open_array

    table = project.regions(1)
    ids, counts = np.unique(np.asarray(open_array(project.regions_source(1))), return_counts=True)
    found = {int(i): int(n) for i, n in zip(ids, counts, strict=True) if i}
    wanted = dict(zip(table.region.tolist(), table.n_voxels.tolist(), strict=True))
    return sum(found.get(r) != wanted.get(r) for r in found.keys() | wanted.keys())


def verify_in_place(path: Path, acks: set[str], tally: Tally, kind: str) -> None:
    """The same question for the control."""
    try:
        tally.lost += len(acks - set(read_in_place(path, kind)))
    except (OSError, ValueError, EOFError, KeyError):
        tally.unreadable += 1
        tally.lost += len(acks)
        (path / f"labels.{kind}").unlink(missing_ok=True)
        acks.clear()


def run_trials(path: Path, trials: int, random_state: int, driver: str = "", control: str = "") -> Tally:
    """Kill `trials` times, carrying the project along."""
    chance, tally, acks = random.Random(random_state), Tally(), set()
    for trial in range(trials):
        seed = chance.randrange(2**31)
        own = [sys.executable, str(HERE), "--drive", str(path), "--random-state", str(seed)]
        command = own + (["--control", control] if control else [])
        if driver:
            command = shlex.split(driver.format(project=path, random_state=seed))
        new = run_and_kill(command, chance.uniform(0.0, LONGEST))
        acks.update(new)
        tally.trials, tally.acks = trial + 1, tally.acks + len(new)
        if control:
            verify_in_place(path, acks, tally, control)
        else:
            verify(path, acks, tally)
    return tally


def run_session_trials(path: Path, trials: int, random_state: int, control: str = "") -> Tally:
    """As :func:`run_trials`, with a whole session; every second kill comes while a training runs."""
    chance, tally, acks = random.Random(random_state), Tally(), set()
    for trial in range(trials):
        command = [sys.executable, str(SESSION_DRIVER), str(path), str(chance.randrange(2**31))]
        in_training = trial % 2 == 1
        seconds = chance.uniform(0.0, LONGEST_TRAINING if in_training else LONGEST)
        new = kill_session(command + (["--control"] if control else []), seconds, in_training, tally)
        acks.update(new)
        tally.trials, tally.acks = trial + 1, tally.acks + len(new)
        verify(path, acks, tally)
    return tally


def main(arguments: list[str] | None = None) -> int:
    """Run the command; exit code 0 when nothing was lost and every control failed as it must."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--control-trials", type=int, default=5)
    parser.add_argument("--random-state", type=int, default=0)
    parser.add_argument("--driver", default="", help="command with {project} and {random_state}")
    parser.add_argument("--session", action="store_true", help="drive a whole session with its worker")
    parser.add_argument("--folder", help="where the projects are made, such as a drive to be tried")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--control", choices=CONTROLS, default="", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.drive and given.control:
        drive_in_place(given.drive, given.random_state, given.control)
    elif given.drive:
        drive(given.drive, given.random_state)
    with tempfile.TemporaryDirectory(prefix="seedlab-kill-", dir=given.folder) as folder:
        project = Path(folder) / "P.seedlab"
        if given.session:
            from session_driver import make_project as make_session_project

            make_session_project(project)
            tally = run_session_trials(project, given.trials, given.random_state)
        else:
            make_project(project)
            tally = run_trials(project, given.trials, given.random_state, given.driver)
        controls = {k: run_trials(Path(folder), given.control_trials, 1, control=k) for k in CONTROLS}
    caught = {k: c.lost + c.unreadable > 0 for k, c in controls.items()}
    ok = tally.is_clean and all(caught.values())
    report = {**asdict(tally), "controls": {k: asdict(c) for k, c in controls.items()}, "ok": ok}
    line = ", ".join(f"{k} {v}" for k, v in asdict(tally).items())
    print(json.dumps(report) if given.json else f"{line}; controls caught: {caught}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    sys.exit(main())
