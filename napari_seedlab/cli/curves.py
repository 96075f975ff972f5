"""A picture of the curves of a replay, drawn without a window."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from PIL.ImageDraw import ImageDraw

SIZE = 1200, 760
BOX = 90, 60, 880, 680  # left, top, right, bottom of the plot
PAPER, INK, QUIET, GRID = "#ffffff", "#1c2330", "#5d6676", "#e3e6ec"
COLORS = (
    "#1b6ac9", "#d9480f", "#2b8a3e", "#9c36b5", "#0b7285", "#e67700", "#c2255c", "#5c940d", "#364fc7",
    "#862e9c", "#087f5b", "#a61e4d", "#495057",
)  # fmt: skip
RANDOM = "#8a93a3"
N_TICKS = 6
FINE = 2  # drawn this much larger, then made smaller, so that lines are smooth


def draw_curves(values: Mapping[str, Any], path: Path) -> None:
    """Write a PNG: one curve for each strategy, named beside its end; random asking is dashed.

    Parameters
    ----------
    values : mapping
        Of :meth:`napari_seedlab.learn.simulate.Curves.values`, with `encoder`.
    path : Path
        File to write.
    """
    from io import BytesIO

    from PIL import Image, ImageDraw

    from napari_seedlab.files import atomic_write

    picture = Image.new("RGB", (FINE * SIZE[0], FINE * SIZE[1]), PAPER)
    _Plot(ImageDraw.Draw(picture), values).draw()
    buffer = BytesIO()
    picture.resize(SIZE, Image.Resampling.LANCZOS).save(buffer, "PNG")
    atomic_write(path, buffer.getvalue())


class _Plot:
    def __init__(self, pen: ImageDraw, values: Mapping[str, Any]) -> None:
        self._pen, self._values = pen, values
        self._measure = str(values["judged_by"])
        self._x = np.asarray(values["budget"], float)
        self._curves = {name: np.asarray(y, float) for name, y in values[self._measure].items()}
        every = np.concatenate(list(self._curves.values()))
        low, high = float(every.min()), float(every.max())
        room = max(0.05 * (high - low), 0.005)
        self._limits = max(0.0, low - room), min(1.0, high + room)

    def draw(self) -> None:
        self._axes()
        names = sorted(self._curves, key=lambda name: -self._curves[name][-1])
        others = [name for name in self._curves if name != "random"]
        color = {name: COLORS[i % len(COLORS)] for i, name in enumerate(others)} | {"random": RANDOM}
        for name in reversed(names):
            self._curve(self._curves[name], color[name], name == "default", name == "random")
        heights = _spread([self._at(0, self._curves[name][-1])[1] for name in names], 24)
        for name, y in zip(names, heights, strict=True):
            needed = self._values["labels_to_random"][name]
            told = "" if name == "random" else f"  {needed if needed is not None else 'never'}"
            end = self._at(self._x[-1], self._curves[name][-1])
            self._pen.line([*_fine(end), *_fine((BOX[2] + 26, y))], fill=color[name], width=FINE)
            self._text((BOX[2] + 30, y), f"{name}{told}", color[name], 17, "lm")

    def _axes(self) -> None:
        v = self._values
        title = f"{v['n_repeats']} replays on {v['n_seeds']:,} seeds, judged by {v['n_judges']:,} never asked"
        self._text((BOX[0], 26), f"{title}; vectors: {v['encoder']}", INK, 20, "lm")
        words = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy (mean recall)"}
        self._text((BOX[0], BOX[1] - 14), words[self._measure], QUIET, 16, "lm")
        self._text((BOX[2] + 30, BOX[1] - 14), "answers to random's end", QUIET, 16, "lm")
        for value in _ticks(*self._limits):
            y = self._at(0, value)[1]
            self._pen.line([*_fine((BOX[0], y)), *_fine((BOX[2], y))], fill=GRID, width=FINE)
            self._text((BOX[0] - 10, y), f"{100 * value:g} %", QUIET, 16, "rm")
        for value in _ticks(float(self._x[0]), float(self._x[-1])):
            x = self._at(value, 0)[0]
            self._pen.line([*_fine((x, BOX[3])), *_fine((x, BOX[3] + 6))], fill=QUIET, width=FINE)
            self._text((x, BOX[3] + 20), f"{value:g}", QUIET, 16, "mm")
        self._pen.line([*_fine((BOX[0], BOX[3])), *_fine((BOX[2], BOX[3]))], fill=QUIET, width=FINE)
        self._text(((BOX[0] + BOX[2]) / 2, BOX[3] + 48), "answers given", QUIET, 16, "mm")

    def _curve(self, y: Any, color: str, is_main: bool, is_dashed: bool) -> None:
        points = [_fine(self._at(a, b)) for a, b in zip(self._x, y, strict=True)]
        width = FINE * (4 if is_main else 2)
        if not is_dashed:
            self._pen.line(points, fill=color, width=width, joint="curve")
            return
        for (x0, y0), (x1, y1) in pairwise(points):
            n = max(1, round(float(np.hypot(x1 - x0, y1 - y0)) / (14 * FINE)))
            for k in range(n):
                a, b = k / n, (k + 0.6) / n
                ends = x0 + a * (x1 - x0), y0 + a * (y1 - y0), x0 + b * (x1 - x0), y0 + b * (y1 - y0)
                self._pen.line(ends, fill=color, width=FINE * 3)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        x0, x1 = float(self._x[0]), float(self._x[-1])
        low, high = self._limits
        across = (x - x0) / (x1 - x0) if x1 > x0 else 0.5
        return BOX[0] + across * (BOX[2] - BOX[0]), BOX[3] - (y - low) / (high - low) * (BOX[3] - BOX[1])

    def _text(self, at: tuple[float, float], text: str, color: str, size: int, anchor: str) -> None:
        from PIL import ImageFont

        self._pen.text(_fine(at), text, fill=color, font=ImageFont.load_default(FINE * size), anchor=anchor)


def _fine(at: tuple[float, float]) -> tuple[float, float]:
    return at[0] * FINE, at[1] * FINE


def _ticks(low: float, high: float) -> list[float]:
    """About ``N_TICKS`` round numbers from `low` to `high`."""
    if not high > low:
        return [low]
    rough = (high - low) / N_TICKS
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    first = np.ceil(low / step - 1e-9) * step
    return [round(float(v), 10) for v in np.arange(first, high + step * 1e-6, step)]


def _spread(heights: Sequence[float], gap: float) -> list[float]:
    """Heights in rising order, moved apart to `gap` with as little shift as possible, within the plot."""
    out: list[float] = []
    for height in heights:
        out.append(max(height, out[-1] + gap) if out else height)
    surplus = out[-1] - max(BOX[3], heights[-1]) if out else 0.0
    if surplus > 0:
        out[-1] -= surplus
        for i in range(len(out) - 2, -1, -1):
            out[i] = min(out[i], out[i + 1] - gap)
    return out
