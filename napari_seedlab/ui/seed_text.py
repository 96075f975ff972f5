"""What is known about a seed, in one line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_seedlab.core import LabelState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_seedlab.core import Suggestion
    from napari_seedlab.session.session import Session


def describe(session: Session | None, seed: int) -> str:
    """Seed, label, prediction, oddness: ``Seed 7 · labelled dead · predicted normal 61%``."""
    parts = [f"Seed {seed}"]
    if session is None:
        return parts[0]
    label = session.label(seed)
    if label.state is LabelState.LABELLED:
        parts.append(f"labelled {session.scheme.by_id(label.class_id).name}")
    elif label.state is not LabelState.NONE:
        parts.append(str(label.state).replace("_", " "))
    p = {} if session.predictions is None else session.predictions.of(seed)
    if p:
        best = max(p, key=lambda c: p[c])
        parts.append(f"predicted {session.scheme.by_id(best).name} {p[best]:.0%}")
    score = None if session.anomaly is None else session.anomaly.of(seed)
    if score is not None:
        parts.append(f"oddness {score:.2f}")
    return " · ".join(parts)


SHARE = re.compile(r" \(\d+ %\)| at only \d+ %")  # of a class, as reasons write it


def reason_now(session: Session, asked: Suggestion) -> tuple[str, bool]:
    """Why a seed was asked, and whether that was said with other predictions than the present ones.

    An answered seed's reason names no shares any more.
    """
    reason, seed = asked.reason, asked.seed
    is_answered = session.label(seed).state is not LabelState.NONE
    p = {} if session.predictions is None else session.predictions.of(seed)
    is_past = bool(SHARE.search(reason)) and is_answered
    for c in session.scheme:
        said = re.search(rf"{re.escape(c.name)}(?: \(| at only )(\d+) %", reason)
        is_past = is_past or (said is not None and abs(100 * p.get(c.id, 0.0) - int(said[1])) > 1)
        was_told = reason.startswith(f"predicted {c.name}, yet ")
        is_past = is_past or (was_told and bool(p) and p.get(c.id, 0.0) < max(p.values()))
    reason = SHARE.sub("", reason) if is_answered else reason
    return (f"When asked: {reason}" if is_past else f"{reason[:1].upper()}{reason[1:]}"), is_past


def overwritten(session: Session, said: int | str | None, seeds: Iterable[int]) -> str:
    """How many seeds have another answer than `said`: ``3 of 14 had another answer``; empty for none."""
    labels = [session.label(s) for s in seeds]
    n = sum(
        x.state is not LabelState.NONE
        and (x.class_id if x.state is LabelState.LABELLED else str(x.state)) != said
        for x in labels
    )
    return f"{n:,} of {len(labels):,} had another answer" if n else ""
