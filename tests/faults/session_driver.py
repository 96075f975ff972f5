"""Label, take back and paint through a session while a network trains in another process, until killed.

    python tests/faults/session_driver.py PROJECT.seedlab RANDOM_STATE [--control orphan]

Prints ``ready`` once the project is open, ``ack <uuid>`` after each ``saved`` of the session, and
``training`` when a background training has done some steps. The control also starts a process that
outlives it, which the check for orphans must find.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
TINY = {"size": 12, "batch": 4, "widths": [4, 8], "precision": "float32"}
NETS = ({"fold_steps": 3, "final_steps": 3}, {"fold_steps": 200, "final_steps": 200})
FCDD = {"size": 12, "n_steps": 60, "batch": 4, "precision": "float32"}
N_ANSWERED = 6  # hollow and full seeds that are answered at the start and left alone
PATIENCE = 60.0  # seconds for one commit
_out = threading.Lock()


def say(line: str) -> None:
    """Write one line to the parent, whole."""
    with _out:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def make_project(path: Path) -> None:
    """The small tray, split, with answers of two classes."""
    import tifffile

    from napari_seedlab.session import Session
    from tests.session.conftest import is_hollow, settle, small_tray

    tray = path.with_name("tray.tif")
    tifffile.imwrite(tray, small_tray()[0])
    with Session.create(path) as session:
        session.import_scan(tray).wait(60)
        session.split().wait(60)
        session.embed().wait(60)
        for seed in session.regions(1).seed.tolist()[: 2 * N_ANSWERED]:
            session.answer(2 if is_hollow(session, seed) else 1, [seed])
        settle(session)


class Driver:
    """One user who never rests.

    Parameters
    ----------
    session : Session
    random_state : int
    """

    def __init__(self, session, random_state):
        self.session, self.chance = session, random.Random(random_state)
        self.seeds = session.regions(1).seed.tolist()[2 * N_ANSWERED :]
        session.saved.connect(lambda event: say(f"ack {event.uuid}"))
        session.job_changed.connect(self.job_changed)

    def job_changed(self, status):
        """Say when a training runs."""
        if status.progress.done > 0 and status.id.split("-")[0] in ("net", "fcdd"):
            say("training")

    def go_on(self):
        """One random edit, and a training where none is under way."""
        kind = self.chance.choices(("label", "bulk", "undo", "redo", "stroke"), (9, 3, 3, 2, 3))[0]
        getattr(self, kind)()
        self.train()
        if self.chance.random() < 0.7:  # else the next edit follows while this one is being saved
            self.session.desk.do(lambda project: None).result(PATIENCE)

    def label(self):
        """Answer about one seed."""
        self.session.answer(self.chance.choice((1, 2, 3, "unsure", None)), [self.chance.choice(self.seeds)])

    def bulk(self):
        """Answer about several at once."""
        self.session.answer(self.chance.choice((3, 4, "not_whole")), self.chance.sample(self.seeds, 6))

    def undo(self):
        """Take an edit back, but not the answers of the start."""
        if self.session.desk.do(can_undo).result(PATIENCE):
            self.session.undo().wait(PATIENCE)

    def redo(self):
        """Do it again."""
        self.session.redo().wait(PATIENCE)

    def stroke(self):
        """Paint on one of the middle planes."""
        points = np.random.default_rng(self.chance.randrange(2**32)).integers(0, 80, (150, 2))
        self.session.stroke(1, 0, self.chance.randrange(5, 15), points, self.chance.choice((0, 1, 2)))

    def train(self):
        """Keep a training under way; short ones end, so that their results are adopted meanwhile."""
        if any(r.lane == "background" for r in self.session.desk.active):
            return
        if self.session.blocked_because:
            return
        from napari_seedlab.core import NotReady

        try:
            if self.chance.random() < 0.8:
                task = self.session.train("net", {**TINY, **self.chance.choice(NETS)})
            else:
                task = self.session.find_odd(FCDD)
        except NotReady:  # the one that just ended is being taken over
            return
        self.session.desk.do(lambda project: None).result(PATIENCE)
        task.future.add_done_callback(lambda future: future.exception())


def can_undo(project):
    """Whether more than the answers of the start are there to take back."""
    return len(project.history()[0]) > 2 * N_ANSWERED + 2


def main() -> None:
    """Drive the project named on the command line."""
    from napari_seedlab.jobs import ClusterRunner
    from napari_seedlab.session import Session

    if "--control" in sys.argv:
        subprocess.Popen(["sleep", "60"], start_new_session=True, stdout=subprocess.DEVNULL)
    session = Session.open(Path(sys.argv[1]), ClusterRunner(warm_up=()))
    driver = Driver(session, int(sys.argv[2]))
    say("ready")
    while True:
        driver.go_on()


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    main()
