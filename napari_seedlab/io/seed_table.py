"""Tables about seeds from a spreadsheet: which seed each row is about, and what it tells of it."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_seedlab.core import InputError, JobRequest, JobResult, Progress
from napari_seedlab.files import ArraySource, load_arrays, open_array, read_json, write_json
from napari_seedlab.io.csv_text import SEPARATORS, plain_text
from napari_seedlab.io.gate import shown_name
from napari_seedlab.io.plain_files import read_text

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

Fact: TypeAlias = str | int | float

MAX_ROWS, MAX_COLUMNS, MAX_NAME, MAX_CELL = 1_000_000, 200, 64, 1000
KEYS: tuple[tuple[str, ...], ...] = (  # columns that say which seed a row is about, the first that are there
    ("scan", "z", "y", "x"),
    ("z", "y", "x"),
    ("seed",),
    ("file",),  # before a label, which may be the number of a class
    ("scan", "region"),
    ("scan", "label"),
    ("scan", "y", "x"),
    ("y", "x"),
)
PLACED = ("seed", "scan", "file")  # say where a seed lies, also where another column is the key
LOT = "lot"
NO_NUMBER = {"na", "n/a", "nan", "null", "none", "-", "."}  # in a column of numbers: not known
ERRORS = frozenset("#N/A #REF! #VALUE! #DIV/0! #NAME? #NULL! #NUM! #SPILL! #CALC!".split())  # of spreadsheets
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
CODE = re.compile(r"[+-]?0\d")  # 007 is a name
BIGGEST = 2**53  # above it whole numbers are names too
EVERY = 50_000  # rows between two looks at whether the job is cancelled

UNKNOWN, NAMELESS = "of no seed of this project", "that do not say which seed"  # why rows are left out
AMBIGUOUS, TWICE = "with a file name that several seeds have", "that contradict each other about one seed"
NAMESAKES = "with a scan name that several scans have"
TOO_LONG, TOO_MANY = f"with a cell of more than {MAX_CELL:,} characters", "with more cells than the first row"


@dataclass
class SeedTable:
    """The rows of a table, and what is wrong with some.

    Attributes
    ----------
    name : str
        Of the file.
    key : tuple of str
        Columns that say which seed a row is about.
    columns : tuple of str
        Names of the others that tell something, as they are written.
    keys, cells : list of tuple of str
        Of each row that can be used.
    numbers : list of int
        Number of each, 1 at the header.
    left : Counter
        Rows that are left out, by reason.
    first : dict of str to int
        Number of the first row that is left out for a reason.
    has_decimal_commas : bool
        Whether commas may be decimal signs, since another sign is between the cells.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    keys: list[tuple[str, ...]] = field(default_factory=list)
    cells: list[tuple[str, ...]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)
    has_decimal_commas: bool = False

    def leave(self, why: str, number: int, n: int = 1) -> None:
        """Leave out a row, the first of `n` for the same reason."""
        self.left[why] += n
        self.first[why] = min(number, self.first.get(why, number))

    @property
    def n_left(self) -> int:
        """Rows that were left out."""
        return sum(self.left.values())

    def why_left(self) -> str:
        """Reasons, with counts, in one line."""
        return ", ".join(f"{n:,} {why} (first row {self.first[why]:,})" for why, n in self.left.most_common())


def read_seed_table(path: Path) -> SeedTable:
    """Read a table with one row for each seed: CSV in UTF-8 with commas, semicolons or tabs.

    Raises
    ------
    InputError
        It cannot be read; it has no rows, none or two of a name, no column that says which seed, or nothing
        beside it; more than 1,000,000 rows.
    """
    name, text = shown_name(path), io.StringIO(read_text(path), newline="")  # lines end at CR and LF alone
    try:
        sign, header, key = _header(name, text.readline())
        text.seek(0)
        table, at, told = _empty(name, header, key)
        table.has_decimal_commas = sign != ","
        for number, row in enumerate(csv.reader(text, delimiter=sign, strict=True), 1):
            if number == 1 or not any(cell.strip() for cell in row):
                continue
            if len(table.numbers) + table.n_left == MAX_ROWS:
                raise InputError(name, f"has more than {MAX_ROWS:,} rows", "Split it")
            _take(table, number, row, len(header), at, told)
    except csv.Error as error:
        cause = f"has a row that cannot be read ({str(error)[:40]})"
        raise InputError(name, cause, "Check the quotes in it; nothing was read") from error
    if not table.numbers and not table.left:
        raise InputError(name, "has no row below its first", "Write one row for each seed")
    return table


def _header(name: str, line: str) -> tuple[str, list[str], tuple[str, ...]]:
    """Sign between the cells, names of the columns, and those of them that say which seed."""
    if not line.strip():
        raise InputError(name, "is empty in its first row", "Name the columns there")
    for sign in SEPARATORS:
        header = [plain_text(cell).strip() for cell in next(csv.reader([line], delimiter=sign), [])]
        lower = {column.lower() for column in header}
        key = next((key for key in KEYS if lower.issuperset(key)), None)
        if key is not None:
            return sign, header, key
    cause = "has no column that says which seed a row is about"
    raise InputError(name, cause, "Name one seed, file, scan and region, or z, y and x")


def _empty(
    name: str, header: list[str], key: tuple[str, ...]
) -> tuple[SeedTable, tuple[int, ...], tuple[int, ...]]:
    """A table without rows, and where key and other columns stand; InputError for names that cannot be."""
    while header and not header[-1]:  # spreadsheets write columns that were emptied
        header.pop()
    if len(header) > MAX_COLUMNS:
        raise InputError(name, f"has {len(header):,} columns, at most {MAX_COLUMNS} are read", "Split it")
    for i, column in enumerate(header, 1):
        if not column:
            raise InputError(name, f"has no name for column {i} in its first row", "Name it, or delete it")
        if len(column) > MAX_NAME or not column.isprintable():
            cause = f"has a name for column {i} that is over {MAX_NAME} characters or cannot be printed"
            raise InputError(name, cause, "Choose a shorter one")
    lower = [column.lower() for column in header]
    if twice := [column for column, n in Counter(lower).items() if n > 1]:
        raise InputError(name, f"has two columns called {twice[0]!r}", "Rename one")
    told = [i for i, column in enumerate(lower) if column not in (*PLACED, *key)]
    if not told:
        raise InputError(name, "names seeds and tells nothing of them", "Add a column such as lot or weight")
    table = SeedTable(name, key, tuple(header[i] for i in told))
    return table, tuple(lower.index(column) for column in key), tuple(told)


def _take(
    table: SeedTable, number: int, row: list[str], width: int, at: tuple[int, ...], told: tuple[int, ...]
) -> None:
    """Keep one row, or say why not; cells that are missing at its end are empty."""
    if len(row) < width:
        row = [*row, *[""] * (width - len(row))]
    elif len(row) > width and any(cell.strip() for cell in row[width:]):
        table.leave(TOO_MANY, number)
        return
    keys = tuple(plain_text(row[i].strip()) for i in at)
    if not all(keys):
        table.leave(NAMELESS, number)
        return
    cells = tuple(" ".join(plain_text(row[i].strip()).split()) for i in told)
    if max(map(len, cells)) > MAX_CELL:
        table.leave(TOO_LONG, number)
        return
    table.keys.append(keys)
    table.cells.append(cells)
    table.numbers.append(number)


# -- which seed ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Places:
    """What a project knows of where its seeds are.

    Attributes
    ----------
    seed_of : mapping of int to int
        Every seed id, and the seed that it is today (another one after a merge).
    scans : mapping of str to int
        Scan ids by what they may be called in lower case: their number or name; 0 where several share it.
    region : mapping of (int, int) to int
        Seed by scan and region.
    rasters : mapping of int to ArraySource
        Region raster of each scan that is split.
    files : mapping of str to int
        Seed by picture and ends of its path, with and without the suffix; 0 where several share it.
    current : int
        Scan that is meant where none is named.
    """

    seed_of: Mapping[int, int]
    scans: Mapping[str, int]
    region: Mapping[tuple[int, int], int]
    rasters: Mapping[int, ArraySource]
    files: Mapping[str, int]
    current: int


def file_names(files: Mapping[int, str]) -> dict[str, int]:
    """Seed by every end of the path of its picture, with and without its suffix; 0 where several share it."""
    found: dict[str, int] = {}
    for seed, path in files.items():
        parts = path.split("/")
        ends = {"/".join(parts[i:]) for i in range(len(parts))}
        for end in ends | {str(Path(e).with_suffix("")) for e in ends}:
            found[end] = seed if found.get(end, seed) == seed else 0
    return found | {path: seed for seed, path in files.items()}


def _whole(text: str) -> int:
    """A whole number, also as a spreadsheet writes it (12.0 or 12,0); −1 for anything else."""
    match = re.fullmatch(r"(\d{1,18})([.,]0*)?", text)
    return int(match[1]) if match and text.isascii() else -1


def seeds_of(table: SeedTable, places: Places) -> list[int]:
    """Seed of each row; 0 where none is named, −1 where several may be."""
    keys = table.keys
    if table.key == ("seed",):
        return [places.seed_of.get(_whole(key), 0) for (key,) in keys]
    if table.key == ("file",):
        found = [places.files.get(key.replace("\\", "/").removeprefix("./"), -2) for (key,) in keys]
        return [{0: -1, -2: 0}.get(seed, seed) for seed in found]
    scans = (
        [places.scans.get(k[0].lower(), _whole(k[0]) or -1) for k in keys] if table.key[0] == "scan" else []
    )
    if len(table.key) == 2 and scans:
        pairs = zip(scans, keys, strict=True)
        return [places.region.get((scan, _whole(key[1])), 0) if scan else -1 for scan, key in pairs]
    voxels = [_voxel(key[-3:] if "z" in table.key else key[-2:]) for key in keys]
    scans = scans or [places.current or -1] * len(keys)
    seeds = _at_places(scans, voxels, places)
    return [seed if scan else -1 for scan, seed in zip(scans, seeds, strict=True)]


def _voxel(texts: Sequence[str]) -> tuple[int, ...]:
    try:
        found = tuple(round(float(text.replace(",", "."))) for text in texts)
    except (ValueError, OverflowError):
        return (-1, -1, -1)
    return found if len(found) == 3 else (0, *found)


def _at_places(scans: Sequence[int], voxels: Sequence[tuple[int, ...]], places: Places) -> list[int]:
    """Seeds whose regions hold voxels (z, y, x); each chunk of a raster is read once."""
    found = np.zeros(len(scans), np.int64)
    where = np.asarray(voxels, np.int64).reshape(-1, 3)
    for scan, source in places.rasters.items():
        raster = open_array(source)
        chunk, shape = np.asarray(raster.chunks), np.asarray(source.shape)
        inside = (np.asarray(scans) == scan) & (where >= 0).all(axis=1) & (where < shape).all(axis=1)
        blocks, own = np.unique(where[inside] // chunk, axis=0, return_inverse=True)
        for i, block in enumerate(blocks):
            rows = np.flatnonzero(inside)[own.ravel() == i]
            low = block * chunk
            high = np.minimum(low + chunk, shape)
            box = raster[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
            regions = box[tuple((where[rows] - low).T)]
            found[rows] = [places.region.get((scan, int(r)), 0) for r in regions]
    return [int(seed) for seed in found]


# -- what it tells -------------------------------------------------------------------------------
def by_seed(table: SeedTable, seeds: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Cells of each seed; rows that name none, or say different things of one, are left out."""
    found: dict[int, tuple[str, ...]] = {}
    rows: Counter[int] = Counter(seeds)
    refused: dict[int, int] = {}
    ambiguous = AMBIGUOUS if table.key == ("file",) else NAMESAKES
    for seed, cells, number in zip(seeds, table.cells, table.numbers, strict=True):
        if seed < 1:
            table.leave(ambiguous if seed else UNKNOWN, number)
        elif found.setdefault(seed, cells) != cells:
            refused.setdefault(seed, number)
    for seed, number in refused.items():
        found.pop(seed)
        table.leave(TWICE, number, rows[seed])
    return found


def facts(cells: Sequence[str], has_decimal_commas: bool) -> list[Fact | None]:
    """Values of a column: numbers where all that is known are numbers, else text; None where nothing is.

    Examples
    --------
    >>> facts(["1,5", "", "2"], True), facts(["007", "8"], False)
    ([1.5, None, 2], ['007', '8'])
    """
    known = ["" if cell.upper() in ERRORS else cell for cell in cells]
    plain = [cell.replace(",", ".") if has_decimal_commas else cell for cell in known]
    wanted = [text for text in plain if text and text.lower() not in NO_NUMBER]
    numbers = [_number(text) for text in wanted]
    if not wanted or any(number is None for number in numbers):
        return [cell or None for cell in known]
    value_of = dict(zip(wanted, numbers, strict=True))
    return [value_of.get(text) for text in plain]


def _number(text: str) -> int | float | None:
    if not NUMBER.fullmatch(text) or not text.isascii() or CODE.match(text):
        return None
    value = float(text)
    if not np.isfinite(value) or (text.lstrip("+-").isdigit() and abs(value) >= BIGGEST):
        return None
    return int(text) if text.lstrip("+-").isdigit() else value


def lot_column(table: SeedTable, wanted: str) -> int | None:
    """Which column is the lot: the one that is wanted, else one called so; None where there is none.

    Raises
    ------
    InputError
        The wanted one is not there, or another one is called lot.
    """
    lower = [column.lower() for column in table.columns]
    asked = wanted.strip().lower() or LOT
    if asked in lower:
        if asked != LOT and LOT in lower:
            raise InputError(table.name, f"has a column 'lot' beside {wanted!r}", "Leave one of the two out")
        return lower.index(asked)
    if wanted:
        listed = ", ".join(table.columns)[:80]
        raise InputError(table.name, f"has no column {wanted!r} for the lot", f"Its columns: {listed}")
    return None


def run(folder: Path) -> Generator[Progress, None, JobResult]:
    """Job ``napari_seedlab.io.seed_table:run``: params path, lot, scans, rasters, current, known.

    `scans` are scan ids by name, `rasters` region rasters by scan, `known` names of columns that are there.
    Input ``places.npz``: ``seed`` and ``now`` (the seed that it is today), and of each region ``scan``,
    ``region`` and ``shows`` (its seed); ``files.json``: picture by seed. Writes ``told.json``: seeds,
    columns and lots, as :meth:`Project.add_seed_table` takes them.
    """
    params = JobRequest.from_json(read_json(folder / "request.json")).params
    yield Progress(0, 3, "reading the table")
    table = read_seed_table(Path(params["path"]))
    lot = lot_column(table, str(params.get("lot", "")))
    yield Progress(1, 3, "looking for its seeds")
    found = by_seed(table, seeds_of(table, _places(folder, params)))
    yield Progress(2, 3, "reading its columns")
    known = {str(name).lower(): str(name) for name in params["known"]}
    columns: dict[str, list[Fact | None]] = {}
    lots: list[str | None] | None = None
    for i, name in enumerate(table.columns):
        cells = [row[i] for row in found.values()]
        if i == lot:
            lots = [None if cell.upper() in ERRORS else cell or None for cell in cells]
        else:
            columns[known.get(name.lower(), name)] = facts(cells, table.has_decimal_commas)
    columns = {name: told for name, told in columns.items() if any(v is not None for v in told)}
    if lots is not None and not any(lots):
        lots = None
    if not columns and lots is None:
        cause = f"tells nothing of a seed here: {table.why_left() or 'its cells are empty'}"
        raise InputError(table.name, cause, "Check its rows and the project")
    write_json(folder / "told.json", {"seeds": list(found), "columns": list(columns.items()), "lots": lots})
    values = {
        "table": table.name,
        "rows": len(table.numbers) + sum(table.left[w] for w in (TOO_MANY, NAMELESS, TOO_LONG)),
        "seeds": len(found),
        "columns": list(columns),
        "lot": "" if lot is None or lots is None else table.columns[lot],
        "left_out": table.n_left,
        "why": table.why_left(),
        "errors": sum(
            cell.startswith("#") and cell.upper() in ERRORS for row in found.values() for cell in row
        ),
    }
    return JobResult(values, ("told.json",))


def _places(folder: Path, params: Mapping[str, Any]) -> Places:
    known = load_arrays(folder / "places.npz")
    rows = zip(known["scan"].tolist(), known["region"].tolist(), known["shows"].tolist(), strict=True)
    return Places(
        dict(zip(known["seed"].tolist(), known["now"].tolist(), strict=True)),
        {str(name): int(scan) for name, scan in params["scans"].items()},
        {(scan, region): seed for scan, region, seed in rows},
        {int(scan): ArraySource.from_json(source) for scan, source in params["rasters"].items()},
        file_names({int(seed): path for seed, path in read_json(folder / "files.json").items()}),
        int(params["current"]),
    )
