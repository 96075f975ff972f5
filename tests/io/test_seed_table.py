"""Tables about seeds, as spreadsheets write them and as they should not be."""

import numpy as np
import pytest

from napari_seedlab.core import InputError, JobRequest
from napari_seedlab.files import ArraySource, create_zarr, read_json, save_arrays, write_json
from napari_seedlab.io import seed_table
from napari_seedlab.io.seed_table import facts, file_names, lot_column, read_seed_table


@pytest.fixture
def tell(tmp_path):
    """Run the job on a table, in a project of seeds 1 to 6: four on scan 1, two on scan 2."""
    raster = create_zarr(tmp_path / "r.zarr", (4, 8, 8), (2, 4, 4), np.int32)
    volume = np.zeros((4, 8, 8), np.int32)
    volume[:, :4, :4], volume[:, :4, 4:], volume[:, 4:, :4], volume[:, 4:, 4:] = 11, 12, 13, 14
    raster[...] = volume
    source = ArraySource(str(tmp_path / "r.zarr"), "zarr", (4, 8, 8), ("z", "y", "x"), "<i4")
    save_arrays(
        tmp_path / "places.npz",
        seed=np.arange(1, 8),
        now=np.asarray([1, 2, 3, 4, 5, 6, 2]),  # 7 was merged into 2
        scan=np.asarray([1, 1, 1, 1, 2, 2]),
        region=np.asarray([11, 12, 13, 14, 1, 2]),
        shows=np.arange(1, 7),
    )
    write_json(
        tmp_path / "files.json", {"5": "good/a 1.png", "6": "bad/b.png", "4": "bad/twin.png", "3": "twin.png"}
    )

    def run(content, lot="", **params):
        path = tmp_path / "t.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        given = {
            "path": str(path), "lot": lot, "scans": {"1": 1, "2": 2, "tray": 1}, "current": 1,
            "known": ["Weight"], "rasters": {"1": source.to_json()},
        } | params  # fmt: skip
        write_json(tmp_path / "request.json", JobRequest("t-1", "", given).to_json())
        steps = seed_table.run(tmp_path)
        try:
            while True:
                next(steps)
        except StopIteration as end:
            told = read_json(tmp_path / "told.json")
            return (
                dict(told["columns"]),
                dict(zip(told["seeds"], told["lots"] or (), strict=False)),
                end.value.values,
            )

    return run


@pytest.mark.parametrize(
    "content",
    [
        "seed,weight,lot\n1,0.5,A\n2,12,B\n",
        "\ufeffSeed;Weight;Lot\r\n1;0,5;A\r\n2;12;B\r\n",
        "seed\tWEIGHT\tLOT\t\t\n1\t0,5\tA\n2\t12\tB\t\t\n",
        'seed,weight,lot\n"1","0.5","A"\n7.0,12,B\n',
        "scan,region,weight,lot\n1,11,0.5,A\nTray,12,12,B\n",
        "scan,label,weight,lot\n1,11,0.5,A\n1,12,12,B\n",
        "seed,z,y,x,weight,lot\n90,0,1,1,0.5,A\n91,3.4,2,6,12,B\n",
        "y,x,weight,lot\n1,1,0.5,A\n2,6,12,B\n",
    ],
)
def test_however_it_is_written_it_tells_the_same(tell, content):
    columns, lots, values = tell(content)
    assert columns == {"Weight": [0.5, 12]} and lots == {1: "A", 2: "B"}
    assert values["left_out"] == 0 and values["seeds"] == 2 and values["lot"].lower() == "lot"


def test_pictures_are_found_by_their_name_with_and_without_folder_and_suffix(tell):
    content = "file,lot\na 1.png,A\nbad\\b,B\ntwin.png,C\nbad/twin.png,D\ntwin,E\n"
    _, lots, values = tell(content)
    assert lots == {5: "A", 6: "B", 3: "C", 4: "D"}
    assert values["why"] == "1 with a file name that several seeds have (first row 6)"
    assert file_names({1: "a/x.png", 2: "b/x.png"})["x.png"] == 0


def test_rows_that_cannot_be_used_are_counted_and_the_others_taken(tell):
    rows = [
        "1,A,1",
        "99,A,1",
        ",A,1",
        "2,B,2",
        "2,B,2",
        "3,C,3",
        "3,D,3",
        "4,A,1,extra",
        f"5,{'x' * 1001},1",
        "6",
        "",
    ]
    columns, lots, values = tell("seed,lot,n\n" + "\n".join(rows) + "\n")
    assert lots == {1: "A", 2: "B", 6: None} and columns == {"n": [1, 2, None]}
    assert values["rows"] == 10 and values["left_out"] == 6
    for reason in (
        "2 that contradict each other about one seed (first row 8)",
        "1 of no seed of this project (first row 3)",
        "1 that do not say which seed (first row 4)",
        "1 with more cells",
        "1 with a cell of more than",
    ):
        assert reason in values["why"]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("", "is empty"),
        ("seed,lot\n", "has no row below its first"),
        ("\nseed,lot\n1,A\n", "is empty in its first row"),
        ("grain,lot\n1,A\n", "has no column that says which seed"),
        ("scan,lot\n1,A\n", "has no column that says which seed"),
        ("seed\n1\n", "tells nothing of them"),
        ("seed,file,scan\n1,a,1\n", "tells nothing of them"),
        ("seed,,lot\n1,2,A\n", "has no name for column 2"),
        ("seed,lot,LOT\n1,A,B\n", "has two columns called 'lot'"),
        (f"seed,{'x' * 65}\n1,A\n", "over 64 characters"),
        ("seed," + ",".join(f"c{i}" for i in range(200)) + "\n1\n", "has 201 columns"),
        ("seed,lot\n77,A\n", "tells nothing of a seed here: 1 of no seed"),
        ("seed,lot\n1,\n", "its cells are empty"),
        ('seed,lot\n1,"A\n', "has a row that cannot be read"),
        (b"\xff\xfes\x00e\x00", "is written in UTF-16"),
        (b"seed,lot\n1,\xe9\n", "is not UTF-8 in row 2"),
    ],
)
def test_a_table_that_is_none_is_refused_in_one_line(tell, content, cause):
    with pytest.raises(InputError) as caught:
        tell(content)
    assert (
        cause in str(caught.value) and str(caught.value).startswith("t.csv") and "\n" not in str(caught.value)
    )


def test_a_million_rows_are_read_and_one_more_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(seed_table, "MAX_ROWS", 1000)
    path = tmp_path / "t.csv"
    path.write_text("seed,lot\n" + "".join(f"{i},A\n" for i in range(1, 1001)))
    assert len(read_seed_table(path).numbers) == 1000
    path.write_text(path.read_text() + "\n\n5,B\n")
    with pytest.raises(InputError, match="more than 1,000 rows"):
        read_seed_table(path)


def test_the_lot_is_the_column_that_is_chosen(tell):
    assert tell("seed,batch\n1,A\n", lot="Batch")[1:2] == ({1: "A"},)
    assert tell("seed,batch,lot\n1,A,\n")[0] == {"batch": ["A"]}
    with pytest.raises(InputError, match="has no column 'x' for the lot"):
        tell("seed,batch\n1,A\n", lot="x")
    with pytest.raises(InputError, match="has a column 'lot' beside 'batch'"):
        tell("seed,batch,lot\n1,A,B\n", lot="batch")
    assert lot_column(seed_table.SeedTable("t", ("seed",), ("batch",)), "") is None


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "-2", "+3"], [1, -2, 3]),
        (["1.50", "2e-3", ".5", "NA", ""], [1.5, 0.002, 0.5, None, None]),
        (["007", "8"], ["007", "8"]),
        (["1", "x"], ["1", "x"]),
        (["1", "#DIV/0!"], [1, None]),
        (["heat", "#N/A", "NA"], ["heat", None, "NA"]),
        (["#A0522D", "#00FFAA", "#1!", "#name?"], ["#A0522D", "#00FFAA", "#1!", None]),
        (["1e999"], ["1e999"]),
        (["123456789012345678"], ["123456789012345678"]),
        (["0,5", "1"], ["0,5", "1"]),
        (["٣"], ["٣"]),
    ],
)
def test_a_column_is_of_numbers_or_of_text(cells, values):
    assert facts(cells, False) == values
    assert facts(["0,5", "NA"], True) == [0.5, None]


def test_only_errors_of_a_spreadsheet_are_emptied_and_they_are_counted(tell):
    content = "seed,lot,colour\n1,#1,#C0C0CA\n2,#REF!,#00FFAA\n3,#2,#N/A\n"
    columns, lots, values = tell(content)
    assert lots == {1: "#1", 2: None, 3: "#2"} and columns == {"colour": ["#C0C0CA", "#00FFAA", None]}
    assert values["errors"] == 2 and values["left_out"] == 0


def test_a_picture_says_which_seed_before_a_label_that_may_be_a_class(tell):
    assert tell("file,scan,label,lot\na 1.png,2,2,A\nb.png,2,1,B\n")[1] == {5: "A", 6: "B"}
    assert tell("seed,file,lot\n1,,A\n2,,B\n")[1] == {1: "A", 2: "B"}  # as exports of scans are


def test_a_scan_name_that_several_have_names_none(tell):
    scans = {"1": 1, "2": 0, "tray": 1}  # scan 1 is called "2"
    _, lots, values = tell("scan,region,lot\n2,1,A\n1,12,B\n", scans=scans)
    assert lots == {2: "B"} and values["why"] == "1 with a scan name that several scans have (first row 2)"
    assert "1 of no seed" in tell("scan,region,lot\n0,1,A\n1,12,B\n", scans=scans)[2]["why"]


def test_a_row_ends_where_the_file_has_a_line_end_alone(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes('seed,note\r\n1,dark\u2028spot\n2,a\x0bb\x0c7\x85\n3,"two\r\nlines"\r\n'.encode())
    table = read_seed_table(path)
    assert table.keys == [("1",), ("2",), ("3",)]
    assert table.cells == [("dark spot",), ("a b 7",), ("two lines",)] and not table.left
