"""What is asked next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Suggestion:
    """A seed that is asked about.

    Attributes
    ----------
    uuid : str
        Id that the answer will carry.
    seed : int
    score : float
        Larger is asked first, within its strategy.
    strategy : str
        ``typiclust``, ``margin``, ``anomaly``, ``disagreement``, ``novelty`` or ``random``.
    reason : str
        Why, in words that a seed analyst understands.
    inclusion_p : float
        Chance with which this seed was drawn into the batch; 1.0 where the strategy is
        deterministic, n / N for the random share.
    model_id : str
        Model whose predictions were used; empty before the first.
    """

    uuid: str
    seed: int
    score: float
    strategy: str
    reason: str
    inclusion_p: float
    model_id: str = ""
