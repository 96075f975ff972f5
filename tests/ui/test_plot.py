"""Axes of the small plots."""

import numpy as np

from napari_seedlab.ui.plot import Line, LinePlot, ticks


def test_a_single_point_has_an_axis_that_can_be_read(qtbot):
    for y_range in (None, (0.0, 100.0)):
        plot = LinePlot("answers", "right (%)", "", y_range=y_range)
        qtbot.addWidget(plot)
        plot.show_lines([Line("", "#ffffff", np.asarray([10.0]), np.asarray([62.0]))])
        x0, x1, _, _ = plot._limits()
        named = [f"{value:.5g}" for value in ticks(x0, x1)]
        assert x0 < 10 < x1 and len(named) >= 3 and len(set(named)) == len(named)
        plot.grab()
