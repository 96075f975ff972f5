"""Hashes of files and folders."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from napari_seedlab.core import one_line


def file_hash(path: str | os.PathLike[str]) -> str:
    """The sha256 (hex) of a file's bytes, read in blocks."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tree_hash(folder: str | os.PathLike[str]) -> str:
    """The sha256 (hex) over the names and contents of all files below `folder`.

    It changes when a byte changes and when a file is added, lost or renamed.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(str(root))
    total = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        total.update(f"{path.relative_to(root).as_posix()}\0{file_hash(path)}\n".encode())
    return total.hexdigest()


def file_changed(path: str | os.PathLike[str], size: int, mtime_ns: int) -> str:
    """Why `path` is no longer the file of `size` bytes and that time, as one sentence; empty if it is.

    Only size and time are looked at, so that it takes no time.
    """
    name = one_line(Path(path).name)
    try:
        now = os.stat(path)
    except OSError as error:
        return f"{name}: its file cannot be read any more ({error.strerror})."
    if now.st_size != size:
        return f"{name}: the file changed on disk ({size:,} bytes when it was opened, {now.st_size:,} now)."
    if now.st_mtime_ns != mtime_ns:
        return f"{name}: the file was written again after it was opened."
    return ""
