"""Immutable archives named by their content: patches, strokes, region tables."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.core import ProjectDamaged
from napari_seedlab.files import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

RESTORE = "Restore it from a backup"
SHA256 = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """The blobs in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        """Where the blob lies."""
        if not SHA256.fullmatch(sha256):
            raise ProjectDamaged("journal", f"names a blob {sha256!r}", RESTORE)
        return self.folder / f"{sha256}.npz"

    def put(self, **arrays: npt.ArrayLike) -> str:
        """Write arrays durably; the sha256 that names them from now on."""
        stream = io.BytesIO()
        np.savez_compressed(stream, **{k: np.asarray(v) for k, v in arrays.items()})  # type: ignore[arg-type]
        content = stream.getvalue()
        sha256 = hashlib.sha256(content).hexdigest()
        if not self.path(sha256).exists():
            atomic_write(self.path(sha256), content)
        return sha256

    def get(self, sha256: str) -> dict[str, npt.NDArray[Any]]:
        """Read a blob; ProjectDamaged when it is not what was written."""
        content = self._content(sha256)
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (ValueError, OSError, EOFError, TypeError, zipfile.BadZipFile) as error:
            cause = f"is not a readable archive of arrays ({type(error).__name__})"
            raise ProjectDamaged(f"blobs/{self.path(sha256).name}", cause, RESTORE) from error

    def _content(self, sha256: str) -> bytes:
        path = self.path(sha256)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ProjectDamaged(f"blobs/{path.name}", f"is missing ({error.strerror})", RESTORE) from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ProjectDamaged(f"blobs/{path.name}", "is not what was written (hash differs)", RESTORE)
        return content

    def problem(self, sha256: str) -> str:
        """One line when the blob is damaged, else empty."""
        try:
            self._content(sha256)
        except ProjectDamaged as error:
            return str(error)
        return ""
