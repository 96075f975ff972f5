"""The curves of the Figures page: growth with its forecast, what a least certainty keeps, calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSlider, QWidget

from napari_seedlab.ui.plot import Line, LinePlot
from napari_seedlab.ui.section import Section, dim, wrapped
from napari_seedlab.ui.wide_button import wide_button

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_seedlab.session.figures import Report
    from napari_seedlab.ui.theme import Theme

LIGHTS = {"green": "good", "amber": "warning", "red": "error"}
STEPS = 100  # of the slider
HARD_ONES = "by all answers, which are the hard ones"


def numbers(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Numbers (n,) of JSON, NaN for None."""
    return np.asarray([np.nan if v is None else v for v in values], np.float64)


class GrowthSection(Section):
    """Whether to go on: the stop light, the forecast and the learning curve."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__("Go on?", theme, parent)
        self.light = wrapped(self)
        self.light.setToolTip(
            "<p>How much the models of successive batches agree, 1 at most (Cohen's kappa, mean of three); "
            "what one more batch would gain; of how many seeds the model is unsure.</p>"
        )
        self.forecast = wrapped(self)
        self.plot = LinePlot(
            "answers", "right (%)", "The curve appears after the first batches.", theme, self
        )
        for widget in (self.light, self.forecast, self.plot):
            self.content.addWidget(widget)

    def show_growth(self, values: Mapping[str, Any]) -> None:
        """Show what the newest figures say."""
        stop, curve = values["stop"], values["curve"]
        color = getattr(self._theme, LIGHTS[stop["colour"]])
        self.light.setText(f'<span style="color:{color}; font-size:large">⬤</span> {stop["text"]}')
        provisional = f" ({HARD_ONES})" if curve["is_provisional"] and curve["can_say"] else ""
        self.forecast.setText(dim(f"Forecast: {curve['text']}{provisional}.", self._theme))
        self.forecast.setVisible(bool(curve["text"]))
        n, level, fitted = (
            numbers(curve["n"]),
            100 * numbers(curve["accuracy"]),
            100 * numbers(curve["fitted"]),
        )
        lines = [Line("measured", self._theme.accent, n, level, np.full(len(n), 2.5))]
        if np.isfinite(fitted).any():
            lines.append(Line("fitted", self._theme.dim, n, fitted))
        lowest = float(np.nanmin(level)) if np.isfinite(level).any() else 0.0
        self.plot.y_range = (max(0.0, 10 * np.floor((lowest - 15) / 10)), 102.0)
        self.plot.show_lines(lines if len(n) else ())
        self.fill()


class RejectSection(Section):
    """The threshold p0: how many predictions it keeps and how many of these are right."""

    def __init__(
        self, choose: Callable[..., None], label: Callable[..., None], theme: Theme, parent: QWidget
    ) -> None:
        super().__init__("Least certainty", theme, parent)
        self._curve: Mapping[str, Any] = {}
        self._is_counted = False  # every seed has an answer
        self.told = wrapped(self)
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setRange(0, STEPS)
        self.slider.setToolTip(
            "A prediction that is less certain than this (p0) is not used but left to a person"
        )
        self.slider.valueChanged.connect(self._move)
        self.slider.sliderReleased.connect(choose)
        self.slider.actionTriggered.connect(choose)
        self.value = QLabel("0 %", self)
        row = QHBoxLayout()
        row.addWidget(self.value)
        row.addWidget(self.slider, 1)
        self.plot = LinePlot("least certainty (%)", "%", "", theme, self, y_range=(0, 105))
        tip = "Ask about the predictions that are not used, the least sure first"
        self.unsure = wide_button("Label the unsure ones", tip, label, self)
        self.content.addLayout(row)
        self.content.addWidget(self.told)
        self.content.addWidget(self.plot)
        self.content.addWidget(self.unsure)

    @property
    def p0(self) -> float:
        """Where the slider stands."""
        return float(self.slider.value()) / STEPS

    def show_curve(self, report: Report, p0: float) -> None:
        """Show the curve of the newest figures, with the threshold in use."""
        self._curve, self._is_counted = report.values["reject"], bool(report.values.get("is_counted"))
        self.fill("provisional" if self._curve["is_provisional"] else "")
        self.slider.blockSignals(True)
        self.slider.setValue(round(p0 * STEPS))
        self.slider.blockSignals(False)
        self._move()

    def _move(self) -> None:
        """Say what the threshold under the slider keeps; from the curve, so that it follows the hand."""
        if not self._curve:
            return
        self.value.setText(f"{100 * self.p0:.0f} %")
        self.told.setText(kept_text(self._curve, self.p0, self._is_counted))
        x = 100 * numbers(self._curve["p0"])
        lines = (
            Line("kept", self._theme.warning, x, 100 * numbers(self._curve["coverage"])),
            Line("right", self._theme.accent, x, 100 * numbers(self._curve["accuracy"])),
        )
        self.plot.show_lines(lines, mark=100 * self.p0)


def kept_text(curve: Mapping[str, Any], p0: float, is_counted: bool = False) -> str:
    """What a threshold keeps: ``Decides 78 % of the seeds; of these 98 % are right, surely 94 %.``.

    Where every seed was answered and counted, no more answers can be waited for.
    """
    i = min(int(np.searchsorted(curve["p0"], p0 + 1e-9, side="right")) - 1, len(curve["p0"]) - 1)
    kept, right, low = (curve[name][i] for name in ("coverage", "accuracy", "low"))
    text = f"Decides {100 * kept:.0f} % of the seeds"
    if right is None:
        return f"{text}; no answer tells how many of them are right."
    text += f"; of these {100 * right:.0f} % are right, surely {100 * low:.0f} %."
    target = curve["target"]
    if abs(p0 - curve["chosen"]) < 1e-6 and not curve["is_proven"] and not is_counted:
        text += f" Too few answers yet to be sure of {100 * target:.0f} %."
    return text


def calibration_text(before: float, after: float) -> str:
    """How far certainty and success lie apart, in points; scaling is mentioned only where it helped.

    >>> calibration_text(10.8, 12.3)
    'Its certainty is off by 12 points on average.'
    >>> calibration_text(20.0, 3.0)
    'Its certainty is off by 3 points on average (20 before it was scaled).'
    """
    helped = f" ({before:.0f} before it was scaled)" if round(after) < round(before) else ""
    return f"Its certainty is off by {after:.0f} point{'' if round(after) == 1 else 's'} on average{helped}."


class CalibrationSection(Section):
    """How often the model is right when it says that it is so sure."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__("As sure as right?", theme, parent)
        self.told = wrapped(self)
        self.plot = LinePlot(
            "said (%)", "right (%)", "No answers to compare with yet.", theme, self, y_range=(0, 105)
        )
        self.plot.setToolTip(
            "<p>On the line: of what is said to be 80 % sure, 80 % is right. Below it: too sure. "
            "Larger dots: more answers.</p>"
        )
        self.content.addWidget(self.told)
        self.content.addWidget(self.plot)

    def show_calibration(self, values: Mapping[str, Any]) -> None:
        """Show the calibration of the newest figures."""
        found = values["calibration"]
        bins = found["bins"]
        before, after = 100 * found["ece_before"], 100 * found["ece"]
        text = calibration_text(before, after)
        self.told.setText(dim(f"{text} {found['text'].capitalize()}".strip(), self._theme))
        ideal = np.asarray([0.0, 100.0])
        said, right = (100 * numbers([b[k] for b in bins]) for k in ("confidence", "accuracy"))
        radii = np.clip(1.2 * np.sqrt([float(b["n"]) for b in bins]), 1.5, 7.0)
        dots = Line("", self._theme.accent, said, right, radii)
        lines = (Line("", self._theme.dim, ideal, ideal), dots)
        self.plot.show_lines(lines if len(bins) else ())
        self.fill("" if not found["text"] else "provisional")
