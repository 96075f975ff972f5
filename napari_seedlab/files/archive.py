"""Small archives of arrays, and JSON: written atomically, read without running code."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import ProjectDamaged
from napari_seedlab.files.atomic import atomic_write

if TYPE_CHECKING:
    import os

RESTORE = "Restore the file from a backup or run the step again"


def save_arrays(path: str | os.PathLike[str], **arrays: npt.ArrayLike) -> None:
    """Write named arrays to the ``.npz`` file `path`, atomically and durably.

    Equal arrays give equal bytes. Object arrays are refused with ValueError.
    """
    plain = {name: np.asarray(value) for name, value in arrays.items()}
    for name, value in plain.items():
        if value.dtype.hasobject:
            raise ValueError(f"array {name!r} holds Python objects")
    atomic_write(path, lambda stream: np.savez(stream, **plain))  # type: ignore[arg-type]


def load_arrays(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """Read what :func:`save_arrays` wrote; never unpickles.

    Raises
    ------
    ProjectDamaged
        The file is missing or is not what was written.
    """
    name = Path(path).name
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise ProjectDamaged(name, "is missing", RESTORE) from None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ProjectDamaged(name, f"is not a readable archive of arrays ({error})", RESTORE) from error
    except TypeError as error:  # a bare .npy gives an array, which is no context
        raise ProjectDamaged(name, "is not an archive of arrays", RESTORE) from error


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; NaN and Infinity are refused.

    Raises
    ------
    ProjectDamaged
        The file is missing or is not JSON.
    """
    name = Path(path).name
    try:
        return json.loads(Path(path).read_text("utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise ProjectDamaged(name, "is missing", RESTORE) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ProjectDamaged(name, f"is not JSON ({error.msg} at {where})", RESTORE) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ProjectDamaged(name, f"cannot be read as JSON ({error})", RESTORE) from error


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Write plain JSON atomically and durably; NaN is refused with ValueError."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    atomic_write(path, text.encode("utf-8") + b"\n")
