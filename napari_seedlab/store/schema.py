"""The tables. `events` is the truth; the others up to `models` are drawn from it and can be rebuilt."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

meta = Table(
    "meta", metadata, Column("key", String(64), primary_key=True), Column("value", Text, nullable=False)
)
versions = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("utc", String(40), nullable=False),
)
events = Table(
    "events",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("utc", String(40), nullable=False),
    Column("annotator", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("payload", Text, nullable=False),  # canonical JSON, as it was hashed
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)
numbers = Table(  # next free id per kind of thing; only ever grows
    "numbers",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("next", BigInteger, nullable=False),
)
scans = Table(
    "scans",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("facts", Text, nullable=False),
    Column("source", Text, nullable=False),
)
schemes = Table(
    "schemes", metadata, Column("kind", String(16), primary_key=True), Column("classes", Text, nullable=False)
)
seeds = Table(
    "seeds",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("lot", Text, nullable=False),
    Column("archived", Boolean, nullable=False),
    Column("alias_of", Integer),
)
seed_columns = Table(  # what tables told of seeds, a row for each of their columns; the lot is in `seeds`
    "seed_columns",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, unique=True),
    Column("cells", Text, nullable=False),  # JSON, value by seed
)
BOX = ("z0", "y0", "x0", "z1", "y1", "x1")
CENTROID = ("centroid_z", "centroid_y", "centroid_x")
regions = Table(
    "regions",
    metadata,
    Column("region", Integer, primary_key=True, autoincrement=False),
    Column("scan", Integer, nullable=False),
    Column("seed", Integer, nullable=False),
    *(Column(name, Integer, nullable=False) for name in BOX),
    *(Column(name, Float, nullable=False) for name in CENTROID),
    Column("n_voxels", BigInteger, nullable=False),
    Index("regions_of_scan", "scan"),
    Index("regions_of_seed", "seed"),
)
labels = Table(
    "labels",
    metadata,
    Column("seed", Integer, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("class_id", Integer, nullable=False),
    Column("sequence", Integer, nullable=False),
)
strokes = Table(
    "strokes",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("scan", Integer, nullable=False),
    Column("axis", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("blob", String(64), nullable=False),
    Index("strokes_of_scan", "scan"),
)
history = Table(  # what can be taken back (undone false) or done again (undone true)
    "history",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("annotator", Text, nullable=False),
    Column("undone", Boolean, nullable=False),
    Index("history_undone", "undone"),
)
rasters = Table(  # region raster of a scan: `base` as it was split, plus repairs up to `applied`
    "rasters",
    metadata,
    Column("scan", Integer, primary_key=True, autoincrement=False),
    Column("base", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("split", Integer, nullable=False),
    Column("applied", Integer, nullable=False),
)
models = Table(
    "models",
    metadata,
    Column("id", String(120), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("folder", Text, nullable=False),
    Column("card", Text, nullable=False),
    Column("files", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("sequence", Integer, nullable=False),
)
arrays = Table(  # caches: an archive, or a Zarr folder with its `source`
    "arrays",
    metadata,
    Column("name", String(120), primary_key=True),
    Column("file", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("source", Text, nullable=False),
)
DRAWN = (scans, schemes, seeds, seed_columns, regions, labels, strokes, history, rasters, models)
