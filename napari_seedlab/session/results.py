"""What the models say, as columns keyed by seed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_seedlab.files import ArraySource


class _BySeed:
    """Lookup of rows by seed id, shared by the result tables."""

    seeds: npt.NDArray[np.int64]

    @cached_property
    def row(self) -> Mapping[int, int]:
        """Row of each seed."""
        return {int(s): i for i, s in enumerate(self.seeds)}


@dataclass(frozen=True)
class Embedding(_BySeed):
    """Vectors of seeds: those of one or several encoders side by side.

    Attributes
    ----------
    seeds : (n,) int64
    vectors : (n, d) float32
        As the encoders gave them, a block of columns for each.
    key : (n,) int64
        Tells whether a region changed since (see :func:`region_keys`).
    content : (n,) int64
        Hash of the voxels that were encoded; 0 where unknown.
    encoders : tuple of str
        Names, in the order of the blocks.
    widths : tuple of int
        Columns of each block; empty where there is but one.
    versions : tuple of str
        Key of each encoder; empty where unknown.
    """

    seeds: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float32]
    key: npt.NDArray[np.int64]
    content: npt.NDArray[np.int64] | None = None
    encoders: tuple[str, ...] = ()
    widths: tuple[int, ...] = ()
    versions: tuple[str, ...] = ()

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """What a job gets as ``embedding.npz``: seed, vector and, where there are several blocks, widths."""
        columns: dict[str, npt.NDArray[Any]] = {"seed": self.seeds, "vector": self.vectors}
        if len(self.widths) > 1:
            columns["widths"] = np.asarray(self.widths, np.int64)
        return columns

    def block(self, encoder: str) -> Embedding | None:
        """The part of one encoder; None where it has none."""
        if encoder not in self.encoders:
            return None
        if len(self.encoders) == 1:
            return self
        i = self.encoders.index(encoder)
        start = sum(self.widths[:i])
        return Embedding(
            self.seeds,
            self.vectors[:, start : start + self.widths[i]],
            self.key,
            self.content,
            (encoder,),
            (self.widths[i],),
            self.versions[i : i + 1],
        )

    def with_row(self, seed: int, vector: npt.NDArray[np.float32], key: int, content: int = 0) -> Embedding:
        """With one more seed, in its place by id."""
        at = int(np.searchsorted(self.seeds, seed))
        hashes = None if self.content is None else np.insert(self.content, at, content)
        return replace(
            self,
            seeds=np.insert(self.seeds, at, seed),
            vectors=np.insert(self.vectors, at, vector, axis=0),
            key=np.insert(self.key, at, key),
            content=hashes,
        )


def mixed(blocks: Sequence[Embedding]) -> Embedding | None:
    """Embeddings of single encoders side by side, for the seeds that all of them have; None without any."""
    if not blocks:
        return None
    first = blocks[0]
    seeds = first.seeds
    for block in blocks[1:]:
        seeds = np.intersect1d(seeds, block.seeds)
    if len(blocks) == 1:
        return first
    rows = [np.searchsorted(block.seeds, seeds) for block in blocks]
    return Embedding(
        seeds,
        np.hstack([block.vectors[i] for block, i in zip(blocks, rows, strict=True)]),
        first.key[rows[0]],
        None if first.content is None else first.content[rows[0]],
        tuple(block.encoders[0] for block in blocks),
        tuple(int(block.vectors.shape[1]) for block in blocks),
        tuple(block.versions[0] for block in blocks),
    )


@dataclass(frozen=True)
class Layout(_BySeed):
    """The map: positions (n, 2) float32 and cluster numbers (n,) int32; `method` is pca, umap or tsne."""

    seeds: npt.NDArray[np.int64]
    xy: npt.NDArray[np.float32]
    cluster: npt.NDArray[np.int32]
    method: str


@dataclass(frozen=True)
class Predictions(_BySeed):
    """Class probabilities (n, C) float32 in the order of `class_ids`, and the model they come from."""

    seeds: npt.NDArray[np.int64]
    p: npt.NDArray[np.float32]
    class_ids: tuple[int, ...]
    model_id: str

    @cached_property
    def best(self) -> npt.NDArray[np.int32]:
        """Most probable class id per row."""
        best: npt.NDArray[np.int32] = np.asarray(self.class_ids, np.int32)[self.p.argmax(1)]
        return best

    def filled_from(self, other: Predictions | None) -> Predictions:
        """With the rows of `other` for the seeds that are missing here."""
        if other is None or other.class_ids != self.class_ids:
            return self
        new = ~np.isin(other.seeds, self.seeds)
        if not new.any():
            return self
        seeds, p = np.concatenate([self.seeds, other.seeds[new]]), np.concatenate([self.p, other.p[new]])
        return Predictions(seeds, p, self.class_ids, self.model_id)

    def of(self, seed: int) -> dict[int, float]:
        """Probability per class id of one seed; empty when it was not predicted."""
        i = self.row.get(seed)
        return {} if i is None else dict(zip(self.class_ids, map(float, self.p[i]), strict=True))


@dataclass(frozen=True)
class AnomalyScores(_BySeed):
    """Anomaly score per seed (larger = odder), the heat range shared by all seeds, heatmaps by scan."""

    seeds: npt.NDArray[np.int64]
    score: npt.NDArray[np.float32]
    scale: tuple[float, float]
    model_id: str
    heat: Mapping[int, ArraySource] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """What the scores come from, one of :data:`~napari_seedlab.session.anomaly.METHODS`."""
        return self.model_id.rpartition("-")[0]

    def of(self, seed: int) -> float | None:
        """Score of one seed."""
        i = self.row.get(seed)
        return None if i is None else float(self.score[i])

    @cached_property
    def rank(self) -> npt.NDArray[np.float32]:
        """Share of seeds that are at most as odd, per row, in (0, 1]."""
        order = self.score.argsort().argsort()
        return np.asarray((order + 1) / max(1, len(order)), np.float32)


@dataclass(frozen=True)
class Disagreement(_BySeed):
    """How far several methods are apart about each seed.

    Attributes
    ----------
    seeds : (n,) int64
        Seeds that at least two methods scored.
    methods : tuple of str
        The m methods.
    ranks : (n, m) float32
        Share of a method's seeds that are at most as odd; NaN where it did not score the seed.
    """

    seeds: npt.NDArray[np.int64]
    methods: tuple[str, ...]
    ranks: npt.NDArray[np.float32]

    @cached_property
    def spread(self) -> npt.NDArray[np.float32]:
        """Highest rank minus lowest, per row, in [0, 1)."""
        return np.asarray(np.nanmax(self.ranks, 1) - np.nanmin(self.ranks, 1), np.float32)


def disagreement_of(opinions: Sequence[AnomalyScores]) -> Disagreement | None:
    """How far methods are apart; None where fewer than two scored the same seed."""
    scored = [found for found in opinions if len(found.seeds)]
    if len(scored) < 2:
        return None
    seeds = np.unique(np.concatenate([found.seeds for found in scored]))
    ranks = np.full((len(seeds), len(scored)), np.nan, np.float32)
    for column, found in enumerate(scored):
        ranks[np.searchsorted(seeds, found.seeds), column] = found.rank
    both = np.isfinite(ranks).sum(1) >= 2
    methods = tuple(found.method for found in scored)
    return Disagreement(seeds[both], methods, ranks[both]) if both.any() else None


def region_keys(
    scan: int, box: npt.NDArray[np.int32], centroid: npt.NDArray[np.float64], n_voxels: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """A number per region that changes when its place, size or shape does (n,) int64."""
    mixed = np.zeros(len(n_voxels), np.uint64)
    centre = np.round(centroid * 1024).astype(np.int64)
    columns = [np.full(len(n_voxels), scan, np.int64), n_voxels, *centre.T, *box.T.astype(np.int64)]
    for column in columns:  # FNV-1a over whole words
        mixed = (mixed ^ column.astype(np.uint64)) * np.uint64(0x100000001B3)
    return mixed.view(np.int64)
