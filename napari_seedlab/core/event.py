"""Answers and edits as an append-only history."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class EventKind(StrEnum):
    """What an event changed."""

    SCAN = "scan"  # a scan joined the project
    SCHEME = "scheme"  # the class scheme was set
    SPLIT = "split"  # the regions of a scan were computed anew
    REPAIR = "repair"  # merge, split or delete by hand
    LABEL = "label"  # answers about one or more seeds
    STROKE = "stroke"  # one edit of voxel labels
    UNDO = "undo"  # takes one event back (an undo of an undo is a redo)
    MODEL = "model"  # a model was registered or activated
    TABLE = "table"  # a table told facts of seeds: lot, treatment, weight, …


class LabelState(StrEnum):
    """What is known of a seed's class from people."""

    NONE = "none"
    LABELLED = "labelled"
    UNSURE = "unsure"
    NOT_WHOLE = "not_whole"  # not one whole seed: to repair, never trained on
    CONFLICT = "conflict"  # merged seeds had unequal labels


@dataclass(frozen=True)
class Label:
    """The present answer about one seed; `class_id` is 0 unless the state is ``labelled``."""

    seed: int
    state: LabelState = LabelState.NONE
    class_id: int = 0


@dataclass(frozen=True)
class Event:
    """One entry of the journal.

    `payload` is plain JSON. `hash` is the sha256 of the canonical JSON of all other fields, with
    `prev_hash` the one of the entry before: a chain that :func:`event_hash` verifies.
    """

    sequence: int
    uuid: str
    utc: str
    annotator: str
    kind: EventKind
    payload: Mapping[str, Any]
    prev_hash: str
    hash: str


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no blanks: equal values give equal text. NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def event_hash(
    sequence: int, uuid: str, utc: str, annotator: str, kind: str, payload: Mapping[str, Any], prev_hash: str
) -> str:
    """The sha256 (hex) that an event must carry."""
    fields = [sequence, uuid, utc, annotator, str(kind), payload, prev_hash]
    return hashlib.sha256(canonical_json(fields).encode()).hexdigest()


def answers_of(payload: Mapping[str, Any]) -> list[tuple[int, str, int]]:
    """Seed, state and class id of each answer in a label event; `said` tells unequal ones apart."""
    seeds = payload["seeds"]
    each = payload.get("said") or [(payload["state"], payload["class_id"])] * len(seeds)
    return [(seed, state, class_id) for seed, (state, class_id) in zip(seeds, each, strict=True)]
