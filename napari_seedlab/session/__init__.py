"""The controller: what every button, key and command calls."""

from napari_seedlab.session.desk import Task
from napari_seedlab.session.results import AnomalyScores, Embedding, Layout, Predictions
from napari_seedlab.session.session import Session

__all__ = ["AnomalyScores", "Embedding", "Layout", "Predictions", "Session", "Task"]
