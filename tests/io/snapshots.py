"""A small project state for export tests."""

from dataclasses import replace

import numpy as np

from napari_seedlab.core import (
    GRAIN_SCHEME,
    TISSUE_SCHEME,
    Event,
    EventKind,
    Label,
    LabelState,
    Modality,
    RegionTable,
    Scan,
    ScanFacts,
    Seed,
    event_hash,
)
from napari_seedlab.files import ArraySource, create_zarr
from napari_seedlab.io import AnomalyTable, ClassProbabilities, ExportSnapshot

FACTS = ScanFacts(
    "tray=1/ä",
    Modality.CT,
    (5, 6, 7),
    ("z", "y", "x"),
    "uint8",
    (40.0, 20.0, 20.0),
    None,
    "/x/tray.tif",
    210,
    9,
)
CUBE = replace(FACTS, name="cube", modality=Modality.HSI, shape=(8, 6, 7), axes=("band", "y", "x"),
               voxel_size_um=(1.0, 25.0, 50.0), wavelengths_nm=tuple(range(400, 480, 10)))  # fmt: skip


def regions(scan, ids, seeds, shape):
    """Boxes of one plane each, and their raster."""
    raster = np.zeros(shape, np.int32)
    boxes = []
    for i, region in enumerate(ids):
        z, y = i % shape[0], 2 * (i // shape[0])
        raster[z, y : y + 2, 1:4] = region
        boxes.append([z, y, 1, z + 1, y + 2, 4])
    box = np.asarray(boxes, np.int32)
    centroid = (box[:, :3] + box[:, 3:] - 1) / 2
    n = np.full(len(ids), 6)
    return raster, RegionTable(scan, np.asarray(ids, np.int32), np.asarray(seeds), box, centroid, n)


def chain(*entries):
    """Events with a valid chain of hashes."""
    events, before = [], ""
    for sequence, (kind, payload) in enumerate(entries, 1):
        fields = (sequence, f"u{sequence}", f"2026-01-0{sequence}T00:00:00Z", "=anna", kind, payload)
        events.append(Event(*fields, before, event_hash(*fields, before)))
        before = events[-1].hash
    return tuple(events)


ASKED = {
    "uuid": "s1",
    "strategy": "margin",
    "reason": "between normal and dead",
    "inclusion_p": 0.25,
    "model_id": "head-1",
}


def state(folder):
    """Two scans, five seeds, labels of every state, predictions, scores and a journal."""
    ct, ct_table = regions(1, [11, 12, 13], [1, 2, 70_000], (5, 6, 7))
    hsi, hsi_table = regions(2, [21, 22], [1, 4], (1, 6, 7))
    sources = {}
    for scan, raster in ((1, ct), (2, hsi)):
        create_zarr(folder / f"r{scan}.zarr", raster.shape, (2, 4, 4), np.int32)[...] = raster
        sources[scan] = ArraySource(
            str(folder / f"r{scan}.zarr"), "zarr", raster.shape, ("z", "y", "x"), "<i4"
        )
    (folder / "blob").write_bytes(b"strokes")
    (folder / "tree").mkdir()
    (folder / "tree" / "leaf").write_bytes(b"leaf")
    return ExportSnapshot(
        project_uuid="p-1",
        scheme=GRAIN_SCHEME,
        tissue_scheme=TISSUE_SCHEME,
        scans=(Scan(1, FACTS), Scan(2, CUBE)),
        image_sources={1: ArraySource("/x/tray.tif", "raw", (5, 6, 7), ("z", "y", "x"), "|u1")},
        regions_sources=sources,
        regions={1: ct_table, 2: hsi_table},
        seeds={s: Seed(s, "+lot") for s in (1, 2, 4, 70_000)} | {9: Seed(9, "", True, 1)},
        labels={
            1: Label(1, LabelState.LABELLED, 3),
            2: Label(2, LabelState.UNSURE),
            4: Label(4, LabelState.NOT_WHOLE),
            9: Label(9, LabelState.LABELLED, 1),
        },
        label_facts={1: {"sequence": 2, "annotator": "=anna", "utc": "2026-01-02", "suggestion": ASKED}},
        events=chain(
            (EventKind.SCAN, {"scan": 1}),
            (
                EventKind.LABEL,
                {"seeds": [1, 2], "state": "labelled", "class_id": 3, "suggestion": {"1": ASKED}},
            ),
            (EventKind.UNDO, {"undoes": 2}),
        ),
        probabilities=(
            ClassProbabilities(
                np.asarray([1, 2]),
                np.asarray([[0.1, 0.2, 0.6, 0.1], [0.25] * 4], np.float32),
                (1, 2, 3, 4),
                "head-1",
            ),
            ClassProbabilities(
                np.asarray([1, 4]), np.asarray([[1, 0], [0.25, 0.75]], np.float32), (2, 3), "net-2"
            ),
        ),
        anomaly=(
            AnomalyTable(np.asarray([2, 70_000]), np.asarray([0.5, np.nan]), "fcdd-1"),
            AnomalyTable(np.asarray([2, 4]), np.asarray([9, 0.125]), "fcdd-2"),
        ),
        suggestions={70_000: {"strategy": "typiclust", "reason": "typical", "inclusion_p": 1.0}},
        attachments={"blobs/a.npz": str(folder / "blob"), "regions/r.zarr": str(folder / "tree")},
    )
