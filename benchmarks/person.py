"""How long a person takes to know every seed of a tray, with the app and one by one.

    python benchmarks/person.py [--encoders descriptors] [--states 6] [--outlines split|true] [--json]

A scripted person (`learn/person.py`) works through 500 phantom seeds: 1 s per look, 0.3 s per key, 2 s
per drag. She sees the truth of what she looks at and knows nothing else; the final classes are her
answers and the model's predictions for the rest. Ways to work: suggestions for a fifth of the one-by-one
time; suggestions until 19 of the last 20 answers were predicted; thirty groups, each dragged onto a
class where the six members that fit least are of one, then suggestions. Nobody takes longer than that
fifth. Looks are counted twice: a second for each thumbnail, and a second for a page of twelve. The
target is 95 % right overall and 90 % of the abnormal and of the dead.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.trays import IDS, Tray, asked, tell, tray_of
from napari_seedlab.learn.person import Costs, Plan, work_through

N_SEEDS = 500
SHARE = 0.2  # of the one-by-one time
PLANS = {
    "suggestions for a fifth of the time": Plan(n_calm=0),
    "suggestions until 19 of 20 were predicted": Plan(),
    "groups, then suggestions": Plan(n_groups=30, n_calm=10),
}
COSTS = {"a second a thumbnail": Costs(), "a second a page": Costs(n_per_look=12)}


def days_of(tray: Tray, state: int) -> dict[str, dict[str, Any]]:
    """What each plan took under each count, and what came of it."""
    told = {}
    for name, plan in PLANS.items():
        for how, costs in COSTS.items():
            whole = costs.one_by_one(len(tray.class_id))
            wanted = replace(plan, budget_s=SHARE * whole)
            day = work_through(tray.vectors, tray.class_id, IDS, wanted, costs, state)
            recall = {str(c): round(r, 3) for c, r in day.recall.items()}
            is_good = day.accuracy >= 0.95 and min(day.recall.get(c, 1.0) for c in (2, 3)) >= 0.9
            told[f"{name}, {how}"] = {
                "seconds": round(day.seconds, 1),
                "share_of_one_by_one": round(day.seconds / whole, 3),
                "accuracy": round(day.accuracy, 4),
                "recall": recall,
                "answered": day.n_answered,
                "in_groups": day.n_in_bulk,
                "reached": bool(is_good and day.seconds <= SHARE * whole + 1e-6),
            }
    return told


def main() -> None:
    """Run what the arguments ask for."""
    wanted, states, n_others = asked(__doc__, 6, "split"), [], []
    for state in range(wanted.states):
        tray = tray_of(N_SEEDS, 6000 + state, encoders=wanted.encoders.split(","), outlines=wanted.outlines)
        states.append(days_of(tray, state))
        n_others.append(tray.n_others)
        for way, facts in states[-1].items():
            sys.stderr.write(f"state {state} {way}: {json.dumps(facts)}\n")
    ways = {
        way: {
            "seconds": [s[way]["seconds"] for s in states],
            "mean_share_of_one_by_one": round(
                float(np.mean([s[way]["share_of_one_by_one"] for s in states])), 3
            ),
            "least_accuracy": min(s[way]["accuracy"] for s in states),
            "least_recall": min(min(s[way]["recall"].get(c, 1.0) for c in "23") for s in states),
            "reached": sum(s[way]["reached"] for s in states),
        }
        for way in states[0]
    }
    tell({"regions_that_are_no_seed": n_others, "ways": ways}, wanted)


if __name__ == "__main__":
    main()
