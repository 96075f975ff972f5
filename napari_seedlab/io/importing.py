"""Bringing a foreign scan into a project: linked where it can be read in place, else copied."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.core import InputError, JobRequest, JobResult, Modality, Progress
from napari_seedlab.files import ArraySource, create_zarr, open_array, publish_tree, read_json, tree_hash
from napari_seedlab.io.facts import facts_to_json, source_changed
from napari_seedlab.io.gate import regular_file, shown_name
from napari_seedlab.io.reader_process import describe, reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_seedlab.core import ScanFacts

SLAB_BYTES = 128 * 2**20
HASH_BYTES = 32 * 2**20
VOLUME_CHUNK = (16, 256, 256)  # a slice opens 16 chunks of a megabyte, a crop a few
BAND_CHUNK = (1, 256, 256)  # one band is one row of chunks

Steps = Generator[Progress, None, tuple["ScanFacts", ArraySource]]
Block = tuple[tuple[slice, slice, slice], "np.ndarray[Any, Any]"]


def import_file(
    path: str | Path, modality: Modality | str | None, name: str, cache_folder: str | Path
) -> Steps:
    """Describe a file and make its voxels quick to read, step by step.

    What can be read in place is linked, and its bytes are hashed. Compressed files, cubes
    interleaved by pixel or line, and Fortran order become ``scan.zarr`` in `cache_folder`.

    Parameters
    ----------
    path : path-like
        The foreign file.
    modality : Modality or str, optional
        Overrides the guess.
    name : str
        Shown name; empty keeps that of the file.
    cache_folder : path-like
        An existing folder of ours.

    Yields
    ------
    Progress

    Returns
    -------
    facts : ScanFacts
    source : ArraySource
        With the sha256 of the linked file, or of the copy's tree.

    Raises
    ------
    InputError
        The file cannot be used, or changed while it was read.
    """
    yield Progress(0, 0, f"reading {shown_name(path)}")
    facts, source = describe(path, modality)
    facts = replace(facts, name=name or facts.name)
    if source.layout in ("raw", "pages") and source.axes == facts.axes:
        digest = yield from _hashed(facts.source_path)
        source = replace(source, sha256=digest)
    else:
        blocks = _decoded(facts, source) if source.layout == "encoded" else _reordered(facts, source)
        source = yield from _copied(facts, blocks, Path(cache_folder))
    changed = source_changed(facts)
    if changed:
        raise InputError(changed.rstrip("."), "", "Import it again")
    return facts, source


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job ``napari_seedlab.io.importing:run``: params path, modality, name."""
    params = JobRequest.from_json(read_json(folder / "request.json")).params
    modality, name = params.get("modality"), params.get("name") or ""
    facts, source = yield from import_file(params["path"], modality, name, folder)
    values = {"facts": facts_to_json(facts), "source": source.to_json()}
    return JobResult(values, ("scan.zarr",) if source.layout == "zarr" else ())


def _hashed(path: str) -> Generator[Progress, None, str]:
    digest = hashlib.sha256()
    with regular_file(path) as (stream, facts):
        while block := stream.read(HASH_BYTES):
            digest.update(block)
            yield Progress(stream.tell(), facts.st_size, "checking the file")
    return digest.hexdigest()


def _copied(
    facts: ScanFacts, blocks: Iterator[Block], folder: Path
) -> Generator[Progress, None, ArraySource]:
    """Write `blocks` into ``scan.zarr``; a cancelled or failed copy leaves nothing."""
    temporary, final = folder / ".scan.zarr.tmp", folder / "scan.zarr"
    chunks = BAND_CHUNK if facts.has_bands else VOLUME_CHUNK
    is_float, is_finite, done = np.dtype(facts.dtype).kind == "f", False, 0
    total = int(np.prod(facts.shape))
    try:
        target = create_zarr(temporary, facts.shape, chunks, facts.dtype)
        for place, block in blocks:
            target[place] = block
            is_finite = is_finite or not is_float or bool(np.isfinite(block).any())
            done += block.size
            yield Progress(done, total, "copying into the project")
        if not is_finite:
            name = shown_name(facts.source_path)
            raise InputError(
                name, "holds no finite voxel (all are NaN or infinite)", "Export the image again"
            )
        publish_tree(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    dtype = np.dtype(facts.dtype).str
    return ArraySource(str(final), "zarr", facts.shape, facts.axes, dtype, sha256=tree_hash(final))


def _decoded(facts: ScanFacts, source: ArraySource) -> Iterator[Block]:
    """Slabs of planes from the reader process."""
    n = _n_in_slab(facts, 0, VOLUME_CHUNK[0])
    for start in range(0, facts.shape[0], n):
        stop = min(start + n, facts.shape[0])
        yield (slice(start, stop), slice(None), slice(None)), reader().planes(source.path, facts, start, stop)


def _reordered(facts: ScanFacts, source: ArraySource) -> Iterator[Block]:
    """Slabs along the slowest axis of the file, so that it is read once, in the order of the facts."""
    array = open_array(source)
    slowest = {"bil": 1, "bip": 1}.get(source.layout, 0)
    axis = facts.axes.index(source.axes[slowest])
    order = [source.axes.index(a) for a in facts.axes]
    n = _n_in_slab(facts, axis, BAND_CHUNK[1])
    for start in range(0, facts.shape[axis], n):
        cut = slice(start, min(start + n, facts.shape[axis]))
        slab = array[tuple(cut if a == slowest else slice(None) for a in range(3))]
        place = [slice(None)] * 3
        place[axis] = cut
        yield (place[0], place[1], place[2]), slab.transpose(order)


def _n_in_slab(facts: ScanFacts, axis: int, chunk: int) -> int:
    """Planes across `axis` that a slab may hold: whole chunks where memory allows."""
    plane = int(np.prod(facts.shape)) // facts.shape[axis] * np.dtype(facts.dtype).itemsize
    fits = max(1, SLAB_BYTES // max(1, plane))
    return fits // chunk * chunk or fits
