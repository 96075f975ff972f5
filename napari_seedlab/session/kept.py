"""What was known of seeds that a repair took away: an undo shows it again at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_seedlab.session.results import Predictions, region_keys

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_seedlab.core import RegionTable
    from napari_seedlab.session.session import Session

MOST = 1000  # seeds of one edit; more are a new split, which nobody takes back seed by seed


class Kept:
    """Vectors and predictions of seeds whose regions went away, by seed and region key.

    Parameters
    ----------
    session : Session
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._vectors: dict[tuple[int, int], npt.NDArray[np.float32]] = {}
        self._said: dict[tuple[str, int, int], Predictions] = {}  # by "head" or "net", seed, key

    def regions_changed(self, pool: str, before: RegionTable, after: RegionTable) -> None:
        """Keep what is known of regions that went, and put back what was known of those that came."""
        old, new = (region_keys(t.scan, t.box, t.centroid, t.n_voxels) for t in (before, after))
        gone, come = ~np.isin(old, new), ~np.isin(new, old)
        if 0 < gone.sum() <= MOST:
            self._keep(pool, before.seed[gone], old[gone])
        if 0 < come.sum() <= MOST:
            self._put_back(pool, after.seed[come], new[come])

    def _keep(self, pool: str, seeds: npt.NDArray[np.int64], keys: npt.NDArray[np.int64]) -> None:
        known = self._session.embeddings.get(pool)
        for seed, key in zip(seeds.tolist(), keys.tolist(), strict=True):
            row = None if known is None else known.row.get(seed)
            if known is not None and row is not None and known.key[row] == key:
                self._vectors[seed, key] = known.vectors[row]
                for kind, table in self._tables():
                    said = table.get(pool)
                    if said is not None and seed in said.row:
                        rows = [said.row[seed]]
                        self._said[kind, seed, key] = replace(said, seeds=said.seeds[rows], p=said.p[rows])

    def _put_back(self, pool: str, seeds: npt.NDArray[np.int64], keys: npt.NDArray[np.int64]) -> None:
        session = self._session
        for seed, key in zip(seeds.tolist(), keys.tolist(), strict=True):
            known, vector = session.embeddings.get(pool), self._vectors.pop((seed, key), None)
            if known is None or vector is None or known.vectors.shape[1:] != vector.shape:
                pass  # other encoders were chosen meanwhile
            elif seed not in known.row:
                session.embeddings = {**session.embeddings, pool: known.with_row(seed, vector, key)}
            for kind, table in self._tables():
                said = self._said.pop((kind, seed, key), None)
                if said is not None and pool in table:
                    table[pool] = table[pool].filled_from(said)

    def _tables(self) -> tuple[tuple[str, dict[str, Predictions]], ...]:
        return ("head", self._session.heads), ("net", self._session.nets)
