import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_seedlab.core import ProjectDamaged
from napari_seedlab.files import file_hash, load_arrays, read_json, save_arrays, tree_hash, write_json


@given(hnp.arrays(hnp.integer_dtypes() | hnp.floating_dtypes(), hnp.array_shapes(min_side=0)))
@settings(max_examples=25, deadline=None)
def test_arrays_round_trip(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    save_arrays(path, values=values, other=[1, 2])
    back = load_arrays(path)
    assert back["values"].dtype == values.dtype
    np.testing.assert_array_equal(back["values"], values)
    assert back["other"].tolist() == [1, 2]


def test_equal_arrays_give_equal_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        save_arrays(tmp_path / name, x=np.arange(9))
    assert file_hash(tmp_path / "a.npz") == file_hash(tmp_path / "b.npz")


def test_objects_are_refused_both_ways(tmp_path):
    with pytest.raises(ValueError, match="'x' holds Python objects"):
        save_arrays(tmp_path / "a.npz", x=np.array([{}]))
    np.savez(tmp_path / "b.npz", x=np.array([{}]))
    with pytest.raises(ProjectDamaged, match=r"^b\.npz: "):
        load_arrays(tmp_path / "b.npz")


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "noise", "flip", "npy"])
def test_damaged_archive_is_one_line(tmp_path, damage):
    path = tmp_path / "a.npz"
    save_arrays(path, x=np.arange(1000))
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[2000] ^= 255
    np.save(tmp_path / "a.npy", np.arange(4))
    new = {"empty": b"", "cut": content[:1500], "noise": b"x" * 300, "flip": bytes(flipped)}
    new["npy"] = (tmp_path / "a.npy").read_bytes()
    path.unlink() if damage == "missing" else path.write_bytes(new[damage])
    with pytest.raises(ProjectDamaged, match=r"^a\.npz: ") as caught:
        load_arrays(path)
    assert len(str(caught.value)) <= 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(json_values)
@settings(max_examples=40, deadline=None)
def test_json_round_trips(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "a.json"
    write_json(path, value)
    assert read_json(path) == value


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "is missing"),
        (b"", "line 1, column 1"),
        (b'{"a":\n 1,}', "line 2"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b"[" * 200_000, "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_bad_json_is_one_line(tmp_path, content, cause):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ProjectDamaged, match=cause):
        read_json(path)


def test_nan_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert not (tmp_path / "a.json").exists()


def test_failed_json_keeps_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", [1])
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == [1]


def test_tree_hash_sees_bytes_names_and_losses(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "0").write_bytes(b"a")
    (tmp_path / "zarr.json").write_bytes(b"b")
    seen = {tree_hash(tmp_path)}
    (tmp_path / "c" / "0").write_bytes(b"x")
    seen.add(tree_hash(tmp_path))
    (tmp_path / "c" / "0").rename(tmp_path / "c" / "1")
    seen.add(tree_hash(tmp_path))
    (tmp_path / "c" / "1").unlink()
    seen.add(tree_hash(tmp_path))
    assert len(seen) == 4
    with pytest.raises(FileNotFoundError):
        tree_hash(tmp_path / "nowhere")
