"""Hashes of files and folders."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os


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
