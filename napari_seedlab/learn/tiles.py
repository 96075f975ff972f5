"""Scenes in square tiles that overlap by half: components kept once, tiles cut from them when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.core import Progress
from napari_seedlab.learn.blocks import all_blocks

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    import numpy.typing as npt

    from napari_seedlab.learn.blocks import Sliceable
    from napari_seedlab.learn.spectra import Components

    Half = npt.NDArray[np.float16]
    Mask = npt.NDArray[np.bool_]

LEAST_HEAT = np.float32(1e-6)  # of a pixel with a value
PARTS = 1000  # that progress is told in


class Tiles:
    """Tiles of several scenes as one array (n, k, edge, edge), of which each pixel is in memory once.

    Parameters
    ----------
    scenes : sequence of (k, y, x) float16
        Components of their pixels, 0 where `known` is not set.
    known : sequence of (y, x) bool
        Pixels whose values are all there.
    size : int
        Edge of a tile in pixels, less where a scene is smaller.

    Attributes
    ----------
    masks : (n, edge, edge) bool
        `known` in tiles.
    """

    def __init__(self, scenes: Sequence[Half], known: Sequence[Mask], size: int) -> None:
        self._scenes, self._known = scenes, known
        self.edge = min(size, *(n for scene in scenes for n in scene.shape[1:]))
        self._places = [
            (number, slice(y, y + self.edge), slice(x, x + self.edge))
            for number, scene in enumerate(scenes)
            for y in _starts(scene.shape[1], self.edge)
            for x in _starts(scene.shape[2], self.edge)
        ]
        self.shape = (len(self._places), len(scenes[0]), self.edge, self.edge)
        self.masks = np.stack([known[number][y, x] for number, y, x in self._places])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, rows: Any, /) -> Half:
        """One tile (k, edge, edge) of a whole number, several (m, k, edge, edge) of an array of them."""
        if isinstance(rows, np.ndarray):
            return np.stack([self[row] for row in rows.tolist()])
        number, y, x = self._places[rows]
        tile: Half = self._scenes[number][:, y, x]
        return tile

    def __iter__(self) -> Iterator[Half]:
        return (self[row] for row in range(len(self)))

    def stitched(self, heat: Half) -> list[npt.NDArray[np.float64]]:
        """Maps (y, x) of all scenes from heat (n, edge, edge) of the tiles, whose middles count most."""
        ramp = np.minimum(np.arange(self.edge), np.arange(self.edge)[::-1]).astype(np.float32) + 1
        weight = np.outer(ramp, ramp)
        sums = [np.zeros((2, *known.shape)) for known in self._known]
        for (number, y, x), values, mask in zip(self._places, heat, self.masks, strict=True):
            sums[number][:, y, x] += np.stack([np.maximum(values, LEAST_HEAT) * weight, weight]) * mask
        return [np.asarray(total / np.maximum(share, 1e-9)) for total, share in sums]


def _starts(length: int, edge: int) -> list[int]:
    return sorted({*range(0, length - edge, max(1, edge // 2)), length - edge})


def project_steps(
    cubes: Sequence[Sliceable], components: Components
) -> Generator[Progress, None, tuple[list[Half], list[Mask]]]:
    """Components (k, y, x) of each cube, and its pixels (y, x) with all values; each chunk is read once."""
    scenes, known = [], []
    for number, cube in enumerate(cubes):
        scene = np.zeros((len(components.basis), *cube.shape[1:]), np.float16)
        whole = np.zeros(cube.shape[1:], np.bool_)
        for place, spectra, is_whole, share in all_blocks(cube):
            whole[place] = is_whole
            scene[:, *place] = np.clip(components(spectra) * is_whole, -6e4, 6e4)
            yield Progress(round(PARTS * (number + share)), PARTS * len(cubes), "Projecting spectra")
        scenes.append(scene)
        known.append(whole)
    return scenes, known
