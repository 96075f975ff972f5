"""The pictures of a folder with one seed in each: which there are, and what is in them."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.core import InputError, Modality, Progress
from napari_seedlab.io.encoded import lazy_view
from napari_seedlab.io.facts import NO_SCALE, NO_VOXEL_SIZE
from napari_seedlab.io.formats import MODULES, PICTURES
from napari_seedlab.io.gate import shown_name
from napari_seedlab.io.reader_process import describe

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_seedlab.core import ScanFacts

SUFFIXES = (*PICTURES, *MODULES["napari_seedlab.io.tiff"])
MASK = "_mask"  # end of the name of a reference mask, beside the picture of that name
MOST_LABELS = 16  # different values of a mask that are labels; more are shades of grey
SHOWN = 5  # skipped files that are named
DTYPES = ("uint8", "uint16")
Array = np.ndarray[Any, Any]


@dataclass
class Found:
    """The pictures of a folder, by their path within it.

    Attributes
    ----------
    folder : Path
    paths : list of str
        With ``/`` between the parts, sorted.
    facts : dict of str to ScanFacts
        Of those that can be read.
    masks : dict of str to str
        Reference mask of a picture.
    n_others : int
        Files that are no pictures.
    skipped : list of str
        One line for each picture or mask that cannot be used.
    """

    folder: Path
    paths: list[str] = field(default_factory=list)
    facts: dict[str, ScanFacts] = field(default_factory=dict)
    masks: dict[str, str] = field(default_factory=dict)
    n_others: int = 0
    skipped: list[str] = field(default_factory=list)


def list_pictures(folder: Path) -> Found:
    """Pictures and reference masks in a folder and the folders in it; links to folders are not followed.

    Raises
    ------
    InputError
        It is no folder, cannot be read, or has no picture.
    """
    name = shown_name(folder)
    if not folder.is_dir():
        cause = "is a file, not a folder" if os.path.lexists(folder) else "is not there"
        raise InputError(name, cause, "Choose the folder of the pictures")
    found, pictures = Found(folder), []
    for place, _, names in os.walk(folder, onerror=_refuse):
        within = Path(place).relative_to(folder)
        for file in names:
            if file.startswith("."):
                continue
            if Path(file).suffix.lower() in SUFFIXES:
                pictures.append((within / file).as_posix())
            else:
                found.n_others += 1
    by_stem = {os.path.splitext(path)[0]: path for path in sorted(pictures)}
    for path in sorted(pictures):
        stem = os.path.splitext(path)[0]
        seed = by_stem.get(stem.removesuffix(MASK)) if stem.endswith(MASK) else None
        if seed is None:
            found.paths.append(path)
        else:
            found.masks[seed] = path
    if not found.paths:
        cause = f"has no picture ({found.n_others:,} other files)"
        raise InputError(name, cause, "Choose a folder of .png, .jpg, .bmp or .tif files")
    return found


def _refuse(error: OSError) -> None:
    cause = f"cannot be read ({error.strerror or error})"
    raise InputError(shown_name(error.filename or ""), cause, "Ask its owner for permission") from error


def describe_pictures(found: Found) -> Generator[Progress, None, None]:
    """Decode every picture once for its shape and type; what cannot be used is skipped, with its line.

    Raises
    ------
    InputError
        Not one can be used.
    """
    for i, path in enumerate(found.paths):
        try:
            facts, _ = describe(found.folder / path, Modality.IMAGE)
            _require_picture(path, facts)
        except InputError as error:
            found.skipped.append(str(error))
        else:
            found.facts[path] = facts
        yield Progress(i + 1, 2 * len(found.paths), "looking at the pictures")
    if not found.facts:
        pictures = "picture" if len(found.paths) == 1 else "pictures"
        cause = f"has {len(found.paths):,} {pictures}, none can be used ({found.skipped[0].rstrip('.')})"
        raise InputError(shown_name(found.folder), cause, "")


def _require_picture(path: str, facts: ScanFacts) -> None:
    if facts.dtype not in DTYPES:
        cause = f"has voxels of type {facts.dtype}, 8 or 16 bits without sign are needed"
        raise InputError(shown_name(path), cause, "Save it as such")
    if facts.shape[0] > 1 and not facts.is_colour:
        raise InputError(shown_name(path), f"holds {facts.shape[0]} planes, one is needed", "Save one")


def read_picture(found: Found, path: str) -> Array:
    """Pixels (c, y, x) of a picture or mask: one band, or red, green and blue.

    Raises
    ------
    InputError
        It cannot be read, or is no longer what was described.
    """
    facts, source = describe(found.folder / path, Modality.IMAGE)
    known = found.facts.get(path)
    if known is not None and known != facts:
        raise InputError(shown_name(path), "changed while it was read", "Import the folder again")
    return np.asarray(lazy_view(facts, source)[0 : facts.shape[0]])


def read_mask(found: Found, path: str, shape: tuple[int, int]) -> Array:
    """Reference mask (y, x) bool of a picture of this shape.

    Of at most 16 different values, those of a mask or of labels, all above 0 are marked; of more, as in
    a grey mask or a JPEG, all above half of what the type can hold.

    Raises
    ------
    InputError
        It cannot be read, is not of 8 or 16 bits, or has another size than its picture.
    """
    values = read_picture(found, path).max(axis=0)
    if values.dtype.name not in DTYPES:
        cause = f"has pixels of type {values.dtype.name}, 8 or 16 bits without sign are needed"
        raise InputError(shown_name(path), cause, "Save it as such")
    if values.shape != shape:
        cause = f"is {values.shape[1]} × {values.shape[0]} pixels, its picture {shape[1]} × {shape[0]}"
        raise InputError(shown_name(path), cause, "Give a mask of the same size")
    is_grey = len(np.unique(values)) > MOST_LABELS
    return np.asarray(values > (np.iinfo(values.dtype).max // 2 if is_grey else 0), np.bool_)


def classes_of(found: Found) -> dict[str, str]:
    """Name of the folder right below the chosen one that holds a picture; empty where there is none.

    Raises
    ------
    InputError
        No picture lies in such a folder.
    """
    named = {path: path.split("/")[0] if "/" in path else "" for path in found.paths}
    if not any(named.values()):
        cause = f"has its {len(named):,} pictures in no folder that names their class"
        raise InputError(shown_name(found.folder), cause, "Put them into one folder for each class")
    return named


def in_order(paths: list[str], hides_class: bool, known: Sequence[str] = ()) -> list[str]:
    """The pictures in the order of their tiles, and so of their seeds.

    By path; where the folders are a hidden truth by the sha256 of the path, which tells nothing of the
    class. The order of a sheet of the same pictures that is `known` already is kept.
    """
    if sorted(known) == sorted(paths):
        return list(known)
    return sorted(paths, key=lambda path: hashlib.sha256(os.fsencode(path)).digest() if hides_class else path)


def notes_of(found: Found) -> list[str]:
    """What the user is told of a folder, one line each: the oddities of its pictures, what was left out."""
    seen = Counter(
        NO_SCALE if note == NO_VOXEL_SIZE else note for facts in found.facts.values() for note in facts.notes
    )
    notes = [note if n == len(found.facts) else f"{note} ({n:,} pictures)" for note, n in seen.items()]
    if found.n_others:
        notes.append(f"{found.n_others:,} files are no pictures and were left out")
    if found.skipped:
        n, shown = len(found.skipped), found.skipped[:SHOWN]
        notes.append(f"{n:,} of {len(found.paths) + len(found.masks):,} pictures and masks were skipped:")
        notes += shown + [f"… and {n - len(shown):,} more"] * (n > len(shown))
    return notes
