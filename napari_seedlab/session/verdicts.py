"""How well anomaly scores tell the seeds that people called odd from those they called normal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_seedlab.core import LabelState
from napari_seedlab.session.anomaly import LEARNT

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_seedlab.session.results import AnomalyScores
    from napari_seedlab.session.session import Session

LEAST = 2  # normal seeds, and odd ones, from which on scores are judged
MANY_DRAWN = 30  # answers about seeds drawn at random, from which on these alone judge


@dataclass(frozen=True)
class Verdict:
    """What the labels say about the scores of one method.

    Attributes
    ----------
    method : str
        Whose scores.
    n_normal, n_odd : int
        Labelled seeds that judge.
    is_random : bool
        Whether all of them were drawn at random; else they are whatever was asked and clicked.
    n_taught : int
        Of them, those whose label or painted defect was known when the scores were learnt.
    auc, average_precision : float or None
        None with fewer than two normal or two odd seeds.
    interval : tuple of float or None
        95 % interval of the AUC.
    """

    method: str
    n_normal: int
    n_odd: int
    is_random: bool = False
    n_taught: int = 0
    auc: float | None = None
    interval: tuple[float, float] | None = None
    average_precision: float | None = None


def verdicts(
    session: Session, pool: str, normal_class: int = 0, random_state: int = 0
) -> tuple[Verdict, ...]:
    """Judge every scored method of a pool by the labels; the shown one first.

    Takes about 50 ms a method and 200 labels: call it beside the event loop.

    Parameters
    ----------
    session : Session
        Whose labels; "not whole" and "unsure" are no label.
    pool : str
        Kind of scans.
    normal_class : int
        All other classes count as odd; 0 = as the model was learnt, else the first of the scheme.
    random_state : int
        Of the bootstrap.

    Returns
    -------
    tuple of Verdict
    """
    shown = session.opinions.shown.get(pool)
    found = sorted(session.opinions.of(pool), key=lambda f: shown is None or f.method != shown.method)
    return tuple(_verdict(session, each, normal_class, random_state) for each in found)


def _verdict(session: Session, found: AnomalyScores, normal_class: int, random_state: int) -> Verdict:
    from napari_seedlab.learn.evaluate import auc_interval, average_precision, roc_auc

    card = next((c for c in session.models if c.id == found.model_id), None)
    learnt = {} if card is None else card.config
    normal = normal_class or int(learnt.get("normal_class", session.scheme.ids[0]))
    labels = session.labels.values()
    judged = [x for x in labels if x.state is LabelState.LABELLED and x.seed in found.row]
    origins = [session.label_origin(x.seed) for x in judged]
    is_odd = np.asarray([x.class_id != normal for x in judged], bool)
    is_random = np.asarray([strategy == "random" for _, _, strategy in origins], bool)
    only_random = bool(is_random.sum() >= MANY_DRAWN and _enough(is_odd[is_random]))
    use = is_random if only_random else np.ones(len(judged), bool)
    up_to = int(learnt.get("labels_up_to", 0)) if found.method in LEARNT else 0
    painted = set(learnt.get("painted", ())) if found.method in LEARNT else set()
    sequences = [sequence for sequence, _, _ in origins]
    taught = np.asarray(
        [0 < n <= up_to or x.seed in painted for n, x in zip(sequences, judged, strict=True)], bool
    )
    n_odd, n = int(is_odd[use].sum()), int(use.sum())
    counts = Verdict(found.method, n - n_odd, n_odd, only_random, int(taught[use].sum()))
    if not _enough(is_odd[use]):
        return counts
    rows = [found.row[x.seed] for x, used in zip(judged, use, strict=True) if used]
    score = found.score[rows].astype(np.float64)
    return Verdict(
        counts.method, counts.n_normal, counts.n_odd, counts.is_random, counts.n_taught,
        roc_auc(score, is_odd[use]),
        auc_interval(score, is_odd[use], random_state),
        average_precision(score, is_odd[use]),
    )  # fmt: skip


def _enough(is_odd: npt.NDArray[np.bool_]) -> bool:
    return bool(is_odd.sum() >= LEAST and (~is_odd).sum() >= LEAST)


def sample_text(verdict: Verdict) -> str:
    """Which seeds judge, in words: ``12 labelled seeds, chosen not at random``."""
    n = verdict.n_normal + verdict.n_odd
    how = "drawn at random" if verdict.is_random else "chosen not at random"
    taught = f"; {verdict.n_taught:,} of them taught it" if verdict.n_taught else ""
    return f"{n:,} labelled seeds, {how}{taught}"
