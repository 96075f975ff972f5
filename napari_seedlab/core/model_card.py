"""What is known of a trained model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class ModelCard:
    """The JSON that lies beside trained weights.

    Attributes
    ----------
    id : str
        ``<kind>-<number>``.
    kind : str
        ``head``, ``net``, ``fcdd`` or ``strokes``.
    created : str
        UTC, ISO 8601.
    class_ids : tuple of int
        Order of the probability columns; empty for anomaly models.
    data_hash : str
        sha256 of what it was trained on.
    parents, config, metrics, versions : mappings
        Models it started from; settings; scores; library versions, threads and device.
    active : bool
        Whether its predictions are the shown ones.
    """

    id: str
    kind: str
    created: str
    class_ids: tuple[int, ...]
    data_hash: str
    parents: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    active: bool = False
