"""Checks of a network without one: a batch of noise, a line, and a few answers with their losses."""

import numpy as np
from psygnal import Signal

from napari_seedlab.session.net_checks import Batch, WrongAnswer


class FakeNetChecks:
    """What ``session.net_checks`` offers."""

    changed = Signal(str)

    def __init__(self, session):
        self._session, self.batch, self.by_heart, self.wrong = session, None, {}, {}
        self.shape = (16, 2, 32, 32, 32)
        self.outcome = (True, "One batch of 16 seeds learnt by heart: loss 0.03 after 41 steps.")

    def preview(self, settings=None):
        self._session.calls.append(("preview", dict(settings or {})))
        values = np.random.default_rng(0).normal(size=self.shape).astype(np.float32)
        axes = ("seed", "channel", "z", "y", "x") if len(self.shape) == 5 else ("seed", "channel", "y", "x")
        seeds = np.arange(1, self.shape[0] + 1)
        self.batch = Batch("ct", values, seeds, 1 + seeds % 3, axes, -3.1, 8.0, 0.02)
        self.changed.emit("batch")

    def learn_by_heart(self, settings=None):
        self._session.calls.append(("learn_by_heart", dict(settings or {})))
        self.by_heart = {"ct": self.outcome}
        self.changed.emit("by_heart")

    def find_wrong(self, n=8):
        rows = [WrongAnswer(s, 1 + s % 2, 1 + (s + 1) % 2, 0.1, 2.5 - 0.1 * s) for s in range(1, n + 1)]
        self.wrong = {"ct": tuple(rows)}
        self.changed.emit("wrong")
