"""The physical grain, and where it lies in a scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Seed:
    """One grain; its id is never reused.

    `alias_of` names the surviving seed after a merge; `archived` marks a seed that no region
    shows any more (its labels stay).
    """

    id: int
    lot: str = ""
    archived: bool = False
    alias_of: int | None = None


@dataclass(frozen=True)
class RegionTable:
    """The regions of one scan as columns, one row per region, ordered by region id.

    Attributes
    ----------
    scan : int
        Scan id.
    region : (n,) int32
        Region ids = values of the region raster.
    seed : (n,) int64
        Seed id of each region.
    box : (n, 6) int32
        Half-open boxes z0, y0, x0, z1, y1, x1 in voxels.
    centroid : (n, 3) float64
        Mean voxel position z, y, x.
    n_voxels : (n,) int64
    """

    scan: int
    region: npt.NDArray[np.int32]
    seed: npt.NDArray[np.int64]
    box: npt.NDArray[np.int32]
    centroid: npt.NDArray[np.float64]
    n_voxels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.region)

    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """The columns by name, ready for an archive."""
        return {
            "scan": np.asarray([self.scan], np.int64),
            "region": self.region,
            "seed": self.seed,
            "box": self.box,
            "centroid": self.centroid,
            "n_voxels": self.n_voxels,
        }

    @classmethod
    def from_columns(cls, columns: dict[str, npt.NDArray[np.generic]]) -> RegionTable:
        """The table of :meth:`columns`."""
        n = len(columns["region"])
        return cls(
            scan=int(np.asarray(columns["scan"])[0]),
            region=np.asarray(columns["region"], np.int32),
            seed=np.asarray(columns["seed"], np.int64),
            box=np.asarray(columns["box"], np.int32).reshape(n, 6),
            centroid=np.asarray(columns["centroid"], np.float64).reshape(n, 3),
            n_voxels=np.asarray(columns["n_voxels"], np.int64),
        )

    def row_of_seed(self, seed: int) -> int | None:
        """Row that shows `seed`, or None."""
        rows = np.flatnonzero(self.seed == seed)
        return int(rows[0]) if rows.size else None
