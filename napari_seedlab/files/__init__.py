"""Durable files, hashed arrays and where voxels lie."""

from napari_seedlab.files.archive import load_arrays, read_json, save_arrays, write_json
from napari_seedlab.files.atomic import (
    atomic_write,
    link_file,
    link_tree,
    publish_tree,
    sweep_temporaries,
    sync_folder,
    sync_tree,
)
from napari_seedlab.files.digest import file_changed, file_hash, tree_hash
from napari_seedlab.files.lazy import LazyArray, as_dask, open_array
from napari_seedlab.files.mounts import filesystem_type, is_network
from napari_seedlab.files.source import ArraySource
from napari_seedlab.files.zarrs import create_zarr, open_zarr

__all__ = [
    "ArraySource",
    "LazyArray",
    "as_dask",
    "atomic_write",
    "create_zarr",
    "file_changed",
    "file_hash",
    "filesystem_type",
    "is_network",
    "link_file",
    "link_tree",
    "load_arrays",
    "open_array",
    "open_zarr",
    "publish_tree",
    "read_json",
    "save_arrays",
    "sweep_temporaries",
    "sync_folder",
    "sync_tree",
    "tree_hash",
    "write_json",
]
