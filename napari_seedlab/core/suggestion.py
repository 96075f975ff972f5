"""What is asked next, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ASKS_AGAIN = frozenset({"label_errors"})  # strategies that ask about seeds that are labelled already
CHANCE = ("random", "check")  # strategies that draw by chance
SURE = "the model is sure"  # so begins the reason where no doubtful seed was left


@dataclass(frozen=True)
class Evidence:
    """A labelled seed that an asked one resembles.

    Attributes
    ----------
    seed : int
    class_id : int
        What people said it is.
    distance : float
        Root mean square difference of the standardised embeddings, per entry: 0 for equal seeds, about
        1.4 for two seeds of the pool drawn blindly.
    """

    seed: int
    class_id: int
    distance: float


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
        A key of :data:`napari_seedlab.learn.queries.STRATEGIES`; ``novelty`` in projects of earlier
        versions, in which ``margin`` was today's ``margin_kmeans``.
    reason : str
        Why, in words that a seed analyst understands.
    inclusion_p : float
        Chance with which this seed was drawn into the batch; 1.0 where the strategy is
        deterministic, n / N for the random share.
    model_id : str
        Model whose predictions were used; empty before the first.
    evidence : tuple of Evidence
        The labelled seeds that it resembles most, nearest first; plain mappings are taken as well.
    """

    uuid: str
    seed: int
    score: float
    strategy: str
    reason: str
    inclusion_p: float
    model_id: str = ""
    evidence: tuple[Evidence, ...] = ()

    def __post_init__(self) -> None:
        """Take evidence as JSON gives it."""
        given: Any = self.evidence or ()
        facts = tuple(e if isinstance(e, Evidence) else Evidence(**e) for e in given)
        object.__setattr__(self, "evidence", facts)
