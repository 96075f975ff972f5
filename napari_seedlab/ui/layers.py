"""The layers of Seedlab in a viewer: found by a mark in their metadata, made again when deleted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels, Points
from napari.utils.colormaps import Colormap, DirectLabelColormap
from qtpy.QtCore import QTimer

from napari_seedlab.ui.batch_layer import place_beside
from napari_seedlab.ui.colouring import CURRENT_RGB, INFERNO, ramp
from napari_seedlab.ui.views import LutView, PlaneView, RegionPlanes, ThresholdView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_seedlab.core import ClassScheme, RegionTable, Scan
    from napari_seedlab.ui.batch_layer import BatchPicture
    from napari_seedlab.ui.colouring import SeedColours
    from napari_seedlab.ui.reading import OpenedScan
    from napari_seedlab.ui.views import ArrayLike

MARK = "seedlab"  # key in a layer's metadata
STACK = ("image", "composite", "heat", "preview", "tissue", "labels", "seeds", "strokes", "batch", "names")
NAMES = {
    "composite": "False colours",
    "heat": "Anomaly heatmap",
    "preview": "Threshold preview",
    "tissue": "Predicted tissue",
    "labels": "Labels",
    "seeds": "Seeds",
    "strokes": "Strokes",
    "batch": "Batch as trained",
    "names": "Seeds of the batch",
}
RIM, FOCUS_RIM = 2, 3  # voxels; one less where seeds are small
TINY_SEED, TINY_FOCUS = 12, 0.75  # voxels across below which the rim is all there is; its opacity then
SELECTED, CURRENT = 254, 255  # codes of the marks among the outlines
N_HEAT = 32  # colours of the heatmap
DIMMED = 0.55  # opacity of the scan below a heatmap
SMALL_SEED = 40  # voxels across
SELECTED_RGBA = (1.0, 1.0, 1.0, 0.9)
CLEAR = (0.0, 0.0, 0.0, 0.0)


@dataclass
class Shown:
    """What is on the screen now."""

    scan: Scan
    image: ArrayLike
    limits: tuple[float, float] = (0.0, 1.0)
    planes: RegionPlanes | None = None
    table: RegionTable | None = None
    focus: tuple[int | None, frozenset[int]] = (None, frozenset())
    palettes: dict[str, SeedColours] = field(default_factory=dict)


class SeedlabLayers:
    """Draws one scan, its regions and what is known about them, with the least change to the layers.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self.shown: Shown | None = None
        self._colours: tuple[SeedColours, SeedColours] | None = None
        self._outlines_only = False
        self.dark_seeds = False  # what the preview takes for seed

    # -- finding and making -------------------------------------------------------------------
    def find(self, kind: str) -> Layer | None:
        """The layer that carries the mark `kind`."""
        return next((layer for layer in self._viewer.layers if layer.metadata.get(MARK) == kind), None)

    def _put(self, kind: str, layer: Layer) -> Layer:
        """Add `layer` under the mark `kind` where it belongs in the stack; the active layer stays."""
        active = self._viewer.layers.selection.active
        below = set(STACK[: STACK.index(kind)])
        marks = [other.metadata.get(MARK) for other in self._viewer.layers]
        at = max((i + 1 for i, mark in enumerate(marks) if mark in below), default=0)
        layer.metadata[MARK] = kind
        self._viewer.layers.insert(at, layer)
        self._viewer.layers.selection.active = active if active is not None else layer
        return layer

    def _drop(self, *kinds: str) -> None:
        for kind in kinds:
            if (layer := self.find(kind)) is not None:
                self._viewer.layers.remove(layer)

    def _place(self) -> dict[str, Any]:
        """Scale, units and axis names of everything that has the scan's axes."""
        assert self.shown is not None
        facts = self.shown.scan.facts
        length = "um" if facts.voxel_size_um else "pixel"
        first = "pixel" if facts.has_bands else length
        scale = (1.0, *facts.scale_um[1:]) if facts.has_bands else facts.scale_um
        return {"scale": scale, "units": (first, length, length), "axis_labels": facts.axes}

    @property
    def _stepped(self) -> tuple[int, int, int]:
        """Shape of what lies over the scan: its own, one plane for a colour picture."""
        assert self.shown is not None
        return self.shown.scan.facts.view_shape

    # -- scans --------------------------------------------------------------------------------
    def show(self, opened: OpenedScan, table: RegionTable | None) -> None:
        """Put a scan into the viewer in place of the one before."""
        self.clear()
        facts = opened.scan.facts
        self.shown = Shown(opened.scan, opened.image, opened.limits)
        place = self._place()
        colour: dict[str, Any] = {"contrast_limits": opened.limits}
        voxels: Any = opened.image
        if facts.is_colour and opened.composite is not None:
            voxels, colour = opened.composite[np.newaxis], {"rgb": True}
        self._put("image", Image(voxels, name=facts.name, multiscale=False, **colour, **place))
        if opened.composite is not None and not facts.is_colour:
            flat = {key: value[1:] for key, value in place.items()}
            self._put("composite", Image(opened.composite, rgb=True, name=NAMES["composite"], **flat))
        if len(self._viewer.dims.current_step) >= 3:
            self._viewer.dims.set_current_step(0, facts.view_shape[0] // 2)
        self._viewer.reset_view()
        self.show_regions(opened.regions, table)

    def show_regions(self, regions: ArrayLike | None, table: RegionTable | None) -> None:
        """Put the regions of the shown scan into the viewer; None takes them away."""
        if self.shown is None:
            return
        self._drop("labels", "seeds")
        self.shown.palettes.clear()
        if self.shown.table is None and table is not None and self.shown.scan.facts.region_shape[0] > 1:
            self._viewer.dims.set_current_step(0, fullest_plane(table))
        self.shown.planes = None if regions is None else RegionPlanes(regions, self._stepped)
        self.shown.table = table
        if self._colours is not None:
            self.recolour(*self._colours)
        self.focus(*self.shown.focus)

    def clear(self) -> None:
        """Take all of our layers out of the viewer."""
        self.shown = None
        self._drop(*STACK)

    # -- seeds --------------------------------------------------------------------------------
    def recolour(self, outlines: SeedColours, labels: SeedColours) -> None:
        """Colour outlines and fills anew; only small tables change, no volume is written."""
        self._colours = (outlines, labels)
        shown = self.shown
        if shown is None or shown.planes is None or shown.table is None:
            return
        codes = np.ones(len(shown.table), np.uint8)
        if not self._outlines_only:
            codes = outlines.codes_of(shown.table.seed) + np.uint8(1)
        is_new = self.find("seeds") is None
        self._paint("seeds", RIM - self._thin, outlines, codes, shift=1)
        if is_new:
            QTimer.singleShot(0, self._paint_labels)  # napari adds one layer per turn of the event loop
        else:
            self._paint_labels()

    def _paint_labels(self) -> None:
        shown = self.shown
        if self._colours is None or shown is None or shown.planes is None or shown.table is None:
            return
        labels = self._colours[1]
        self._paint("labels", 0, labels, labels.codes_of(shown.table.seed), shift=0)

    @property
    def _thin(self) -> int:
        """1 where the seeds are so small that a thick rim would hide them."""
        return int(self._across < SMALL_SEED)

    @property
    def _across(self) -> float:
        """Voxels across the usual seed in a plane."""
        assert self.shown is not None and self.shown.table is not None
        box = self.shown.table.box
        return float(np.median((box[:, 4:] - box[:, 1:3]).max(1))) if len(box) else float(SMALL_SEED)

    def show_predictions(self, on: bool) -> None:
        """Colour the outlines, or leave them all grey."""
        self._outlines_only = not on
        if self._colours is not None:
            self.recolour(*self._colours)

    @property
    def predictions_on(self) -> bool:
        """Whether outlines are coloured."""
        return not self._outlines_only

    def _paint(
        self, kind: str, width: int, colours: SeedColours, codes: npt.NDArray[np.uint8], shift: int
    ) -> None:
        assert self.shown is not None
        layer = self.find(kind)
        has_others = layer is not None and not colours.same_palette(self.shown.palettes.get(kind))
        if layer is None:
            layer = self._add_lut(
                kind, width, self._colormap(colours, shift), 0.3 if kind == "labels" else 0.95
            )
        self.shown.palettes[kind] = colours
        self._set_codes(layer, refresh=not has_others, codes=codes)
        if has_others:
            layer.colormap = self._colormap(colours, shift)  # napari draws the layer anew

    def _colormap(self, colours: SeedColours, shift: int) -> DirectLabelColormap:
        """Colours of the codes, and of the marks."""
        opacity = TINY_FOCUS if self._across < TINY_SEED else 1.0
        red, green, blue = (value / 255 for value in CURRENT_RGB)
        return seed_colormap(colours, shift, {SELECTED: SELECTED_RGBA, CURRENT: (red, green, blue, opacity)})

    def _add_lut(self, kind: str, width: int, colormap: DirectLabelColormap, opacity: float) -> Labels:
        assert self.shown is not None and self.shown.planes is not None
        mark_width = 1 if self._across < TINY_SEED else FOCUS_RIM - self._thin
        layer = Labels(
            LutView(self.shown.planes, width, mark_width), name=NAMES[kind], colormap=colormap,
            opacity=opacity, multiscale=False, **self._place(),
        )  # fmt: skip
        layer.editable = False
        self._put(kind, layer)
        return layer

    def _set_codes(self, layer: Labels, refresh: bool = True, **codes: npt.NDArray[np.uint8]) -> None:
        """Give each region its code, or its mark; nothing is drawn when none changed."""
        assert self.shown is not None and self.shown.table is not None
        regions = self.shown.table.region
        for name, values in codes.items():
            lut = np.zeros(int(regions.max(initial=0)) + 2, np.uint8)  # the last entry takes ids beyond
            lut[regions] = values
            if not np.array_equal(lut, getattr(layer.data, name)):
                setattr(layer.data, name, lut)
                if refresh:
                    layer.refresh(extent=False, thumbnail=False, highlight=False)

    def focus(self, current: int | None, selection: frozenset[int], refresh: bool = True) -> None:
        """Mark the seed on the card and the selected seeds; without `refresh` the next slice shows it."""
        shown = self.shown
        if shown is None:
            return
        shown.focus = (current, selection)
        layer = self.find("seeds")
        if layer is None or shown.table is None:
            return
        marks = np.zeros(len(shown.table), np.uint8)
        marks[np.isin(shown.table.seed, np.fromiter(selection, np.int64, len(selection)))] = SELECTED
        marks[shown.table.seed == (-1 if current is None else current)] = CURRENT
        self._set_codes(layer, refresh, marks=marks)

    def seed_at(self, position: tuple[float, ...]) -> int | None:
        """Seed at a world position, None outside."""
        shown, layer = self.shown, self.find("image")
        if shown is None or layer is None or shown.planes is None or shown.table is None:
            return None
        voxel = np.rint(layer.world_to_data(position[-3:])).astype(int)
        z, y, x = (int(v) for v in voxel)
        region = shown.planes.region_at((z, y, x))
        rows = np.flatnonzero(shown.table.region == region)
        return int(shown.table.seed[rows[0]]) if region and rows.size else None

    # -- heatmap, threshold, tissue -----------------------------------------------------------
    def show_heat(self, heat: ArrayLike | None, scale: tuple[float, float]) -> None:
        """Lay the anomaly heatmap over the scan, on one scale for all seeds."""
        if self.shown is None:
            return
        low, high = scale
        limits = (low, high if high > low else low + 1.0)
        if heat is not None and heat.dtype == np.uint8:  # stored in 255 steps of the scale
            limits = (0.0, 255.0)
        self._drop("heat")
        self._dim_under_heat()
        flat, shape = self.shown.scan.facts.region_shape, self._stepped
        if heat is not None and tuple(heat.shape) == flat != shape:
            heat = np.broadcast_to(np.asarray(heat), shape)  # the same on every band
        if heat is None or tuple(heat.shape) != shape:
            return
        layer = Image(
            heat, name=NAMES["heat"], colormap=heat_colormap(), blending="translucent_no_depth", opacity=0.85,
            contrast_limits=limits, multiscale=False, **self._place(),
        )  # fmt: skip
        self._put("heat", layer)
        self._dim_under_heat()

    def _dim_under_heat(self) -> None:
        """Darken the scan below a visible heatmap: its brightest colours are pale."""
        image, heat = self.find("image"), self.find("heat")
        if image is not None:
            image.opacity = DIMMED if heat is not None and heat.visible else 1.0

    def toggle(self, kind: str) -> bool:
        """Show or hide a layer; returns whether it is visible now."""
        layer = self.find(kind)
        if layer is None:
            return False
        layer.visible = not layer.visible
        self._dim_under_heat()
        return bool(layer.visible)

    def grey_range(self) -> tuple[float, float]:
        """Grey limits of the shown scan, for a slider."""
        layer = self.find("image")
        if layer is None or self.shown is None:
            return 0.0, 1.0
        low, high = self.shown.limits if layer.rgb else layer.contrast_limits_range
        return float(low), float(high)

    def preview(self, threshold: float | None) -> None:
        """Show what a grey value parts off; None takes the preview away."""
        layer = self.find("preview")
        if threshold is None or self.shown is None:
            self._drop("preview")
            return
        if layer is None:
            colours = CodeColormap(color_dict={None: CLEAR, 0: CLEAR, 1: (0.24, 0.56, 0.82, 1.0)})
            view = ThresholdView(self.shown.image, threshold)
            layer = Labels(
                view, name=NAMES["preview"], colormap=colours, opacity=0.45, multiscale=False, **self._place()
            )
            layer.editable = False
            self._put("preview", layer)
        layer.data.threshold, layer.data.dark = threshold, self.dark_seeds
        layer.refresh(extent=False, thumbnail=False, highlight=False)

    def show_tissue(
        self, axis: int, index: int, classes: npt.NDArray[np.uint8], tissues: ClassScheme
    ) -> None:
        """Show the predicted tissues of one slice."""
        if self.shown is None:
            return
        layer = self.find("tissue")
        if layer is None:
            view = PlaneView(self._stepped)
            layer = Labels(
                view, name=NAMES["tissue"], colormap=tissue_colormap(tissues), opacity=0.4,
                multiscale=False, **self._place(),
            )  # fmt: skip
            layer.editable = False
            self._put("tissue", layer)
        layer.data.set_plane(axis, index, classes)
        layer.refresh(extent=False, thumbnail=False, highlight=False)

    def show_batch(self, picture: BatchPicture | None) -> None:
        """Show the crops of a batch to the right of the scan, with their classes; None takes them away."""
        self._drop("batch", "names")
        if picture is None or self.shown is None:
            return
        own = place_beside(picture, self.shown.scan)
        place = {**self._place(), **own, "axis_labels": picture.axes}
        layer = Image(picture.values, name=NAMES["batch"], multiscale=False, **place)
        self._put("batch", layer)
        flat = {key: value[1:] for key, value in place.items()}
        text = {"string": picture.texts, "size": 8, "anchor": "lower_left", "color": picture.colors}
        names = Points(
            picture.corners, name=NAMES["names"], size=1, face_color="transparent",
            border_color="transparent", text=text, **flat,
        )  # fmt: skip
        names.editable = False
        self._put("names", names)

    def stroke_layer(self, tissues: ClassScheme) -> Labels | None:
        """The layer that is painted on; made where it is missing."""
        if self.shown is None:
            return None
        layer = self.find("strokes")
        if layer is None:
            shape: tuple[int, ...] = self._stepped
            place = self._place()
            if self.shown.scan.facts.has_bands:  # one plane, whatever band is shown
                shape, place = shape[1:], {key: value[1:] for key, value in place.items()}
            canvas = np.zeros(shape, np.uint8)  # pages are only taken where somebody paints
            layer = Labels(
                canvas, name=NAMES["strokes"], colormap=tissue_colormap(tissues), opacity=0.7, **place
            )
            self._put("strokes", layer)
        return layer


def heat_colormap() -> Colormap:
    """Inferno that is clear where nothing is odd, so that the grain shows there."""
    colours = np.column_stack([ramp(INFERNO, N_HEAT) / 255.0, np.linspace(0, 1.6, N_HEAT).clip(0, 1)])
    return Colormap(colours, name="Oddness")


class CodeColormap(DirectLabelColormap):
    """Colours of the codes 0-255.

    For the thumbnail of the first layer napari's own class compiles a lookup, which holds the thread of the
    widgets for 2 s and more; a table of 256 rows needs none.
    """

    def _map_without_cache(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        table = np.tile(np.asarray(self.default_color, np.float32), (256, 1))
        for code, color in self.color_dict.items():
            if code is not None:
                table[code] = color
        return np.asarray(table[values], np.float32)


def seed_colormap(
    colours: SeedColours, shift: int, marks: Mapping[int | None, tuple[float, ...]]
) -> DirectLabelColormap:
    """Colours by code + `shift`, and of `marks`; code 0 is grey where it is shown, else clear."""
    rows = np.column_stack([colours.palette / 255.0, np.ones(len(colours.palette))])
    table: dict[int | None, Any] = {None: CLEAR, 0: CLEAR}
    table.update({i + shift: tuple(row) for i, row in enumerate(rows) if i + shift > 0})
    table.update(marks)
    return CodeColormap(color_dict=table)


def fullest_plane(table: RegionTable) -> int:
    """The z at which most regions are cut."""
    if not len(table):
        return 0
    change = np.zeros(int(table.box[:, 3].max()) + 1, np.int64)
    np.add.at(change, table.box[:, 0], 1)
    np.add.at(change, table.box[:, 3], -1)
    return int(change.cumsum().argmax())


def background_value(tissues: ClassScheme) -> int:
    """Value on the stroke layer that means background; 0 there means not painted."""
    return max(tissues.ids, default=0) + 1


def tissue_colormap(tissues: ClassScheme) -> DirectLabelColormap:
    """Colours of the tissues, grey for painted background."""
    table: dict[int | None, Any] = {None: CLEAR, 0: CLEAR, background_value(tissues): "#8a8f98"}
    table.update({c.id: c.color for c in tissues})
    return CodeColormap(color_dict=table)
