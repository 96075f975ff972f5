"""The present state of a project, read from its tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select

from napari_seedlab.core import (
    ClassScheme,
    InputError,
    Label,
    LabelState,
    Modality,
    ModelCard,
    RegionTable,
    Scan,
    ScanFacts,
    Seed,
    SeedClass,
)
from napari_seedlab.store import schema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

STATES = {str(state): state for state in LabelState}


def facts_of(text: str) -> ScanFacts:
    """Facts of a scan from their JSON."""
    value = json.loads(text)
    for key in ("shape", "axes", "voxel_size_um", "wavelengths_nm", "notes"):
        value[key] = None if value[key] is None else tuple(value[key])
    return ScanFacts(**{**value, "modality": Modality(value["modality"])})


def scans(connection: Connection) -> list[Scan]:
    """All scans by id."""
    rows = connection.execute(select(schema.scans.c.id, schema.scans.c.facts).order_by(schema.scans.c.id))
    return [Scan(row.id, facts_of(row.facts)) for row in rows]


def source(connection: Connection, scan: int) -> dict[str, Any] | None:
    """The source of a scan as JSON, or None."""
    text = connection.scalar(select(schema.scans.c.source).where(schema.scans.c.id == scan))
    return None if text is None else dict(json.loads(text))


def scheme(connection: Connection, kind: str) -> ClassScheme | None:
    """The class scheme of a kind, or None."""
    text = connection.scalar(select(schema.schemes.c.classes).where(schema.schemes.c.kind == kind))
    return None if text is None else ClassScheme(kind, tuple(SeedClass(**c) for c in json.loads(text)))


def seeds(connection: Connection) -> dict[int, Seed]:
    """All seeds by id."""
    columns = (schema.seeds.c.id, schema.seeds.c.lot, schema.seeds.c.archived, schema.seeds.c.alias_of)
    rows = connection.execute(select(*columns).order_by(schema.seeds.c.id))
    return {i: Seed(i, lot, bool(archived), alias) for i, lot, archived, alias in rows}


def survivors(connection: Connection, seed_ids: Iterable[int]) -> list[int]:
    """The seeds themselves, or those they were merged into; each once, in the order given.

    Raises
    ------
    InputError
        One is not in the project, or there is none.
    """
    wanted = list(dict.fromkeys(int(s) for s in seed_ids))
    if not wanted:
        raise InputError("label", "no seed was given", "Choose one")
    table = schema.seeds
    known: dict[int, int] = {}
    for i in range(0, len(wanted), 500):
        query = select(table.c.id, table.c.alias_of).where(table.c.id.in_(wanted[i : i + 500]))
        known.update({row[0]: row[1] or row[0] for row in connection.execute(query)})
    for seed in wanted:
        if seed not in known:
            raise InputError(f"seed {seed}", "is not in this project", "Check the seed ids")
    chosen = [known[seed] for seed in wanted]
    return wanted if chosen == wanted else survivors(connection, chosen)


def region_shape(connection: Connection, scan: int) -> tuple[int, int, int]:
    """Shape of the region raster of a scan; InputError for an unknown scan."""
    text = connection.scalar(select(schema.scans.c.facts).where(schema.scans.c.id == scan))
    if text is None:
        raise InputError(f"scan {scan}", "is not in this project", "Check the scan ids")
    return facts_of(text).region_shape


def region_rows(connection: Connection, scan: int) -> list[tuple[Any, ...]]:
    """Rows of a scan, in the column order of the table."""
    table = schema.regions
    return [
        tuple(row)
        for row in connection.execute(select(table).where(table.c.scan == scan).order_by(table.c.region))
    ]


def regions(connection: Connection, scan: int) -> RegionTable:
    """The region table of a scan."""
    rows = region_rows(connection, scan)
    columns = list(zip(*rows, strict=True)) if rows else [()] * 13
    return RegionTable(
        scan,
        np.asarray(columns[0], np.int32),
        np.asarray(columns[2], np.int64),
        np.asarray(columns[3:9], np.int32).reshape(6, len(rows)).T.copy(),
        np.asarray(columns[9:12], np.float64).reshape(3, len(rows)).T.copy(),
        np.asarray(columns[12], np.int64),
    )


def rows_elsewhere(connection: Connection, scan: int, seed_ids: Iterable[int]) -> list[list[Any]]:
    """Region rows of other scans that show one of some seeds."""
    table = schema.regions
    wanted = sorted(set(seed_ids))
    found: list[list[Any]] = []
    for i in range(0, len(wanted), 500):
        query = select(table).where(table.c.scan != scan, table.c.seed.in_(wanted[i : i + 500]))
        found += [list(row) for row in connection.execute(query)]
    return found


def said(connection: Connection, seed_ids: Iterable[int]) -> dict[int, tuple[str, int, int]]:
    """State, class id and event of the labels of some seeds."""
    table = schema.labels
    columns = (table.c.seed, table.c.state, table.c.class_id, table.c.sequence)
    wanted = sorted(set(seed_ids))
    found: dict[int, tuple[str, int, int]] = {}
    for i in range(0, len(wanted), 500):
        for row in connection.execute(select(*columns).where(table.c.seed.in_(wanted[i : i + 500]))):
            found[row[0]] = (row[1], row[2], row[3])
    return found


def labels(connection: Connection) -> dict[int, Label]:
    """The answer about each seed that has one."""
    table = schema.labels
    rows = connection.execute(select(table.c.seed, table.c.state, table.c.class_id).order_by(table.c.seed))
    return {seed: Label(seed, STATES[state], class_id) for seed, state, class_id in rows}


def label_facts(connection: Connection) -> dict[int, dict[str, Any]]:
    """Who said it, when and why it was asked, for each labelled seed."""
    table, events = schema.labels, schema.events
    query = (
        select(table.c.seed, events.c.sequence, events.c.annotator, events.c.utc, events.c.payload)
        .join(events, events.c.sequence == table.c.sequence)
        .order_by(events.c.sequence)
    )
    found: dict[int, dict[str, Any]] = {}
    parsed: tuple[int, dict[str, Any]] = (0, {})
    for seed, sequence, annotator, utc, payload in connection.execute(query):
        if parsed[0] != sequence:
            has_any = '"suggestion":{"' in payload
            parsed = sequence, (json.loads(payload).get("suggestion") or {}) if has_any else {}
        found[seed] = {
            "sequence": sequence,
            "annotator": annotator,
            "utc": utc,
            "suggestion": parsed[1].get(str(seed)),
        }
    return found


def card_of(text: str, is_active: bool) -> ModelCard:
    """A model card from its JSON."""
    value = json.loads(text)
    tuples = {key: tuple(value[key]) for key in ("class_ids", "parents")}
    return ModelCard(**{**value, **tuples, "active": is_active})


def models(connection: Connection, kind: str | None = None) -> list[ModelCard]:
    """Model cards, oldest first."""
    table = schema.models
    query = select(table).order_by(table.c.sequence)
    if kind is not None:
        query = query.where(table.c.kind == kind)
    return [card_of(row.card, bool(row.active)) for row in connection.execute(query)]


def next_back(connection: Connection) -> tuple[int, str] | None:
    """The newest edit (sequence, annotator) that can be taken back."""
    table = schema.history
    query = select(table.c.sequence, table.c.annotator).where(~table.c.undone)
    row = connection.execute(query.order_by(table.c.sequence.desc()).limit(1)).first()
    return None if row is None else (row[0], row[1])


def next_again(connection: Connection) -> tuple[int, str] | None:
    """The edit (sequence, annotator) that would be done again next."""
    table = schema.history
    query = select(table.c.sequence, table.c.annotator).where(table.c.undone)
    row = connection.execute(query.order_by(table.c.sequence).limit(1)).first()
    return None if row is None else (row[0], row[1])


def history(connection: Connection) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Edits (sequence, annotator) that can be taken back, newest first, and done again, next first."""
    table = schema.history
    rows = list(connection.execute(select(table).order_by(table.c.sequence)))
    done = [(row.sequence, row.annotator) for row in rows if not row.undone]
    undone = [(row.sequence, row.annotator) for row in rows if row.undone]
    return done[::-1], undone
