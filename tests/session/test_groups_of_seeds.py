"""Groups on the map: cut anew, judged, labelled as a whole, and who does not fit."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from napari_seedlab.core import LabelState, NotReady
from napari_seedlab.learn import clusters as learn_clusters
from napari_seedlab.session.results import Layout, Predictions
from tests.session.conftest import settle, small_tray


@pytest.fixture
def mapped(split_session):
    split_session.make_map("pca").wait(60)
    return split_session


def kinds_of(session):
    """Whether each seed is hollow."""
    _, hollow = small_tray()
    table = session.regions(1)
    place = (table.centroid[:, 1] // 16 * 5 + table.centroid[:, 2] // 16).astype(int)
    return dict(zip(table.seed.tolist(), hollow[place].tolist(), strict=True))


def test_another_number_of_groups_is_cut_at_once_and_kept(mapped, make_session):
    told = []
    mapped.clusters_changed.connect(lambda: told.append(mapped.clusters.n_groups("ct")))
    proposed = mapped.clusters.n_groups("ct")
    assert proposed == mapped.clusters.proposed["ct"]
    assert mapped.clusters.cut(7) is None and told == [7]
    mapped.make_map("pca").wait(60)  # the choice survives a new map
    assert mapped.clusters.n_groups("ct") == 7
    groups = mapped.layout.cluster.copy()
    mapped.close()
    again = make_session(mapped.path)
    np.testing.assert_array_equal(again.layout.cluster, groups)
    again.clusters.propose()
    assert again.clusters.n_groups("ct") == proposed and "ct" not in again.clusters.wished


def test_many_seeds_are_grouped_by_a_job(mapped, monkeypatch):
    monkeypatch.setattr(learn_clusters, "MAX_WARD", 10)
    mapped.make_map("pca").wait(60)
    assert "ct" not in mapped.clusters.trees
    assert mapped.clusters.cut(5).wait(60) == {"n_clusters": 5}
    assert mapped.clusters.n_groups("ct") == 5


def test_a_group_is_labelled_at_once_and_taken_back_at_once(mapped):
    mapped.clusters.cut(2)
    biggest = mapped.clusters.members(0, "ct")
    mapped.answer("unsure", [int(biggest[0])])
    done = mapped.clusters.label(0, 1)
    assert set(done.tolist()) == set(biggest[1:].tolist())
    assert mapped.label(int(biggest[0])).state is LabelState.UNSURE  # what was answered stays
    summary = mapped.clusters.summaries("ct")[0]
    assert (summary.class_id, summary.purity, summary.is_predicted) == (1, 1.0, False)
    assert (summary.n, summary.n_labelled) == (len(biggest), len(biggest) - 1)
    with pytest.raises(NotReady, match="cluster 1"):
        mapped.clusters.label(0, 1)
    mapped.undo().wait(60)
    assert mapped.clusters.summaries("ct")[0].n_labelled == 0


def test_purity_falls_back_on_predictions(mapped):
    mapped.clusters.cut(2)
    assert mapped.clusters.summaries("ct")[0].purity is None
    for seed, kind in list(kinds_of(mapped).items())[:8]:
        mapped.answer(2 if kind else 1, [seed])
    mapped.refit().wait(60)
    judged = mapped.clusters.summaries("ct")
    assert all(c.purity is not None for c in judged)
    assert {c.class_id for c in judged} == {1, 2} and min(c.purity for c in judged) > 0.9


def test_who_does_not_fit_comes_first(mapped):
    """Members that were put into the wrong group by hand are the first exceptions."""
    kind_of = kinds_of(mapped)
    group = np.asarray([int(kind_of[s]) for s in mapped.layout.seeds.tolist()], np.int32)
    strays = np.flatnonzero(group == 1)[:2]
    group[strays] = 0
    mapped.layouts["ct"] = replace(mapped.layout, cluster=group)
    seeds, score = mapped.clusters.exceptions(0)
    assert set(seeds[:2].tolist()) == set(mapped.layout.seeds[strays].tolist())
    assert (np.diff(score) <= 0).all() and len(seeds) == (group == 0).sum()


def test_the_most_alike_is_the_seed_itself_then_its_kind(mapped):
    kind_of = kinds_of(mapped)
    seed = next(s for s, k in kind_of.items() if k)
    seeds, far = mapped.clusters.likeness(seed)
    nearest = seeds[np.argsort(far)][: sum(kind_of.values())].tolist()
    assert nearest[0] == seed and all(kind_of[s] for s in nearest)
    with pytest.raises(NotReady, match="999"):
        mapped.clusters.likeness(999)


def test_no_second_copy_of_the_vectors_is_kept(split_session):
    session = split_session
    known, clusters = session.embeddings["ct"], session.clusters
    session.layouts["ct"] = Layout(known.seeds, np.zeros((25, 2), np.float32), np.arange(25) % 2, "pca")
    clusters.likeness(known.seeds[0])
    clusters.exceptions(0)
    kept = [part for entry in vars(clusters).values() if isinstance(entry, tuple) for part in entry[1:]]
    assert sum(np.size(part) for part in kept) == 2 * known.vectors.shape[1]  # centre and scale


def test_predictions_of_many_are_accepted_in_one_event(mapped):
    kind_of = kinds_of(mapped)
    few = list(kind_of)[:8]
    for seed in few:
        mapped.answer(2 if kind_of[seed] else 1, [seed])
    mapped.refit().wait(60)
    others = [s for s in kind_of if s not in few]
    assert mapped.labelling.accept_all(others) == len(others)
    mapped.desk.do(lambda project: None).result(60)
    said = {s: mapped.label(s).class_id for s in others}
    assert set(said.values()) == {1, 2}
    assert said == {s: int(mapped.predictions.best[mapped.predictions.row[s]]) for s in others}
    mapped.undo().wait(60)
    assert all(mapped.label(s).state is LabelState.NONE for s in others)
    assert all(mapped.label(s).state is LabelState.LABELLED for s in few)


def test_nothing_is_accepted_without_a_prediction(mapped):
    with pytest.raises(NotReady, match="prediction"):
        mapped.labelling.accept_all(mapped.layout.seeds[:3].tolist())


def test_accepting_many_never_touches_what_a_person_said(split_session):
    """It gives no hidden class either, and no answer counts as drawn by chance: nobody looked."""
    session = split_session
    a, b, c, d, *_ = session.seeds_of("ct")
    session.draw(len(session.seeds), "check").wait(60)
    session.classes.hide(4).wait(60)
    p = np.asarray([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    session.heads["ct"] = Predictions(np.asarray([a, b, c, d]), p, (1, 2, 4), "m")
    session.answer(3, [a])
    assert session.labelling.accept_all([a, b, c, d]) == 2
    assert [session.label(s).class_id for s in (a, b, c, d)] == [3, 1, 2, 0]
    settle(session)
    assert [session.label_origin(s)[1] > 0 for s in (a, b, c)] == [True, False, False]
    with pytest.raises(NotReady, match="without an answer"):
        session.labelling.accept_all([a, b])
    session.heads["ct"] = Predictions(np.asarray([d]), p[3:], (1, 2, 4), "m")
    session.look_at(d)
    with pytest.raises(NotReady, match="prediction"):
        session.accept()


def test_only_a_seed_answered_by_itself_keeps_how_it_was_drawn(split_session):
    session = split_session
    session.draw(5, "check").wait(60)
    one, *many = [s.seed for s in session.queue]
    session.answer(1, [one])
    session.answer(2, many)
    settle(session)
    assert [session.label_origin(s)[2] != "" for s in (one, *many)] == [True] + [False] * 4


ASKED = """
import sys
from pathlib import Path
import napari_seedlab.ui.docks
from napari_seedlab.jobs import InlineRunner
from napari_seedlab.session import Session
session = Session.open(Path(sys.argv[1]), InlineRunner())
groups, seed = session.clusters, int(session.layout.seeds[0])
assert groups.cut(4) is None and len(groups.summaries("ct")) == 4
assert len(groups.exceptions(0)[0]) and len(groups.likeness(seed)[0]) == len(session.layout.seeds)
assert session.nearest_labelled(seed)
groups.keep()
session.close()
heavy = ("torch", "sklearn", "umap", "transformers", "napari_seedlab.learn")
sys.exit(" ".join(m for m in heavy if m in sys.modules) or None)
"""


def test_asking_about_clusters_and_look_alikes_loads_nothing_of_the_worker(mapped):
    for seed, kind in list(kinds_of(mapped).items())[:4]:
        mapped.answer(2 if kind else 1, [seed])
    settle(mapped)
    mapped.close()
    command = [sys.executable, "-c", ASKED, str(mapped.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
