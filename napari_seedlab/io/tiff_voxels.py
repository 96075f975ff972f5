"""The voxel size that a TIFF states, in µm."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from napari_seedlab.io.facts import NO_VOXEL_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping

Size = tuple[float | None, float | None, float | None]

UNITS_UM = {
    "": None, "pixel": None, "pixels": None, "px": None,
    "pm": 1e-6, "å": 1e-4, "angstrom": 1e-4, "nm": 1e-3, "nanometer": 1e-3,
    "um": 1.0, "µm": 1.0, "μm": 1.0, "\\u00b5m": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0,
    "mm": 1e3, "millimeter": 1e3, "cm": 1e4, "centimeter": 1e4, "m": 1e6, "meter": 1e6,
    "in": 25_400.0, "inch": 25_400.0, "inches": 25_400.0,
}  # fmt: skip
USABLE_UM = (1e-4, 1e6)  # an ångström to a metre; anything else is a slip of the writer
SCREEN_DPI = (
    1.0,
    72.0,
    96.0,
    100.0,
    150.0,
    200.0,
    300.0,
    600.0,
    1200.0,
)  # of screens and printers, not of scans


def voxel_size(tif: Any, notes: list[str]) -> tuple[float, float, float] | None:
    """Edge lengths z, y, x in µm, or None where the file does not say.

    Parameters
    ----------
    tif : tifffile.TiffFile
        The opened file.
    notes : list of str
        Lines about what was assumed are added.
    """
    z, y, x = _stated(tif)
    z, y, x = (_usable(v, axis, notes) for v, axis in zip((z, y, x), "zyx", strict=True))
    if y is None and x is None:
        notes.append(NO_VOXEL_SIZE)
        return None
    y, x = y or x, x or y
    assert y is not None and x is not None
    if z is None:
        notes.append(f"spacing of the slices not stated: taken as {y:g} µm")
    return (z or y, y, x)


def _stated(tif: Any) -> Size:
    if tif.is_ome and tif.ome_metadata:
        size = ome_size(tif.ome_metadata)
        if any(size):
            return size
    y, x = _resolution(tif)
    if tif.is_imagej:
        return imagej_size(tif.imagej_metadata or {}, y, x)
    return baseline_size(_tag(tif, "ResolutionUnit", 2), y, x)


def ome_size(xml: str) -> Size:
    """Spacing of the first image in OME-XML; no XML parser sees these foreign bytes.

    Examples
    --------
    >>> ome_size('<Pixels PhysicalSizeX="2" PhysicalSizeXUnit="nm" PhysicalSizeY="0.5"/>')
    (None, 0.5, 0.002)
    """
    match = re.search(r"<(?:\w+:)?Pixels\b([^<>]*)>", xml)
    stated = dict(re.findall(r'(\w+)\s*=\s*"([^"]*)"', match[1])) if match else {}
    sizes = []
    for axis in "ZYX":
        value, factor = (
            _float(stated.get(f"PhysicalSize{axis}")),
            UNITS_UM.get(stated.get(f"PhysicalSize{axis}Unit", "µm").strip().lower()),
        )
        sizes.append(None if value is None or factor is None else value * factor)
    return (sizes[0], sizes[1], sizes[2])


def imagej_size(metadata: Mapping[str, Any], y: float | None, x: float | None) -> Size:
    """Spacing that ImageJ states: `y`, `x` in pixels per unit, slices as `spacing` in that unit."""
    factor = UNITS_UM.get(str(metadata.get("unit", "")).strip().lower())
    if factor is None:
        return (None, None, None)
    spacing = _float(metadata.get("spacing"))
    return (None if spacing is None else spacing * factor, _inverse(y, factor), _inverse(x, factor))


def baseline_size(unit: int, y: float | None, x: float | None) -> Size:
    """Spacing from the resolution tags in inches or cm; resolutions of screens are not believed."""
    factor = {2: 25_400.0, 3: 10_000.0}.get(unit)
    if factor is None or (x in SCREEN_DPI and y in SCREEN_DPI):
        return (None, None, None)
    return (None, _inverse(y, factor), _inverse(x, factor))


def _inverse(per_unit: float | None, factor: float) -> float | None:
    return factor / per_unit if per_unit else None


def _resolution(tif: Any) -> tuple[float | None, float | None]:
    values = []
    for tag in ("YResolution", "XResolution"):
        value = _tag(tif, tag, None)
        above, below = value if isinstance(value, tuple) and len(value) == 2 else (0, 0)
        values.append(above / below if above and below else None)
    return values[0], values[1]


def _tag(tif: Any, name: str, default: Any) -> Any:
    tag = tif.pages[0].tags.get(name)
    return default if tag is None else tag.value


def _float(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _usable(value: float | None, axis: str, notes: list[str]) -> float | None:
    if value is None or (math.isfinite(value) and USABLE_UM[0] <= value <= USABLE_UM[1]):
        return value
    notes.append(f"voxel size {value:g} µm along {axis} is not usable: ignored")
    return None
