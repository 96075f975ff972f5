"""Foreign formats in and out; what needs a codec is read by a process of its own."""

from napari_seedlab.io.encoded import lazy_view
from napari_seedlab.io.export import export_steps, write_export
from napari_seedlab.io.export_read import Export, read_export
from napari_seedlab.io.facts import facts_from_json, facts_to_json, source_changed
from napari_seedlab.io.formats import SUFFIXES
from napari_seedlab.io.hsi_view import colour_bands, composite
from napari_seedlab.io.importing import import_file
from napari_seedlab.io.napari_reader import get_reader
from napari_seedlab.io.plain_files import read_class_file, read_labels_csv, read_truth_csv
from napari_seedlab.io.reader_process import ReaderProcess, describe, reader
from napari_seedlab.io.snapshot import (
    AnomalyTable,
    ClassProbabilities,
    ExportSnapshot,
    read_snapshot,
    write_snapshot,
)

__all__ = [
    "SUFFIXES",
    "AnomalyTable",
    "ClassProbabilities",
    "Export",
    "ExportSnapshot",
    "ReaderProcess",
    "colour_bands",
    "composite",
    "describe",
    "export_steps",
    "facts_from_json",
    "facts_to_json",
    "get_reader",
    "import_file",
    "lazy_view",
    "read_class_file",
    "read_export",
    "read_labels_csv",
    "read_snapshot",
    "read_truth_csv",
    "reader",
    "source_changed",
    "write_export",
    "write_snapshot",
]
