"""CSV that a spreadsheet cannot run as formulas, and that reads back as it was written."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Cell = str | int | float | None

WRITTEN_END = "\r\n"
SEPARATORS = (",", ";", "\t")  # the second where the comma is the decimal sign, the third from a clipboard
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "␀", "＝", "＋", "－", "＠")
ESCAPED = (*FORMULA, "'")


def safe_text(text: str) -> str:
    """`text` with an apostrophe in front where a spreadsheet would take it for a formula.

    NUL, which no CSV reader takes, becomes its picture ``␀``.

    Examples
    --------
    >>> safe_text("=1+1"), safe_text("normal")
    ("'=1+1", 'normal')
    """
    shown = text.replace("\0", "␀")
    return f"'{shown}" if shown.startswith(ESCAPED) else shown


def plain_text(cell: str) -> str:
    """The text behind :func:`safe_text`; what others wrote stays as it is."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(ESCAPED) else cell


def cell_text(value: Cell) -> str:
    """One cell: numbers as numbers (shortest form that reads back), NaN and None empty, text safe."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return safe_text(value) if isinstance(value, str) else repr(value)


def header_names(cells: Iterable[str]) -> list[str]:
    """Names of the columns as they are compared: without blanks around them, in lower case."""
    return [cell.strip().lower() for cell in cells]


def separator_of(lines: Sequence[str], wanted: Iterable[str]) -> str:
    r"""The sign between the cells: that with which the first row names all wanted columns, else a comma.

    Examples
    --------
    >>> separator_of(["Seed;Class\n", "1;dead\n"], ("seed", "class"))
    ';'
    """
    for sign in SEPARATORS:
        try:
            header = next(csv.reader(lines, delimiter=sign, strict=True), [])
        except csv.Error:
            continue
        if set(wanted) <= set(header_names(header)):
            return sign
    return SEPARATORS[0]


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    r"""A table as UTF-8 with ``\n`` line ends; equal tables give equal bytes."""
    lines = _Lines()
    writer = csv.writer(lines, lineterminator=WRITTEN_END)  # so that cells with either sign are quoted
    writer.writerow([safe_text(name) for name in header])
    writer.writerows([cell_text(value) for value in row] for row in rows)
    return "".join(lines).encode("utf-8", "backslashreplace")


class _Lines(list[str]):
    """Takes rows of a CSV writer, ends each with a line feed."""

    def write(self, row: str) -> None:
        """Keep one row."""
        self.append(row.removesuffix(WRITTEN_END) + "\n")
