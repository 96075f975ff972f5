import csv
import io
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from napari_seedlab.core import GRAIN_SCHEME, ClassScheme, InputError, SeedClass
from napari_seedlab.core.errors import MAX_LINE
from napari_seedlab.io import read_class_file, read_labels_csv
from napari_seedlab.io.csv_text import ESCAPED, cell_text, csv_bytes, plain_text, safe_text

SEEDS = range(1, 9)


def table(folder, content, name="labels.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "seed,class\n2,dead\n1,normal\n3,unsure\n",
        "\ufeffseed,class\r\n2,3\r\n1,1\r\n3,Unsure\r\n",
        'note,Class,Seed\n"a, ""b""\nc",dead,2\n,normal,1\n,unsure,3\n,,4\n\n,normal,1\n',
        "seed,class\n2,dead\n1,normal\n3,unsure\n99,\n98, \n",
        "\ufeffSeed;Class\r\n2;dead\r\n1;normal\r\n3;unsure\r\n",
        '"note, mine";class;seed\n"a;b, c";dead;2\n;normal;1\n;unsure;3\n',
        "seed\tclass\n2\tdead\n1\tnormal\n3\tunsure\n",
        "seed,class,grown;not grown\n2,dead,1;0\n1,normal,\n3,unsure,\n",
        "note,class,seed\na\u2028b,dead,2\nc\x0bd\x85,normal,1\n,unsure,3\n",
    ],
    ids="plain,excel,quoted,others without a class,semicolons,commas in it,tabs,its,separators".split(","),
)
def test_answers_are_read(text, tmp_path):
    assert read_labels_csv(table(tmp_path, text), GRAIN_SCHEME, SEEDS) == [(1, 1), (2, 3), (3, "unsure")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("seed,class\n1,normal\n99,dead\n98,dead\n", "2 of 3 rows name unknown seeds, first '99' in row 3"),
        ("seed,class\n1,normal\n-2,dead\n", "'-2' in row 3"),
        ("seed,class\n" + "9" * 30 + ",dead\n", "row 2"),
        ("seed,class\n1,mouldy\n", "row 2 has the class 'mouldy'"),
        ("seed,class\n1,normal\n2,dead\n1,dead\n", "seed 1 has two classes, in row 2 and in row 4"),
        ("seed,class\n1,normal\n1,unsure\n", "seed 1 has two classes"),
        ("seed|class\n1|normal\n", "no column 'seed'"),
        ("id;class\n1;normal\n", "no column 'seed'"),
        ("seed;class\n1,normal\n", "row 2 has 1 cells"),
        ("seed,class\n1;normal\n", "row 2 has 1 cells"),
        ("id,class\n1,normal\n", "no column 'seed'"),
        ("seed,class\n1\n", "row 2 has 1 cells"),
        ("seed,class\n1,normal\n".encode("utf-16"), "UTF-16"),
        ("seed,class\n1,normal\n".encode("utf-16-le"), "NUL byte in row 1"),
        (b"seed,class\n1,nor\0mal\n", "NUL byte in row 2"),
        (b"seed,class\n1,norm\xe4l\n", "not UTF-8 in row 2"),
        ('seed,class\n1,"' + "x" * 200_000, "row 2 cannot be read"),
        ('seed,class\n1,"a"b\n', "row 2 cannot be read"),
        (b"", "is empty"),
    ],
)
def test_a_bad_table_is_refused_whole(content, words, tmp_path):
    with pytest.raises(InputError) as caught:
        read_labels_csv(table(tmp_path, content), GRAIN_SCHEME, SEEDS)
    line = str(caught.value)
    assert words in line and "labels.csv" in line and len(line) <= MAX_LINE and "\n" not in line


def test_a_class_named_unsure_is_that_class(tmp_path):
    scheme = ClassScheme("grain", (SeedClass(7, "unsure", "#123456", ""),))
    assert read_labels_csv(table(tmp_path, "seed,class\n1,unsure\n"), scheme, SEEDS) == [(1, 7)]


def classes(*entries):
    return json.dumps([{"id": i, "name": name, "color": "#102030", "key": key} for i, name, key in entries])


def test_classes_are_read(tmp_path):
    path = table(tmp_path, classes((1, "good", "1"), (5, "schlecht", "2")), "classes.json")
    assert read_class_file(path) == ClassScheme(
        "grain", (SeedClass(1, "good", "#102030", "1"), SeedClass(5, "schlecht", "#102030", "2"))
    )
    wrapped = table(tmp_path, '{"kind": "tissue", "classes": [{"id": 1, "name": "x"}]}', "t.json")
    assert read_class_file(wrapped).kind == "tissue"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (classes((1, "a", "1"), (1, "b", "2")), "id 1 stands twice"),
        (classes((1, "a", "1"), (2, "a", "2")), "name 'a' stands twice"),
        ("[]", "no list of classes"),
        ("7", "no list of classes"),
        ('[{"id": "1", "name": "a"}]', "class 1 needs a whole 'id'"),
        ('[{"id": true, "name": "a"}]', "class 1 needs a whole 'id'"),
        ('[{"id": 1, "name": "a", "color": 3}]', "not text"),
        ('[{"id": 1, "name": "a", "color": "red"}]', "#rrggbb"),
        ("[3]", "class 1 is not an object"),
        ('[{"id": NaN}]', "number that cannot be used (NaN"),
        ('[{"id": ' + "9" * 100_000 + "}]", "number that cannot be used"),
        ("[" * 100_000, "nested too deeply"),
        ('[{"id": 1,]', "line 1, column 11"),
        ("\0", "NUL"),
    ],
)
def test_a_bad_class_file_is_one_line(text, words, tmp_path):
    with pytest.raises(InputError) as caught:
        read_class_file(table(tmp_path, text, "classes.json"))
    line = str(caught.value)
    assert words in line and "classes.json" in line and len(line) <= MAX_LINE and "\n" not in line


@given(st.text())
def test_no_text_cell_is_a_formula_and_all_read_back(text):
    safe = safe_text(text)
    assert not safe.startswith(tuple("=+-@\t\r\n\0")) and "\0" not in safe
    assert plain_text(safe) == text.replace("\0", "␀")


@given(st.text(min_size=1), st.sampled_from(ESCAPED))
def test_dangerous_first_characters_get_an_apostrophe(text, first):
    assert safe_text(first + text).startswith("'")


CELLS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none(),
)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=6))
@example([["", "\r"], ["a\rb", "c\nd"]])
def test_tables_read_back(rows):
    header, *read = csv.reader(io.StringIO(csv_bytes(("a", "b"), rows).decode(), newline=""))
    assert header == ["a", "b"]
    for wrote, got in zip(rows, read, strict=True):
        for value, cell in zip(wrote, got, strict=True):
            if isinstance(value, str):
                assert plain_text(cell) == value.replace("\0", "␀")
            elif value is None:
                assert cell == ""
            else:
                assert type(value)(cell) == value and not cell.startswith("'")


@pytest.mark.parametrize(
    ("value", "cell"), [(float("nan"), ""), (float("inf"), ""), (-3, "-3"), (True, "1"), (0.1, "0.1")]
)
def test_numbers_stay_numbers(value, cell):
    assert cell_text(value) == cell


def test_places_count_more_than_numbers_and_need_somebody_who_knows_them(tmp_path):
    path = table(tmp_path, "seed,z,y,x,class\n1,0,0,5,normal\n1,0,0,6,\n2,0.4,0,7,dead\n")
    found = read_labels_csv(path, GRAIN_SCHEME, (), lambda place: int(10 * sum(place)))
    assert found == [(50, 1), (74, 3)]
    with pytest.raises(InputError, match="names seeds by their place"):
        read_labels_csv(path, GRAIN_SCHEME, SEEDS)
