"""What the labels say about the scores of each method, in a line or a small table."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from napari_seedlab.session.verdicts import LEAST, Verdict, sample_text
from napari_seedlab.ui.method_words import WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

TOO_FEW = f"Too few labels to judge: needs {LEAST} normal and {LEAST} odd."
TIMES = "Times in 100 that an odd seed scores above a normal one:"
FLATTERED = "* some of these labels taught it, which flatters it"


def verdict_text(found: Sequence[Verdict]) -> str:
    """Rich text for all methods that were scored, the shown one first; empty without any.

    >>> print(verdict_text([Verdict("fcdd", 8, 4, False, 0, 0.93, (0.812, 1.0), 0.9)]))  # doctest: +ELLIPSIS
    An odd seed scores above a normal one 93 times in 100 (81-100), by 12 labelled seeds, ...not at random.
    """
    if not found:
        return ""
    judged = [v for v in found if v.auc is not None]
    if not judged:
        return TOO_FEW
    if len(found) == 1:
        times = _times(judged[0], " times in 100")
        return escape(f"An odd seed scores above a normal one {times}, by {sample_text(judged[0])}.")
    rows = "".join(_row(v) for v in found)
    table = f'{TIMES}<table cellspacing="0" width="100%">{rows}</table>'
    return f"{table}{_foot(judged)}"


def _row(verdict: Verdict) -> str:
    name = WORDS[verdict.method][0] + ("*" if verdict.n_taught else "")
    return _cells(name, "too few labels" if verdict.auc is None else _times(verdict))


def _cells(*texts: str) -> str:
    cells = "".join(f'<td style="white-space:nowrap">{escape(text)}</td>' for text in texts)
    return f"<tr>{cells}</tr>"


def _foot(judged: Sequence[Verdict]) -> str:
    """On which seeds: those of the methods that could be judged."""
    samples = dict.fromkeys(sample_text(v).split(";")[0] for v in judged)
    text = f"By {' or '.join(samples)}."
    return escape(f"{text} {FLATTERED}." if any(v.n_taught for v in judged) else text)


def _times(verdict: Verdict, unit: str = "") -> str:
    """How often, with the 95 % interval."""
    assert verdict.auc is not None and verdict.interval is not None
    low, high = verdict.interval
    return f"{100 * verdict.auc:.0f}{unit} ({100 * low:.0f}-{100 * high:.0f})"


def verdict_tip(found: Sequence[Verdict]) -> str:
    """The same for statisticians.

    >>> verdict_tip([Verdict("fcdd", 8, 4, False, 0, 0.93, (0.812, 1.0), 0.9)])
    'By your labels, with the 95 % interval. Pasted defects: AUC 0.93 (0.81-1.00), average precision 0.90.'
    """
    text = "By your labels, with the 95 % interval."
    for v in found:
        if v.auc is not None and v.interval is not None:
            low, high = v.interval
            text += f" {WORDS[v.method][0]}: AUC {v.auc:.2f} ({low:.2f}-{high:.2f})"
            text += f", average precision {v.average_precision:.2f}."
    return text
