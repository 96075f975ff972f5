"""Small text files from outside: read whole, never trusted."""

from __future__ import annotations

import csv
import io
import json
from math import isfinite, nan
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_seedlab.core import ClassScheme, InputError, SeedClass
from napari_seedlab.io.csv_text import header_names, plain_text, separator_of
from napari_seedlab.io.gate import n_bytes, regular_file, shown_name

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterator

MAX_TEXT = 64 * 2**20  # bytes
UNSURE = "unsure"
PLACE = ("z", "y", "x")
Place: TypeAlias = tuple[float, ...]
FIX_ROW = "Correct this row; nothing was read"
BOMS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


def read_labels_csv(
    path: str | os.PathLike[str],
    scheme: ClassScheme,
    known_seeds: Collection[int],
    seed_at: Callable[[Place], int] | None = None,
) -> list[tuple[int, int | str]]:
    """Answers from a table with the columns ``seed`` and ``class``.

    In a table that has the columns ``z``, ``y`` and ``x`` too, the place counts and not the number of the
    seed, which is another one in each project. Other columns are ignored.

    Parameters
    ----------
    path : path-like
        CSV in UTF-8, separated by commas, semicolons or tabs. A class is a name, an id or ``unsure``;
        rows without one are skipped.
    scheme : ClassScheme
        Classes that may be named.
    known_seeds : collection of int
        Seeds that may be named.
    seed_at : callable, optional
        Gives the seed at a place (z, y, x) in voxels, 0 for none; without it, places are refused.

    Returns
    -------
    list of (int, int or str)
        Seed, and class id or ``"unsure"``, by seed.

    Raises
    ------
    InputError
        The whole file is refused: encoding, columns, unknown seeds or classes, a place without a seed,
        a seed with two different classes. The line names the row, counted from 1 at the header.
    """
    name, text = shown_name(path), read_text(path)
    wanted = _wanted(text)
    rows = [row for row in _table(name, text, wanted) if plain_text(row[1]["class"])]
    if len(wanted) == 2:
        _check_seeds(name, rows, set(known_seeds))
        seeds = [int(cells["seed"]) for _, cells in rows]
    else:
        seeds = _seeds_by_place(name, rows, seed_at)
    found: dict[int, tuple[int | str, int]] = {}
    for (number, cells), seed in zip(rows, seeds, strict=True):
        said = _class(name, number, plain_text(cells["class"]), scheme)
        before, where = found.setdefault(seed, (said, number))
        if before != said:
            cause = f"seed {seed} has two classes, in row {where} and in row {number}"
            raise InputError(name, cause, FIX_ROW)
    return [(seed, said) for seed, (said, _) in sorted(found.items())]


def read_class_file(path: str | os.PathLike[str], kind: str = "grain") -> ClassScheme:
    """A class scheme from JSON: a list of ``{"id", "name", "color", "key"}``, or that under ``classes``.

    Raises
    ------
    InputError
        It is not such a file, or two classes share an id, a name or a key.
    """
    name = shown_name(path)
    value = parse_json(name, read_text(path))
    listed = value.get("classes") if isinstance(value, dict) else value
    kind = str(value.get("kind", kind)) if isinstance(value, dict) else kind
    if not isinstance(listed, list) or not listed:
        raise InputError(name, "holds no list of classes", 'Write [{"id": 1, "name": "normal"}, …]')
    classes = tuple(_one_class(name, number, entry) for number, entry in enumerate(listed, 1))
    try:
        return ClassScheme(kind, classes)
    except InputError as error:
        raise InputError(name, error.cause, error.remedy) from error


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a UTF-8 file of at most 64 MiB; other encodings and NUL are refused in one line."""
    name = shown_name(path)
    with regular_file(path) as (stream, facts):
        if facts.st_size > MAX_TEXT:
            cause = f"has {n_bytes(facts.st_size)}, at most {n_bytes(MAX_TEXT)} are read"
            raise InputError(name, cause, "Split it")
        content = stream.read(MAX_TEXT)
    for mark, encoding in BOMS:
        if content.startswith(mark):
            raise InputError(name, f"is written in {encoding}", "Save it as CSV UTF-8")
    if (at := content.find(b"\0")) >= 0:
        row = content.count(b"\n", 0, at) + 1
        raise InputError(name, f"has a NUL byte in row {row}", "Save it as text in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise InputError(name, f"is not UTF-8 in row {row}", "Save it as text in UTF-8") from error


def parse_json(name: str, text: str) -> Any:
    """JSON from outside; NaN, depth and numbers without end are refused in one line."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        cause = f"is not JSON in line {error.lineno}, column {error.colno}"
        raise InputError(name, cause, "Correct it") from error
    except RecursionError as error:
        raise InputError(name, "is nested too deeply to be read", "Write it flat") from error
    except ValueError as error:
        raise InputError(
            name, f"has a number that cannot be used ({str(error)[:40]})", "Correct it"
        ) from error


def read_truth_csv(path: str | os.PathLike[str]) -> list[tuple[int, str, tuple[float, ...] | None]]:
    """Rows of a reference truth: seed, name of its class, and its place (z, y, x) in voxels or None.

    Columns ``seed`` and ``class``, and all or none of ``z``, ``y``, ``x``.

    Raises
    ------
    InputError
        The file cannot be read, lacks a column, or a cell is no number.
    """
    name, text = shown_name(path), read_text(path)
    wanted = _wanted(text)
    rows = []
    for number, cells in _table(name, text, wanted):
        place = _place(name, number, cells) if len(wanted) > 2 else None
        if _seed(cells["seed"]) < 0:
            raise InputError(name, f"row {number} has the seed {cells['seed'][:20]!r}", FIX_ROW)
        rows.append((_seed(cells["seed"]), cells["class"], place))
    return rows


def _wanted(text: str) -> tuple[str, ...]:
    """Columns to read of a table about seeds: the place too, where there is one."""
    lines = _lines(text)
    header = header_names(next(csv.reader(lines[:1], delimiter=separator_of(lines, ("seed", "class"))), []))
    return ("seed", "class", *PLACE) if set(PLACE) <= set(header) else ("seed", "class")


def _place(name: str, number: int, cells: dict[str, str]) -> Place:
    try:
        place = tuple(float(cells[axis]) for axis in PLACE)
    except ValueError:
        place = (nan,)
    if not all(map(isfinite, place)):
        raise InputError(name, f"row {number} has a place that is no number", FIX_ROW)
    return place


def _seeds_by_place(
    name: str, rows: list[tuple[int, dict[str, str]]], seed_at: Callable[[Place], int] | None
) -> list[int]:
    if seed_at is None:
        raise InputError(name, "names seeds by their place", "Take its columns z, y and x out")
    seeds = [seed_at(_place(name, number, cells)) for number, cells in rows]
    empty = [number for (number, _), seed in zip(rows, seeds, strict=True) if seed == 0]
    if empty:
        cause = f"{len(empty)} of {len(rows)} rows lie on no seed of the current scan, first row {empty[0]}"
        raise InputError(name, cause, "Take them out, or the columns z, y and x if its seeds are ours")
    return seeds


def _no_constant(text: str) -> float:
    raise ValueError(text)


def _lines(text: str) -> list[str]:
    """Lines that end at CR and LF alone: a comment may hold other separators."""
    return list(io.StringIO(text, newline=""))


def _table(name: str, text: str, wanted: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows as (number of the row, cells of the wanted columns); blank rows are left out."""
    lines = _lines(text)
    reader = csv.reader(lines, delimiter=separator_of(lines, wanted), strict=True)
    number = 0
    columns: list[int] = []
    try:
        for number, cells in enumerate(reader, 1):
            if number == 1:
                columns = _columns(name, cells, wanted)
            elif any(cell.strip() for cell in cells):
                if len(cells) <= max(columns):
                    cause = f"row {number} has {len(cells)} cells, {max(columns) + 1} are needed"
                    raise InputError(name, cause, FIX_ROW)
                yield number, {key: cells[c].strip() for key, c in zip(wanted, columns, strict=True)}
    except csv.Error as error:
        cause = f"row {number + 1} cannot be read ({str(error)[:40]})"
        raise InputError(name, cause, "Check the quotes in it; nothing was read") from error


def _columns(name: str, cells: list[str], wanted: tuple[str, ...]) -> list[int]:
    header = header_names(cells)
    missing = [key for key in wanted if key not in header]
    if missing:
        cause = f"has no column {missing[0]!r} in its first row"
        raise InputError(name, cause, f"Name the columns {', '.join(wanted)}")
    return [header.index(key) for key in wanted]


def _check_seeds(name: str, rows: list[tuple[int, dict[str, str]]], known: set[int]) -> None:
    unknown = [(number, cells["seed"]) for number, cells in rows if _seed(cells["seed"]) not in known]
    if unknown:
        number, text = unknown[0]
        cause = f"{len(unknown)} of {len(rows)} rows name unknown seeds, first {text[:20]!r} in row {number}"
        raise InputError(name, cause, "Correct them; nothing was read")


def _seed(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1


def _class(name: str, number: int, text: str, scheme: ClassScheme) -> int | str:
    if text.lower() == UNSURE and all(c.name.lower() != UNSURE for c in scheme.classes):
        return UNSURE
    try:
        return scheme.by_name(text).id
    except InputError as error:
        cause = f"row {number} has the class {text[:24]!r}"
        raise InputError(name, cause, error.remedy + f" or {UNSURE}") from error


def _one_class(name: str, number: int, entry: object) -> SeedClass:
    if not isinstance(entry, dict):
        raise InputError(name, f"class {number} is not an object", 'Write {"id": 1, "name": "normal"}')
    class_id, label = entry.get("id"), entry.get("name")
    if not isinstance(class_id, int) or isinstance(class_id, bool) or not isinstance(label, str):
        raise InputError(name, f"class {number} needs a whole 'id' and a text 'name'", "Correct it")
    color, key = entry.get("color", "#888888"), entry.get("key", "")
    if not isinstance(color, str) or not isinstance(key, str):
        raise InputError(name, f"class {number} has a colour or key that is not text", "Write #rrggbb")
    return SeedClass(class_id, label, color, key)
