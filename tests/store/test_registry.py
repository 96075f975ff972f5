import os

import numpy as np
import pytest

from napari_seedlab.core import InputError, ModelCard, ProjectDamaged
from napari_seedlab.files import create_zarr, open_array
from napari_seedlab.store import Project


@pytest.fixture
def project(tmp_path):
    with Project.create(tmp_path / "P.seedlab") as opened:
        yield opened


def register(project, tmp_path, model_id, kind, pool="ct", content=b"weights"):
    (tmp_path / "w.bin").write_bytes(content)
    card = ModelCard(model_id, kind, "2026-01-01", (1, 2), "ab", config={"pool": pool}, metrics={"a": 0.5})
    return project.register_model(card, {"w.safetensors": tmp_path / "w.bin"})


def active(project):
    return {card.id for card in project.models() if card.active}


def test_card_and_weights_come_back(project, tmp_path):
    card = register(project, tmp_path, "head-1", "head")
    assert project.models() == [card]
    assert project.models("net") == []
    assert project.model_path("head-1", "w.safetensors").read_bytes() == b"weights"


def test_one_classifier_per_pool_is_active(project, tmp_path):
    for model_id, kind, pool in (("head-1", "head", "ct"), ("net-1", "net", "ct"), ("net-2", "net", "hsi")):
        register(project, tmp_path, model_id, kind, pool)
        project.activate(model_id)
    register(project, tmp_path, "fcdd-1", "fcdd")
    project.activate("fcdd-1")
    assert active(project) == {"net-1", "net-2", "fcdd-1"}
    project.activate("head-1")
    assert active(project) == {"head-1", "net-2", "fcdd-1"}
    path = project.path
    project.close()
    with Project.open(path, read_only=True) as again:
        assert active(again) == {"head-1", "net-2", "fcdd-1"}


@pytest.mark.parametrize("damage", ["flip", "missing"])
def test_damaged_model_is_named(project, tmp_path, damage):
    for number in (1, 2):
        register(project, tmp_path, f"net-{number}", "net", content=b"weights %d" % number)
        project.activate(f"net-{number}")
    path = project.model_path("net-2", "w.safetensors")
    path.write_bytes(b"Weights 2") if damage == "flip" else path.unlink()
    with pytest.raises(ProjectDamaged, match=r"models/net-2-\w+/w\.safetensors"):
        project.model_path("net-2", "w.safetensors")


def test_registering_an_id_again_replaces_it(project, tmp_path):
    register(project, tmp_path, "head-ct-5", "head", content=b"old")
    register(project, tmp_path, "head-ct-5", "head", content=b"new")
    assert project.model_path("head-ct-5", "w.safetensors").read_bytes() == b"new"
    assert len(project.models()) == 1


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "", "x" * 200])
def test_names_cannot_leave_the_folder(project, tmp_path, name):
    with pytest.raises(InputError, match="cannot be a file name"):
        register(project, tmp_path, name, "head")
    for call in (project.job_folder, project.drop_job, lambda n: project.put_arrays(n, x=[1])):
        with pytest.raises(InputError, match="cannot be a file name"):
            call(name)


def test_model_numbers_are_never_given_twice(project):
    first = [project.next_model_number("net") for _ in range(2)]
    path = project.path
    project.close()
    with Project.open(path) as again:
        assert [*first, again.next_model_number("net"), again.next_model_number("fcdd")] == [1, 2, 3, 1]


def test_unknown_model(project):
    with pytest.raises(InputError, match="model x"):
        project.activate("x")
    with pytest.raises(InputError, match="model x"):
        project.model_path("x", "w")


def test_arrays_are_replaced_and_read_back(project):
    assert project.get_arrays("embedding-ct") is None
    for n in (3, 4):
        project.put_arrays("embedding-ct", seed=np.arange(n), method=np.asarray("pca"))
    found = project.get_arrays("embedding-ct")
    assert found["seed"].tolist() == [0, 1, 2, 3] and str(found["method"]) == "pca"
    assert len(os.listdir(project.path / "arrays")) == 1


@pytest.mark.parametrize("damage", ["flip", "missing"])
def test_damaged_cache_counts_as_none(project, damage):
    project.put_arrays("a", x=np.arange(100))
    (file,) = (project.path / "arrays").iterdir()
    file.write_bytes(file.read_bytes()[:-9] + b"123456789") if damage == "flip" else file.unlink()
    assert project.get_arrays("a") is None


def test_trees_move_in_and_the_old_one_goes_at_the_next_opening(project, tmp_path):
    assert project.tree_source("heat-1") is None
    sources = []
    for value in (1, 2):
        create_zarr(tmp_path / "h.zarr", (2, 3, 4), (2, 3, 4), "f2")[...] = value
        sources.append(project.put_tree("heat-1", tmp_path / "h.zarr"))
    assert (open_array(sources[0])[...] == 1).all()  # still shown somewhere
    assert project.tree_source("heat-1") == sources[1]
    path = project.path
    project.close()
    with Project.open(path) as again:
        assert len(os.listdir(path / "arrays")) == 1
        assert (open_array(again.tree_source("heat-1"))[...] == 2).all()
        assert again.get_arrays("heat-1") is None


def test_place_survives_without_closing(project):
    project.set_state("place", {"queue": [1, 2], "current": None})
    with Project.open(project.path, read_only=True) as other:
        assert other.get_state("place") == {"queue": [1, 2], "current": None}
        assert other.get_state("nothing") is None


def test_damaged_place_is_forgotten(project):
    project.set_state("place", 1)
    (project.path / "state.json").write_bytes(b"{")
    with Project.open(project.path, read_only=True) as other:
        assert other.get_state("place") is None


def test_job_folders(project):
    first, second = project.job_folder("net-1"), project.job_folder("fcdd-1")
    assert project.job_folder("net-1") == first
    assert set(project.job_folders()) == {first, second}
    (first / "x").write_bytes(b"")
    project.drop_job("net-1")
    project.drop_job("net-1")
    assert project.job_folders() == [second]
