"""Groups of seeds that look alike: how many, how pure, labelled as a whole, and who does not fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab import files
from napari_seedlab.core import LabelState, NotReady
from napari_seedlab.imaging.groups import by_size, cut_tree, majorities, strangeness
from napari_seedlab.imaging.ids import lookup
from napari_seedlab.imaging.scaling import pool_scaler, scaled
from napari_seedlab.session.desk import Step, Task

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_seedlab.core import JobRequest, JobResult
    from napari_seedlab.session.results import Embedding, Layout
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

    Ids = npt.NDArray[np.int64]
    Scores = npt.NDArray[np.float32]

N_RANGE = (2, 50)  # groups that the user may choose
MOST_OTHERS = 4000  # seeds of other groups that the members of one are compared with
BLOCK = 4096


@dataclass(frozen=True)
class Tree:
    """How the groups of a map merge: `merges` (n - 1, 2) int32 and `heights` (n - 1,) float32 of `seeds`."""

    seeds: Ids
    merges: npt.NDArray[np.int32]
    heights: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Cluster:
    """What is known of one group.

    Attributes
    ----------
    number : int
        From 0, the largest first.
    n, n_labelled : int
        Members, and how many of them have a class.
    class_id : int
        The commonest class of the labelled members; where none is, of the predictions; 0 where unknown.
    n_of_class, n_known : int
        Members of that class, among how many.
    is_predicted : bool
        Whether these are predictions, because no member is labelled.
    """

    number: int
    n: int
    n_labelled: int
    class_id: int
    n_of_class: int
    n_known: int
    is_predicted: bool

    @property
    def purity(self) -> float | None:
        """Share of the commonest class; None where nothing is known."""
        return self.n_of_class / self.n_known if self.n_known else None


class Clusters:
    """The groups of each pool. They stand in the layout; here is what can be done with them.

    Parameters
    ----------
    session : Session

    Attributes
    ----------
    trees : dict of str to Tree
        By pool; pools of more than 4,000 seeds have none and are grouped by k-means.
    proposed, wished : dict of str to int
        Number of groups by pool: with the best silhouette; as the user chose.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.trees: dict[str, Tree] = {}
        self.proposed: dict[str, int] = {}
        self.wished: dict[str, int] = {}
        self._scaler: tuple[Embedding, tuple[npt.NDArray[np.float64], ...]] | None = None

    # -- what there is ------------------------------------------------------------------------
    def n_groups(self, pool: str) -> int:
        """How many groups there are now."""
        layout = self._session.layouts.get(pool)
        return 0 if layout is None or not len(layout.cluster) else int(layout.cluster.max()) + 1

    def members(self, number: int, pool: str) -> Ids:
        """Seeds of a group, ascending; those that are gone left out."""
        layout = self._layout(pool)
        here = layout.seeds[layout.cluster == number]
        return np.sort(here[np.isin(here, self._session.seeds_of(pool))])

    def summaries(self, pool: str) -> tuple[Cluster, ...]:
        """What is known of every group of a pool, by number; empty before there is a map."""
        session, layout = self._session, self._session.layouts.get(pool)
        if layout is None or not len(layout.seeds):
            return ()
        group, said = layout.cluster, self._labelled(layout.seeds)
        predictions = session.predictions_of(pool)
        guessed = np.zeros(len(said), np.int64)
        if predictions is not None and len(predictions.seeds):
            guessed = lookup(predictions.seeds, predictions.best, layout.seeds)
        sizes = np.bincount(group, minlength=int(group.max()) + 1)
        by_label, by_guess = majorities(group, said), majorities(group, guessed)
        out = []
        for number, n in enumerate(sizes.tolist()):
            n_labelled = int(by_label[number, 2])
            best, share, known = (by_label if n_labelled else by_guess)[number].tolist()
            out.append(Cluster(number, n, n_labelled, best, share, known, not n_labelled))
        return tuple(out)

    def _labelled(self, seeds: Ids) -> Ids:
        """Class that people gave to each seed, 0 where none."""
        labels = self._session.labels
        keys, said = np.fromiter(labels, np.int64, len(labels)), [x.class_id for x in labels.values()]
        return lookup(keys, np.asarray(said, np.int64), seeds)

    def _layout(self, pool: str) -> Layout:
        layout = self._session.layouts.get(pool)
        if layout is None:
            raise NotReady("clusters", "need the map of the seeds", "Press Draw the map")
        return layout

    # -- what is done -------------------------------------------------------------------------
    def label(self, number: int, class_id: int, pool: str | None = None) -> Ids:
        """Label every member without an answer, in one event; returns whom.

        Raises
        ------
        NotReady
            All members are answered, or there is no map.
        """
        session = self._session
        members = self.members(number, pool or session.pool)
        open_ = np.asarray([s for s in members.tolist() if session.label(s).state is LabelState.NONE], int)
        if not len(open_):
            raise NotReady(f"cluster {number + 1}", "has no seed without an answer", "Review it instead")
        session.answer(class_id, open_.tolist())
        return np.asarray(open_, np.int64)

    def cut(self, n_groups: int, pool: str | None = None) -> Task | None:
        """Make another number of groups: at once where there is a tree, else by a job, which is returned."""
        pool = pool or self._session.pool
        layout, tree = self._layout(pool), self.trees.get(pool)
        n_groups = int(np.clip(n_groups, 1, max(len(layout.seeds), 1)))
        self.wished = {**self.wished, pool: n_groups}
        if tree is None or not np.array_equal(tree.seeds, layout.seeds):
            return self._session.desk.start(_cut_step(self._session, pool, n_groups))
        self._regroup(pool, layout, by_size(cut_tree(tree.merges, n_groups)))
        return None

    def propose(self, pool: str | None = None) -> Task | None:
        """Go back to the proposed number of groups."""
        pool = pool or self._session.pool
        task = self.cut(self.proposed[pool], pool) if self.proposed.get(pool) else None
        self.wished = {p: n for p, n in self.wished.items() if p != pool}
        return task

    def keep(self, pool: str | None = None) -> None:
        """Write the present groups into the project; called when the user let the slider go."""
        session, name = self._session, pool or self._session.pool
        if not session.read_only and name in session.layouts:
            session.desk.do(lambda project: self._store(project, name))

    def _regroup(self, pool: str, layout: Layout, cluster: npt.NDArray[np.int32]) -> None:
        self._session.layouts[pool] = replace(layout, cluster=cluster)
        self._session.clusters_changed.emit()

    # -- who does not fit ---------------------------------------------------------------------
    def exceptions(self, number: int, pool: str | None = None) -> tuple[Ids, Scores]:
        """Members of a group, those that lie nearest another class or group first, and how near, -1 to 1.

        Others are the seeds of other groups but for those labelled with the class of this group. Takes up
        to seconds for groups of many thousand: call it beside the event loop.
        """
        pool = pool or self._session.pool
        layout, known = self._layout(pool), self._session.embeddings.get(pool)
        if known is None:
            raise NotReady("exceptions", "need the vectors of the seeds", "Press Draw the map")
        here = np.asarray([s in known.row for s in layout.seeds.tolist()], bool)
        seeds, group, said = layout.seeds[here], layout.cluster[here], self._labelled(layout.seeds[here])
        own = group == number
        mine = int(majorities(np.zeros(int(own.sum()), int), said[own])[0, 0]) if own.any() else 0
        members = np.flatnonzero(own)
        others = np.flatnonzero(~own & ((said == 0) | (said != mine)))
        if len(others) > MOST_OTHERS:
            others = np.sort(np.random.default_rng(0).choice(others, MOST_OTHERS, replace=False))
        rows = np.asarray([known.row[s] for s in seeds.tolist()])
        score = strangeness(self._scaled(known, rows[members]), self._scaled(known, rows[others]))
        order = np.lexsort((seeds[members], -score))
        return seeds[members][order], score[order]

    def likeness(self, seed: int) -> tuple[Ids, Scores]:
        """All seeds of a pool and their distances from one of them; call it beside the event loop.

        A distance is the root mean square difference of the standardised vectors.

        Raises
        ------
        NotReady
            The seed has no vector yet.
        """
        session = self._session
        pools = session.pools_of((seed,)) & session.embeddings.keys()
        pool = session.pool if session.pool in pools else min(pools, default="")
        known = session.embeddings.get(pool)
        if known is None or seed not in known.row:
            raise NotReady(f"seed {seed}", "has no vector yet", "Wait for the map")
        own = self._scaled(known, slice(known.row[seed], known.row[seed] + 1))
        blocks = [slice(i, i + BLOCK) for i in range(0, len(known.vectors), BLOCK)]
        far = [np.sqrt(np.square(self._scaled(known, block) - own).mean(1)) for block in blocks]
        return known.seeds, np.concatenate(far)

    def _scaled(self, known: Embedding, rows: slice | Ids) -> npt.NDArray[np.float32]:
        """Some rows standardised; centre and scale are kept, but no second copy of all vectors."""
        if self._scaler is None or self._scaler[0] is not known:
            self._scaler = known, pool_scaler(known.vectors, known.widths)
        center, scale = self._scaler[1]
        return scaled(known.vectors[rows], center, scale).astype(np.float32)

    # -- taking over (desk's thread) ----------------------------------------------------------
    def take(self, project: Project, pool: str, out: Mapping[str, Any], proposed: int) -> None:
        """Keep the tree that came with a map; then the groups that the user had chosen are cut again."""
        self.trees = {p: t for p, t in self.trees.items() if p != pool}
        if len(out.get("merges", ())):
            self.trees = {**self.trees, pool: Tree(out["seed"], out["merges"], out["heights"])}
        if proposed:
            self.proposed = {**self.proposed, pool: proposed}
        wish, tree, layout = self.wished.get(pool), self.trees.get(pool), self._layout(pool)
        if wish and tree is not None and wish <= len(tree.seeds):
            cut = by_size(cut_tree(tree.merges, wish))
            self._session.layouts[pool] = replace(layout, cluster=cut)
        self._store(project, pool)

    def load(self, project: Project, pool: str) -> None:
        """Read what a project keeps."""
        stored, layout = project.get_arrays(f"groups-{pool}"), self._session.layouts.get(pool)
        if stored is None or layout is None or not np.array_equal(stored["seed"], layout.seeds):
            return
        self._session.layouts[pool] = replace(layout, cluster=stored["cluster"])
        if len(stored["merges"]):
            self.trees = {**self.trees, pool: Tree(stored["seed"], stored["merges"], stored["heights"])}
        for table, name in ((self.proposed, "proposed"), (self.wished, "wished")):
            if int(stored[name]):
                table[pool] = int(stored[name])

    def _store(self, project: Project, pool: str) -> None:
        layout, tree = self._layout(pool), self.trees.get(pool)
        project.put_arrays(
            f"groups-{pool}",
            seed=layout.seeds,
            cluster=layout.cluster,
            merges=np.zeros((0, 2), np.int32) if tree is None else tree.merges,
            heights=np.zeros(0, np.float32) if tree is None else tree.heights,
            proposed=np.asarray(self.proposed.get(pool, 0)),
            wished=np.asarray(self.wished.get(pool, 0)),
        )


def _cut_step(session: Session, pool: str, n_groups: int) -> Step:
    """Group the seeds of a pool that has no tree."""

    def prepare(project: Project, folder: Path) -> dict[str, Any]:
        known = session.embeddings.get(pool)
        if known is None:
            raise NotReady("clusters", "need the vectors of the seeds", "Press Draw the map")
        files.save_arrays(folder / "embedding.npz", **known.columns())
        return {"n_clusters": n_groups}

    def adopt(project: Project, folder: Path, request: JobRequest, result: JobResult) -> dict[str, Any]:
        layout = session.clusters._layout(pool)
        if session.desk.is_newest(f"groups {pool}", request):
            out = files.load_arrays(folder / "clusters.npz")
            row = {s: i for i, s in enumerate(out["seed"].tolist())}
            if all(s in row for s in layout.seeds.tolist()):
                at = [row[s] for s in layout.seeds.tolist()]
                session.clusters._regroup(pool, layout, by_size(out["cluster"][at]))
                session.clusters._store(project, pool)
        return {"n_clusters": session.clusters.n_groups(pool)}

    return Step("groups", "napari_seedlab.learn.clusters:run", prepare, adopt, latest_only=True, about=pool)
