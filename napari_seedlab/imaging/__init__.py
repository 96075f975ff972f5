"""Arrays in, arrays out: splitting, crops, region statistics, the phantom."""

from napari_seedlab.imaging.regions import match_regions, region_statistics, region_table, rows_of
from napari_seedlab.imaging.repair import RegionPatch, delete_region, merge_regions, split_region
from napari_seedlab.imaging.split import (
    Split,
    SplitRecipe,
    foreground_threshold,
    preview,
    split,
    split_steps,
    warm_up,
)

__all__ = [
    "RegionPatch",
    "Split",
    "SplitRecipe",
    "delete_region",
    "foreground_threshold",
    "match_regions",
    "merge_regions",
    "preview",
    "region_statistics",
    "region_table",
    "rows_of",
    "split",
    "split_region",
    "split_steps",
    "warm_up",
]
