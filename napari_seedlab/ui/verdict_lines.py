"""What the labels say about the scores of each method, in a line or a small table."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from napari_seedlab.session.verdicts import LEAST, Verdict, sample_text
from napari_seedlab.ui.method_words import WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

TOO_FEW = f"Too few labels to judge: needs {LEAST} normal and {LEAST} odd."
FLATTERED = "* some of these labels taught it, which flatters it"


def verdict_text(found: Sequence[Verdict]) -> str:
    """Rich text for all methods that were scored, the shown one first; empty without any.

    >>> verdict_text([Verdict("fcdd", 8, 4, False, 0, 0.93, (0.812, 1.0), 0.9)])
    'AUC 0.93 (0.81-1.00), average precision 0.90 on 12 labelled seeds, chosen not at random.'
    """
    if not found:
        return ""
    judged = [v for v in found if v.auc is not None]
    if not judged:
        return TOO_FEW
    if len(found) == 1:
        area, precision = _figures(judged[0])
        return escape(f"AUC {area}, average precision {precision} on {sample_text(judged[0])}.")
    rows = "".join(_row(v) for v in found)
    table = f'<table cellspacing="0" width="100%">{_cells("", "AUC", "AP")}{rows}</table>'
    return f"{table}{_foot(judged)}"


def _row(verdict: Verdict) -> str:
    name = WORDS[verdict.method][0] + ("*" if verdict.n_taught else "")
    area, precision = ("too few labels", "") if verdict.auc is None else _figures(verdict)
    return _cells(name, area, precision)


def _cells(*texts: str) -> str:
    cells = "".join(f'<td style="white-space:nowrap">{escape(text)}</td>' for text in texts)
    return f"<tr>{cells}</tr>"


def _foot(judged: Sequence[Verdict]) -> str:
    """On which seeds: those of the methods that could be judged."""
    samples = dict.fromkeys(sample_text(v).split(";")[0] for v in judged)
    text = f"on {' or '.join(samples)}."
    return escape(f"{text} {FLATTERED}." if any(v.n_taught for v in judged) else text)


def _figures(verdict: Verdict) -> tuple[str, str]:
    assert verdict.interval is not None
    low, high = verdict.interval
    return f"{verdict.auc:.2f} ({low:.2f}-{high:.2f})", f"{verdict.average_precision:.2f}"
