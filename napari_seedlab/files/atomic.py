"""Files that are there in full or not at all, also after a power cut.

The steps are those that PostgreSQL and SQLite take: write a temporary file in the same folder,
fsync it, rename it over the target, fsync the folder. zarr, safetensors and numpy do none of
the fsyncs, so everything that must last goes through here.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from napari_seedlab.core import ProjectError

logger = logging.getLogger(__name__)

FILE_MODE = 0o600
FOLDER_MODE = 0o700
MANY_FILES = 32  # above this one syncfs is faster than an fsync per file

Writer = Callable[[BinaryIO], object]


def write_failed(path: str | os.PathLike[str], error: OSError) -> ProjectError:
    """The line that says why `path` could not be written, and what to do."""
    remedy = {
        errno.ENOSPC: "Free some space on this drive and try again",
        errno.EDQUOT: "Your quota is used up: free some space and try again",
        errno.EROFS: "The drive is read-only: choose another folder",
        errno.EACCES: "Ask for write permission or choose another folder",
        errno.EPERM: "Ask for write permission or choose another folder",
        errno.ENOENT: "Check that the folder still exists and that the drive is mounted",
    }.get(error.errno or 0, "The old file is unchanged; check the drive and try again")
    cause = error.strerror or type(error).__name__
    return ProjectError(Path(path).name, f"could not be written ({cause})", remedy)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write(path: str | os.PathLike[str], data: bytes | Writer, mode: int = FILE_MODE) -> None:
    """Replace the file `path` durably, or leave it as it was.

    Parameters
    ----------
    path : path-like
        Target; its folder must exist.
    data : bytes or callable
        The content, or a function that writes it to the binary file that it is given.
    mode : int
        Permissions of the new file.

    Raises
    ------
    ProjectError
        The file could not be written; the old content is still there.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "a.bin"
    >>> atomic_write(target, b"abc")
    >>> target.read_bytes()
    b'abc'
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name[:80]}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        _write_temporary(temporary, data, mode)
        os.replace(temporary, target)
        sync_folder(target.parent)
    except OSError as error:
        raise write_failed(target, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _write_temporary(temporary: Path, data: bytes | Writer, mode: int) -> None:
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        if callable(data):
            data(stream)
        else:
            stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def publish_tree(tmp_dir: str | os.PathLike[str], final_dir: str | os.PathLike[str]) -> None:
    """Move a finished folder, such as a Zarr array, to its place: durable, in full or not at all.

    Every file is synced before the rename. A folder that stands at `final_dir` is replaced.
    Folders become 0700 and files 0600.

    Parameters
    ----------
    tmp_dir : path-like
        Folder that nobody writes any more. It is gone afterwards.
    final_dir : path-like
        New name; a folder of another file system is copied first.

    Raises
    ------
    ProjectError
        The folder could not be moved; what stood at `final_dir` is still there.
    """
    source, final = Path(tmp_dir), Path(final_dir)
    token = f"{os.getpid()}.{secrets.token_hex(4)}.tmp"
    old = final.with_name(f".{final.name[:80]}.{token}")
    try:
        if source.stat().st_dev != final.parent.stat().st_dev:
            source = Path(shutil.move(source, final.with_name(f".new-{final.name[:76]}.{token}")))
        sync_tree(source)
        if final.exists():
            os.rename(final, old)
        try:
            os.rename(source, final)
        except OSError:
            if old.exists():
                os.rename(old, final)
            raise
        sync_folder(final.parent)
    except OSError as error:
        raise write_failed(final, error) from error
    shutil.rmtree(old, ignore_errors=True)


def link_tree(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Make the new folder `target` with the files of `source`: hard links, or copies where there are none.

    A file of `source` that is later replaced by a rename, as Zarr does, stays as it is in `target`; one
    that is written in place does not. Files that vanish meanwhile are left out.

    Raises
    ------
    ProjectError
        The folder could not be made; nothing is left of it.
    """
    final = Path(target)
    try:
        shutil.copytree(source, final, copy_function=_link)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(final, ignore_errors=True)
        reason = error if isinstance(error, OSError) and error.errno else OSError(errno.EIO, str(error)[:60])
        raise write_failed(final, reason) from error


def link_file(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Make `target` a hard link to `source`, or a copy where the drive has none."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def _link(source: str, target: str) -> str:
    with suppress(FileNotFoundError):
        link_file(source, target)
    return target


def sync_tree(folder: Path) -> None:
    """Make everything below `folder` durable, and private (0700 and 0600)."""
    files: list[Path] = []
    folders: list[Path] = []
    for root, _, names in os.walk(folder):
        folders.append(Path(root))
        files.extend(Path(root, name) for name in names)
    for path in folders:
        os.chmod(path, FOLDER_MODE)
    for path in files:
        os.chmod(path, FILE_MODE)
    if len(files) > MANY_FILES and _sync_file_system(folder):
        return
    for path in files:
        _fsync(path)
    for path in folders:
        sync_folder(path)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file_system(folder: Path) -> bool:
    """Run syncfs(2) on the file system of `folder`; False where it does not exist."""
    if not sys.platform.startswith("linux"):
        return False
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(descriptor)
    return True


def sweep_temporaries(folder: str | os.PathLike[str]) -> list[str]:
    """Remove what killed writers left directly in `folder`; return the names.

    Only call it where no other process writes.
    """
    names = [path.name for path in _temporaries(Path(folder))]
    for name in names:
        path = Path(folder, name)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
    if names:
        logger.info("%d temporary files of a killed process were removed", len(names))
    return names


def _temporaries(folder: Path) -> Iterator[Path]:
    return (p for p in sorted(folder.glob(".*.tmp")) if p.suffix == ".tmp")
