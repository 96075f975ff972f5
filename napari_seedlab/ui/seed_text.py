"""What is known about a seed, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_seedlab.core import LabelState

if TYPE_CHECKING:
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
