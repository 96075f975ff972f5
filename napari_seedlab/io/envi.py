"""ENVI cubes: a small text header beside a raw file."""

from __future__ import annotations

import math
import re
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.core import InputError, Modality, ScanFacts
from napari_seedlab.files.source import ArraySource
from napari_seedlab.io.facts import scan_name
from napari_seedlab.io.gate import check_finite, check_inside, check_size, n_bytes, regular_file, shown_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MAX_HEADER = 8 * 2**20  # bytes
DATA_SUFFIXES = ("", ".raw", ".dat", ".img", ".bsq", ".bil", ".bip", ".bin")
DATA_TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
LAYOUTS = {"bsq": "raw", "bil": "bil", "bip": "bip"}
UNITS_NM = {
    "nm": 1.0, "nanometer": 1.0, "nanometers": 1.0, "nanometre": 1.0, "nanometres": 1.0,
    "um": 1e3, "µm": 1e3, "μm": 1e3, "micron": 1e3, "microns": 1e3, "micrometer": 1e3, "micrometers": 1e3,
    "micrometre": 1e3, "micrometres": 1e3,
}  # fmt: skip
UNITS_UM = {
    "meters": 1e6, "meter": 1e6, "m": 1e6, "millimeters": 1e3, "mm": 1e3, "micrometers": 1.0, "um": 1.0,
    "µm": 1.0,
}  # fmt: skip
NO_AXIS = ("index", "band number", "wavenumber")
NM_RANGE = (100.0, 30_000.0)  # light that a camera sees, far ultraviolet to thermal infrared
FIX_FIELD = "Correct this field of the header"
FIX_LIST = "Correct or remove the wavelength list"


class Header:
    """The fields of an ENVI header, each with the line on which it stands."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._fields: dict[str, tuple[int, str]] = {}
        self._parse(text)

    def _parse(self, text: str) -> None:
        lines = text.splitlines()
        number = 1
        while number < len(lines):
            line = lines[number]
            number += 1
            key, equals, value = line.partition("=")
            if not equals or line.lstrip().startswith(";"):
                continue
            start, value = number, value.strip()
            if value.startswith("{"):
                while "}" not in value:
                    if number >= len(lines):
                        cause = f"line {start}: the brace of '{key.strip()[:40]}' is never closed"
                        raise InputError(self.name, cause, "Close it with }")
                    value += " " + lines[number]
                    number += 1
                value = value[1 : value.index("}")].strip()
            self._fields.setdefault(" ".join(key.lower().split()), (start, value))

    def text(self, key: str, default: str = "") -> str:
        """A field as text."""
        return self._fields.get(key, (0, default))[1]

    def line(self, key: str) -> int:
        """Line of a field, counted from 1; 0 when it is missing."""
        return self._fields.get(key, (0, ""))[0]

    def whole(self, key: str, least: int, default: int | None = None) -> int:
        """A field as a whole number from `least`."""
        if key not in self._fields:
            if default is not None:
                return default
            raise InputError(self.name, f"the header has no '{key}'", "Add it")
        line, text = self._fields[key]
        if not re.fullmatch(r"[+-]?\d{1,18}", text) or int(text) < least:
            cause = f"line {line}: '{key}' is {_short(text)}, a whole number from {least} is needed"
            raise InputError(self.name, cause, FIX_FIELD)
        return int(text)

    def refuse(self, key: str, cause: str, remedy: str = FIX_FIELD) -> InputError:
        """The error about a field, with its line."""
        return InputError(self.name, f"line {self.line(key)}: {cause}", remedy)


def describe(path: Path, modality: Modality | None) -> tuple[ScanFacts, ArraySource]:
    """Facts and source of a cube, from its header or its data file; see `Format`."""
    header_path = path if path.suffix.lower() == ".hdr" else _header_beside(path)
    header = read_header(header_path)
    notes: list[str] = []
    data = _data_file(header_path, None if header_path == path else path)
    with regular_file(data) as (_, facts):
        source = _source(header, data, facts.st_size, notes)
    check_finite(header.name, source)
    kind = modality or (Modality.HSI if source.shape[0] > 1 else Modality.IMAGE)
    axes = ("band" if kind is Modality.HSI else "z", "y", "x")
    wavelengths = _wavelengths(header, source.shape[0], notes) if kind is Modality.HSI else None
    size = _pixel_size(header, notes)
    described = ScanFacts(
        scan_name(path), kind, (source.shape[0], source.shape[1], source.shape[2]), axes,
        np.dtype(source.dtype).name, size, wavelengths, str(data), facts.st_size, facts.st_mtime_ns,
        tuple(notes),
    )  # fmt: skip
    return described, ArraySource.from_json({**source.to_json(), "axes": axes})


def planes(path: Path, modality: Modality | None, start: int, stop: int) -> Iterator[np.ndarray[Any, Any]]:
    """Never needed: such files are not encoded."""
    raise InputError(shown_name(path), "needs no decoding", "Read it directly")


def read_header(path: Path) -> Header:
    """Parse the header at `path`; InputError names the line that cannot be used."""
    name = shown_name(path)
    with regular_file(path) as (stream, facts):
        if facts.st_size > MAX_HEADER:
            cause = f"has {n_bytes(facts.st_size)}, a header has at most {n_bytes(MAX_HEADER)}"
            raise InputError(name, cause, "Choose the .hdr text file")
        raw = stream.read(MAX_HEADER)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    first = text.splitlines()[0].strip() if text.strip() else ""
    if first.upper() != "ENVI":
        raise _not_envi(name, text, first)
    return Header(name, text)


def _not_envi(name: str, text: str, first: str) -> InputError:
    words = {line.split()[0].upper() for line in text[:4096].splitlines() if line.split()}
    if words & {"NROWS", "NCOLS", "NBANDS", "LAYOUT", "BYTEORDER"}:
        return InputError(name, "is an ArcGIS/ESRI header, not an ENVI one", "Export the cube as ENVI")
    cause = f"is not an ENVI header (it starts with {_short(first)}, not 'ENVI')"
    return InputError(name, cause, "Choose the .hdr file of an ENVI cube")


def _short(text: str) -> str:
    return repr(text if len(text) <= 24 else text[:23] + "…")


def _header_beside(data: Path) -> Path:
    for candidate in (data.with_suffix(".hdr"), data.with_name(data.name + ".hdr"), data.with_suffix(".HDR")):
        if candidate.is_file():
            return candidate
    cause = f"has no ENVI header {shown_name(data.with_suffix('.hdr'))} beside it"
    raise InputError(shown_name(data), cause, "Put the header into the same folder")


def _data_file(header: Path, chosen: Path | None) -> Path:
    stem = header.with_suffix("")
    names = [stem.name + s for suffix in DATA_SUFFIXES for s in dict.fromkeys((suffix, suffix.upper()))]
    found = chosen or next((header.with_name(n) for n in names if header.with_name(n).is_file()), None)
    if found is None:
        cause = (
            f"has no data file {stem.name[:30]} beside it (.raw, .dat, .img, .bsq, .bil, .bip or no suffix)"
        )
        raise InputError(shown_name(header), cause, "Put both in one folder")
    check_inside(shown_name(header), found, header)
    return found


def _source(header: Header, data: Path, held: int, notes: list[str]) -> ArraySource:
    shape = tuple(header.whole(key, 1) for key in ("bands", "lines", "samples"))
    interleave = header.text("interleave", "bsq").lower()
    if interleave not in LAYOUTS:
        cause = f"interleave is {_short(interleave)}, it must be bsq, bil or bip"
        raise header.refuse("interleave", cause)
    code, offset = header.whole("data type", 0), header.whole("header offset", 0, 0)
    if code not in DATA_TYPES:
        known = ", ".join(map(str, DATA_TYPES))
        raise header.refuse("data type", f"data type {code} cannot be shown, known are {known}")
    if not header.line("byte order"):
        notes.append("byte order not stated: read as little-endian")
    order = header.whole("byte order", 0, 0)
    if order > 1:
        raise header.refuse("byte order", f"byte order is {order}, it must be 0 or 1")
    dtype = np.dtype((">" if order else "<") + DATA_TYPES[code])
    declared = prod(shape) * dtype.itemsize
    check_size(header.name, declared + offset, held)
    if held > declared + offset:
        notes.append(f"the data file is {n_bytes(held - declared - offset)} longer than declared")
    return ArraySource(
        str(data), LAYOUTS[interleave], shape, ("band", "y", "x"), dtype.str, offset=offset, size=held
    )


def _pixel_size(header: Header, notes: list[str]) -> tuple[float, float, float] | None:
    """(1, y, x) in µm from ``pixel size = { x, y, units=Meters }``, or None with a note."""
    words = [w.strip() for w in header.text("pixel size").split(",")]
    unit = next((w.split("=")[1].strip().lower() for w in words if w.lower().startswith("units=")), "meters")
    numbers = [float(w) for w in words if _is_number(w)]
    usable = [v for v in numbers if math.isfinite(v) and v > 0]
    if not header.line("pixel size"):
        notes.append("voxel size not stated by the file")
        return None
    if len(usable) != 2 or len(numbers) != 2 or unit not in UNITS_UM:
        notes.append(f"pixel size {_short(header.text('pixel size'))} cannot be used: voxel size unknown")
        return None
    x, y = (v * UNITS_UM[unit] for v in usable)
    return 1.0, round(y, 6), round(x, 6)


def _wavelengths(header: Header, n_bands: int, notes: list[str]) -> tuple[float, ...] | None:
    """Band centres in nm, or None where the header has none; a bad list is refused."""
    key = "wavelength"
    if not header.line(key):
        notes.append("no wavelengths in the header: bands are numbered")
        return None
    words = [w for w in re.split(r"[,\s]+", header.text(key)) if w]
    if len(words) != n_bands:
        cause = f"{len(words)} wavelengths for {n_bands} bands: spectra have no valid axis"
        raise header.refuse(key, cause, FIX_LIST)
    try:
        values = [float(w) for w in words]
    except ValueError:
        bad = next(w for w in words if not _is_number(w))
        cause = f"wavelength {_short(bad)} is not a number: spectra have no valid axis"
        raise header.refuse(key, cause, FIX_LIST) from None
    if not all(math.isfinite(v) for v in values):
        raise header.refuse(key, "a wavelength is NaN or infinite: spectra have no valid axis", FIX_LIST)
    unit = header.text("wavelength units").lower()
    if unit in NO_AXIS:
        notes.append(f"wavelengths are given as '{unit}': bands are numbered")
        return None
    return _in_nm(header, values, unit, notes)


def _in_nm(header: Header, values: list[float], unit: str, notes: list[str]) -> tuple[float, ...]:
    _check_order(header, values)
    factor = UNITS_NM.get(unit)
    if factor is None:
        factor = 1e3 if max(values) <= NM_RANGE[1] / 1e3 else 1.0
        notes.append(f"wavelength units not stated: read as {'µm' if factor > 1 else 'nm'}")
    scaled = [round(v * factor, 6) for v in values]
    low, high = min(scaled), max(scaled)
    if low < NM_RANGE[0] or high > NM_RANGE[1]:
        cause = (
            f"wavelengths run from {low:g} to {high:g} nm (are nm and µm mixed?): spectra have no valid axis"
        )
        raise header.refuse("wavelength", cause, FIX_LIST)
    return tuple(scaled)


def _check_order(header: Header, values: Mapping[int, float] | list[float]) -> None:
    steps = np.diff(np.asarray(values, np.float64))
    if not ((steps > 0).all() or (steps < 0).all()):
        sign = steps[0] > 0 if steps[0] else steps.sum() > 0
        at = int(np.flatnonzero(steps <= 0 if sign else steps >= 0)[0]) + 2
        cause = f"wavelength {at} of {len(values)} is out of order: spectra have no valid axis"
        raise header.refuse("wavelength", cause, FIX_LIST)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
