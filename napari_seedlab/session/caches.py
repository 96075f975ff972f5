"""Results of models that a project keeps: read again when it opens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_seedlab.session.anomaly import METHODS_OF
from napari_seedlab.session.results import Layout, Predictions

if TYPE_CHECKING:
    from napari_seedlab.session.state import SessionState
    from napari_seedlab.store import Project


def load_pool(session: SessionState, project: Project, pool: str) -> None:
    """Read vectors, map, predictions and scores of a pool, those that are there."""
    session.encoders.load(project, pool)
    if (a := project.get_arrays(f"layout-{pool}")) is not None:
        session.layouts[pool] = Layout(a["seed"], a["xy"], a["cluster"], str(a["method"]))
    if (a := project.get_arrays(f"head-{pool}")) is not None:
        known = a["class_ids"].tolist() if "class_ids" in a else session.scheme.ids[: a["p"].shape[1]]
        if known and set(known) <= set(session.scheme.ids):
            session.heads[pool] = Predictions(a["seed"], a["p"], tuple(known), str(a["model"]))
    session.clusters.load(project, pool)
    session.figures.load(project, pool)
    session.thumbnails.load(project, pool)
    session.opinions.load(project, pool, METHODS_OF[pool])
    load_net(session, project, pool)
    session.net_checks.load(project, pool)


def load_net(session: SessionState, project: Project, pool: str) -> None:
    """Read the predictions of the active network of a pool, where there is one."""
    session.nets.pop(pool, None)
    for card in session.models:
        if card.active and card.kind == "net" and card.config.get("pool") == pool:
            a = project.get_arrays(f"probabilities-{card.id}")
            if a is not None and set(card.class_ids) <= set(session.scheme.ids):
                session.nets[pool] = Predictions(a["seed"], a["p"], card.class_ids, card.id)
