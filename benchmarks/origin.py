"""What a project that starts from another one saves, and when it says that its seeds are others.

    python benchmarks/origin.py [--encoders descriptors] [--states 5] [--outlines true|split] [--json]

An earlier tray of 400 seeds was labelled with 150 answers as the app asks; the new tray has other contrast,
noise, blur, voxel size and class shares. Both are answered as the app asks, up to 150, from scratch and from
the earlier project, and judged by balanced accuracy on 800 fresh seeds of the new kind. Then: how many seeds
lie outside what the earlier tray shows, for a tray like it, for the new kind, and for a tray with inverted
contrast (every grey value of a seed mirrored at that of the typical seed).
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.trays import IDS, Tray, asked, tell, tray_of
from napari_seedlab.core import GRAIN_SCHEME
from napari_seedlab.imaging.phantom import DEFAULT_TRAY
from napari_seedlab.learn.calibration import balanced_accuracy
from napari_seedlab.learn.head import Head, pool_scaler
from napari_seedlab.learn.person import rounds
from napari_seedlab.learn.transfer import domain_of, mapped

if TYPE_CHECKING:
    from collections.abc import Sequence

BUDGET, BATCH = 150, 10
NAMES = {c.id: c.name for c in GRAIN_SCHEME}
SHIFTED = DEFAULT_TRAY.replace(
    diameter=18.0, voxel_size_um=90.0, noise=0.045, blur=0.95, cupping=0.09, rings=0.01, streaks=0.01,
    air_grey=40.0, seed_grey=115.0, shares=(0.6, 0.22, 0.15, 0.03),
)  # fmt: skip


def labelled_head(tray: Tray, random_state: int, n: int = BUDGET) -> Head:
    """The head of a tray after `n` answers to what the app asks."""
    for answers, result in rounds(tray.vectors, tray.class_id, IDS, random_state, BATCH):
        if len(answers.seed) >= n and result.head is not None:
            return result.head
    raise AssertionError("the tray has too few seeds")


def curve(tray: Tray, fresh: Tray, random_state: int, earlier: Head | None) -> list[float]:
    """Balanced accuracy on fresh seeds after 0, 10, … answers; NaN before there is a model."""
    scaler = pool_scaler(tray.vectors)
    prior = None if earlier is None else mapped(earlier, NAMES, IDS, NAMES, scaler)
    out = []
    for answers, result in rounds(tray.vectors, tray.class_id, IDS, random_state, BATCH, prior=prior):
        p = None if result.head is None else result.head.probabilities(fresh.vectors)
        right = np.nan if p is None else balanced_accuracy(fresh.class_id, np.asarray(IDS)[p.argmax(1)])
        out.append(float(right))
        if len(answers.seed) >= BUDGET:
            break
    return out


def one_state(
    state: int, encoders: Sequence[str], outlines: str, n: int = 400, n_fresh: int = 800
) -> dict[str, Any]:
    """Everything for one random state of trays, annotator and folds."""
    earlier = tray_of(n, 1000 + state, encoders=encoders, outlines=outlines)
    new = tray_of(n, 2000 + state, SHIFTED, encoders, outlines)
    fresh = tray_of(n_fresh, 3000 + state, SHIFTED, encoders, outlines)
    head, domain = labelled_head(earlier, 50 + state), domain_of(earlier.vectors)
    same = tray_of(n, 4000 + state, encoders=encoders, outlines=outlines)
    inverted = tray_of(n // 2, 5000 + state, encoders=encoders, outlines=outlines, inverted=True)
    kinds = {"same": same, "shifted": new, "inverted": inverted}
    return {
        "state": state,
        "scratch": curve(new, fresh, state, None),
        "started": curve(new, fresh, state, head),
        "outside": {kind: float(domain.is_outside(t.vectors).mean()) for kind, t in kinds.items()},
    }


def summary(states: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the states, and the labels needed to reach what is reached from scratch in the end."""
    scratch, started = (np.asarray([s[k] for s in states]) for k in ("scratch", "started"))
    mean, target = started.mean(0), float(scratch.mean(0)[-1])
    reached = np.flatnonzero(mean >= target)
    worst = (started - scratch)[:, 1:].mean(0).min()
    return {
        "budget": list(range(0, BUDGET + 1, BATCH)),
        "scratch": [None if np.isnan(v) else round(float(v), 4) for v in scratch.mean(0)],
        "started": [round(float(v), 4) for v in mean],
        "labels_to_scratch_at_the_end": int(reached[0]) * BATCH if len(reached) else None,
        "worst_difference_of_means": round(float(worst), 4),
        "worst_difference_of_a_state": round(float((started - scratch)[:, 1:].min()), 4),
        "outside": {k: [round(s["outside"][k], 3) for s in states] for k in states[0]["outside"]},
    }


def main() -> None:
    """Run what the arguments ask for."""
    wanted, states = asked(__doc__, 5, "true"), []
    for state in range(wanted.states):
        states.append(one_state(state, wanted.encoders.split(","), wanted.outlines))
        line = {k: np.round(v, 3).tolist() for k, v in states[-1].items() if isinstance(v, list)}
        sys.stderr.write(f"state {state}: {json.dumps({**line, 'outside': states[-1]['outside']})}\n")
    tell(summary(states), wanted)


if __name__ == "__main__":
    main()
