import json
import threading
from unittest.mock import Mock

import numpy as np
import pytest
import tifffile
import torch
from typer.testing import CliRunner

from napari_seedlab.cli.main import app
from napari_seedlab.core import InputError, JobCancelled, LabelState, NotReady, SeedlabError
from napari_seedlab.files import save_arrays
from napari_seedlab.learn import embedding, encoders
from napari_seedlab.models.vgg16 import POOL, VGG16, VGG16Config
from napari_seedlab.session import encoders as rooms
from napari_seedlab.session.results import Embedding
from tests.session.conftest import is_hollow, settle, small_tray

N = 25
given: list[int] = []  # seeds that an encoder was asked for


class Bright:
    """Three numbers that tell hollow seeds from whole ones, beside nothing."""

    name, key = "bundled", "bright 1"

    def encode(self, seeds):
        given.extend([1] * len(seeds))
        return np.asarray([[s.image[s.mask].mean(), s.image.max(), s.mask.sum()] for s in seeds], np.float32)


def bright(modality):
    return Bright()


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    """`bundled` is an encoder of three columns here; whatever encodes is counted."""
    given.clear()
    monkeypatch.setitem(encoders.BY_MODALITY, "bundled", f"{__name__}:bright")
    real = embedding.Descriptors.encode
    monkeypatch.setattr(
        embedding.Descriptors,
        "encode",
        lambda self, seeds: given.extend([1] * len(seeds)) or real(self, seeds),
    )


def label_all(session, n=N):
    seeds = session.seeds_of("ct")[:n]
    for class_id, wanted in ((1, False), (2, True)):
        session.answer(class_id, [s for s in seeds if is_hollow(session, s) is np.bool_(wanted)])
    settle(session)


def test_only_edited_seeds_are_encoded(split_session, make_session):
    assert len(given) == N
    first, second = split_session.seeds_of("ct")[:2]
    split_session.merge([first, second]).wait(60)
    split_session.embed().wait(60)
    assert len(given) == N + 1
    assert split_session.embed().wait(60)["n_new"] == 0
    split_session.close()
    assert make_session().embed("ct").wait(60)["n_new"] == 0
    assert len(given) == N + 1


def test_a_request_for_what_is_being_computed_is_answered_by_that_job(split_session, monkeypatch):
    session, gate = split_session, threading.Event()
    real = Bright.encode
    monkeypatch.setattr(Bright, "encode", lambda self, seeds: gate.wait(60) and real(self, seeds))
    given.clear()

    def ask(name, use=False):
        return session.desk.start(rooms.embed_step(session, "ct", [name], use))

    first, again, other, used = ask("bundled"), ask("bundled"), ask("descriptors"), ask("bundled", True)
    settle(session)
    merge = session.merge(session.seeds_of("ct")[:2])  # what is asked for from here on is about other seeds
    merge.wait(60)
    later = ask("bundled")
    settle(session)
    gate.set()
    assert first.wait(60) == again.wait(60) and first.job_id == again.job_id
    assert len({task.job_id for task in (first, other, used, later)}) == 4
    for task in (other, used, later):
        task.wait(60)
    assert len(given) == N + N + N - 1  # of `first`, `used` and `later`


@pytest.fixture
def held(split_session, monkeypatch):
    """`bundled` encodes nothing before `gate` is set; `begun` tells that it was asked to."""
    real, gate, begun = Bright.encode, threading.Event(), threading.Event()

    def encode(self, seeds):
        begun.set()
        assert gate.wait(60)
        return real(self, seeds)

    monkeypatch.setattr(Bright, "encode", encode)
    yield gate, begun
    gate.set()


def test_the_last_choice_wins(split_session, held):
    session, (gate, _) = split_session, held
    tasks = [session.encoders.choose("ct", [name]) for name in ("bundled", "descriptors", "bundled")]
    settle(session)
    gate.set()
    for task in tasks:
        task.wait(60)
    assert session.encoders.chosen("ct") == ("bundled",)


def test_an_edit_while_a_choice_is_computed_keeps_the_choice(split_session, held):
    session, (gate, begun) = split_session, held
    choice = session.encoders.choose("ct", ["bundled"])
    assert begun.wait(30)
    session.merge(session.seeds_of("ct")[:2]).wait(60)
    later = session.embed("ct")
    gate.set()
    choice.wait(60)
    later.wait(60)
    settle(session)
    known = session.embeddings["ct"]
    assert session.encoders.chosen("ct") == known.encoders == ("bundled",)
    assert set(known.seeds.tolist()) == set(session.seeds_of("ct"))


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_an_edit_while_a_choice_fails_is_described_as_before(split_session, held, is_cancelled, monkeypatch):
    session, (gate, begun) = split_session, held
    choice = session.encoders.choose("ct", ["bundled"])
    assert begun.wait(30)
    session.merge(session.seeds_of("ct")[:2]).wait(60)
    later = session.embed("ct")
    if is_cancelled:
        session.cancel(next(r.id for r in session.desk.active if r.id.startswith("embed")))
    else:
        monkeypatch.setattr(Bright, "encode", Mock(side_effect=NotReady("encoder", "is gone", "Get it back")))
    given.clear()
    gate.set()
    with pytest.raises(SeedlabError):
        choice.wait(60)
    assert later.wait(60)["encoders"] == ["descriptors"]
    known = session.embeddings["ct"]
    assert session.encoders.chosen("ct") == known.encoders == ("descriptors",)
    assert set(known.seeds.tolist()) == set(session.seeds_of("ct"))
    assert len(given) < N  # what was being encoded, and the seed that two were merged into


def test_vectors_asked_for_later_stay_where_an_earlier_job_ends_after_them(split_session, monkeypatch):
    session, gate, begun = split_session, threading.Event(), threading.Event()
    real = embedding.Descriptors.encode

    def encode(self, seeds):
        if threading.current_thread().name == "seedlab-background":
            begun.set()
            assert gate.wait(60)
        return real(self, seeds)

    monkeypatch.setattr(embedding.Descriptors, "encode", encode)
    monkeypatch.setattr(embedding, "descriptors_key", lambda modality: f"descriptors anew {modality}")
    renewed = session.encoders.embed("ct", "background")
    assert begun.wait(30)
    session.merge(session.seeds_of("ct")[:2]).wait(60)
    session.embed("ct").wait(60)
    edited = session.embeddings["ct"]
    gate.set()
    renewed.wait(60)
    known = session.embeddings["ct"]
    assert known.versions == ("descriptors anew ct",)
    assert set(known.seeds.tolist()) == set(session.seeds_of("ct"))
    np.testing.assert_array_equal(known.vectors, edited.vectors)
    assert session.embed("ct").wait(60)["n_new"] == 0


def test_a_choice_during_the_first_description_still_leads_to_a_map(make_session, tray, monkeypatch):
    session, gate, begun = make_session(), threading.Event(), threading.Event()
    real = embedding.Descriptors.encode

    def encode(self, seeds):
        begun.set()
        assert gate.wait(60)
        return real(self, seeds)

    monkeypatch.setattr(embedding.Descriptors, "encode", encode)
    session.import_scan(tray).wait(60)
    session.follow_up = True
    session.split().wait(60)
    assert begun.wait(30)
    choice = session.encoders.choose("ct", ["bundled"])
    gate.set()
    choice.wait(60)
    while session.maps_by_itself("ct"):
        settle(session)
    settle(session)
    assert session.encoders.chosen("ct") == session.embeddings["ct"].encoders == ("bundled",)
    assert "ct" in session.layouts


def test_a_choice_after_a_cancel_is_a_request_of_its_own(split_session, held):
    session, (gate, begun) = split_session, held
    first = session.encoders.choose("ct", ["bundled"])
    assert begun.wait(30)
    session.cancel(next(r.id for r in session.desk.active if r.id.startswith("embed")))
    again = session.encoders.choose("ct", ["bundled"])
    settle(session)
    gate.set()
    with pytest.raises(JobCancelled):
        first.wait(60)
    again.wait(60)
    assert session.encoders.chosen("ct") == ("bundled",)


def test_the_mixture_is_swapped_and_nothing_else(split_session):
    session = split_session
    label_all(session)
    session.make_map("pca").wait(60)
    session.draw().wait(60)  # what the answers asked for may still be under way
    before, labels = session.embeddings["ct"], dict(session.labels)
    changed = []
    session.encoders_changed.connect(changed.append)
    given.clear()
    head, xy = session.heads["ct"], session.layouts["ct"].xy
    values = session.encoders.choose("ct", ["descriptors", "bundled"]).wait(60)
    assert session.heads["ct"] is not head and session.layouts["ct"].xy is not xy  # learnt and drawn anew
    known = session.embeddings["ct"]
    assert len(given) == N and values["encoders"] == ["descriptors", "bundled"] and "ct" in changed
    assert known.widths == (before.vectors.shape[1], 3)
    np.testing.assert_array_equal(known.block("descriptors").vectors, before.vectors)
    np.testing.assert_array_equal(session.encoders.vectors("ct", "bundled").vectors, known.vectors[:, -3:])
    assert session.labels == labels and session.heads["ct"].seeds.tolist() == known.seeds.tolist()
    session.encoders.choose("ct", ["bundled"]).wait(60)
    assert session.embeddings["ct"].vectors.shape == (N, 3) and len(given) == N  # nothing was computed again
    assert session.encoders.vectors("ct", "descriptors").vectors.shape == before.vectors.shape


def test_a_restart_keeps_the_choice(split_session, make_session):
    split_session.encoders.choose("ct", ["bundled", "descriptors"]).wait(60)
    vectors = split_session.embeddings["ct"].vectors
    split_session.close()
    session = make_session()
    assert session.encoders.chosen("ct") == ("bundled", "descriptors")
    np.testing.assert_array_equal(session.embeddings["ct"].vectors, vectors)


def test_an_undo_finds_the_vectors_of_the_mixture_again(split_session):
    split_session.encoders.choose("ct", ["descriptors", "bundled"]).wait(60)
    before, (a, b) = split_session.embeddings["ct"], split_session.seeds_of("ct")[:2]
    split_session.merge([a, b]).wait(60)
    split_session.embed().wait(60)
    split_session.undo().wait(60)
    split_session.embed().wait(60)
    after = split_session.embeddings["ct"]
    assert after.widths == before.widths and np.array_equal(after.seeds, before.seeds)
    np.testing.assert_allclose(after.vectors, before.vectors, atol=1e-4)


def test_vectors_of_former_projects_are_those_of_the_descriptors(make_session, tray, monkeypatch):
    def as_before(project, pool, block):
        project.put_arrays(f"embedding-{pool}", seed=block.seeds, vector=block.vectors, key=block.key)

    with monkeypatch.context() as former:
        former.setattr(rooms, "write_block", as_before)
        former.setattr(rooms.Encoders, "_remember", lambda self, project: None)
        session = make_session()
        session.import_scan(tray).wait(60)
        session.split().wait(60)
        session.embed().wait(60)
        session.close()
    monkeypatch.setattr(rooms, "DEFAULT", {"ct": ("bundled",)})
    given.clear()
    session = make_session()
    assert session.encoders.chosen("ct") == ("descriptors",) and len(session.embeddings["ct"].seeds) == N
    assert session.embed("ct").wait(60)["n_new"] == 0 and not given


def test_what_cannot_be_used_is_refused_and_the_choice_stays(split_session, tmp_path):
    session, encoder = split_session, split_session.encoders
    for names, words in (
        ([], "none was named"),
        (["dino"], "is none for ct seeds"),
        (["spectral"], "is none for ct seeds"),
        (["own"], "was not trained yet"),
        (["vgg16"], "has no weights yet"),
        (["hf"], "has no folder yet"),
    ):
        with pytest.raises((InputError, NotReady), match=words):
            encoder.choose("ct", names)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    (tmp_path / "config.json").write_text("{}")
    for path, words in ((tmp_path / "away", "is not there"), (tmp_path, "may run code")):
        with pytest.raises(SeedlabError, match=words):
            encoder.use_folder(path).wait(60)
    with pytest.raises(SeedlabError, match="may run code"):
        encoder.use_file(tmp_path / "pytorch_model.bin").wait(60)
    assert encoder.chosen("ct") == ("descriptors",) and session.embeddings["ct"].encoders == ("descriptors",)
    assert next(o for o in encoder.options("ct") if o.name == "hf").lacks


def test_a_folder_that_went_away_hurts_while_there_is_nothing_to_encode(split_session, tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(hidden_sizes=[8], depths=[1], embedding_size=8, layer_type="basic")
    transformers.ResNetModel(config).save_pretrained(tmp_path / "net")
    (tmp_path / "net" / "preprocessor_config.json").write_text('{"size": 32}')
    encoder = split_session.encoders
    assert encoder.use_folder(tmp_path / "net").wait(60)["length"] == 8
    encoder.choose("ct", ["descriptors", "hf"]).wait(60)
    assert split_session.embeddings["ct"].widths[1] == 8
    (tmp_path / "net").rename(tmp_path / "gone")
    assert split_session.embed().wait(60)["n_new"] == 0
    split_session.merge(split_session.seeds_of("ct")[:2]).wait(60)
    with pytest.raises(SeedlabError, match="is not there"):
        split_session.embed().wait(60)
    assert encoder.choose("ct", ["descriptors"]).wait(60)["n_seeds"] == N - 1


def test_weights_of_vgg16_are_kept_in_the_project(split_session, tmp_path):
    sizes = {"widths": (4, POOL), "n_hidden": 6, "n_cells": 2}
    torch.save(VGG16(VGG16Config(**sizes)).state_dict(), tmp_path / "v.pth")
    split_session.encoders.use_file(tmp_path / "v.pth", sizes).wait(60)
    (tmp_path / "v.pth").unlink()
    split_session.encoders.choose("ct", ["vgg16"]).wait(60)
    assert split_session.embeddings["ct"].vectors.shape == (N, 6)


def test_voxels_without_a_value_are_counted_in_one_line(make_session, tmp_path):
    volume = small_tray()[0].astype(np.float32)
    tifffile.imwrite(tmp_path / "gaps.tif", volume)
    session, told = make_session(), []
    session.message.connect(lambda level, line: told.append((level, line)))
    session.import_scan(tmp_path / "gaps.tif").wait(60)
    session.split(1, {"threshold": 80}).wait(60)
    z, y, x = (int(v) for v in np.round(session.regions(1).centroid[1]))
    volume[z, y, x : x + 3] = np.nan
    real = embedding.seed_boxes

    def with_gaps(scan, rows):
        for row, image, raster in real(scan, rows):
            z0, y0, x0 = scan.table.box[row][:3]
            image = image.copy()
            if row == 1:
                image[z - z0, y - y0, x - x0 : x - x0 + 3] = np.nan
            yield row, image, raster

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "seed_boxes", with_gaps)
        session.embed().wait(60)
    assert ("warning", "3 voxels of 1 seed have no value; the median of the seed stands for it.") in told
    assert np.isfinite(session.embeddings["ct"].vectors).all()


def test_encoders_are_compared_on_the_labels(split_session, make_session):
    with pytest.raises(NotReady, match="needs labels"):
        split_session.encoders.compare("ct", ["descriptors"]).wait(60)
    label_all(split_session)
    table = split_session.encoders.compare("ct", ["descriptors", "bundled"]).wait(60)
    assert [row["name"] for row in table["rows"]] == ["descriptors", "bundled", "descriptors + bundled"]
    assert table["n_labels"] == N and table["line"]
    assert split_session.encoders.chosen("ct") == ("descriptors",)
    assert split_session.label(split_session.seeds_of("ct")[0]).state is LabelState.LABELLED
    split_session.close()
    assert make_session().encoders.tables["ct"] == table


def test_an_own_encoder_is_taught_and_then_used(split_session, monkeypatch):
    def run(folder):
        yield from ()
        save_arrays(folder / "encoder.safetensors", x=np.zeros(1))
        from napari_seedlab.core import JobResult

        return JobResult({"n_seeds": N}, ("encoder.safetensors",))

    import napari_seedlab.learn.own_encoder as own

    monkeypatch.setattr(own, "run", run)
    monkeypatch.setitem(encoders.BY_PATH, "own", f"{__name__}:bright")
    assert split_session.encoders.own("ct").wait(60)["model"] == "own-1"
    split_session.encoders.choose("ct", ["own"]).wait(60)
    assert split_session.embeddings["ct"].encoders == ("own",)


def test_a_vector_that_was_known_is_found_though_another_job_ended_first(tmp_path):
    """The job began when seeds 10 and 20 were known; seed 5 has come since, and seed 20 was edited."""
    new = {"seed": [40, 41], "vector": np.zeros((2, 0), np.float32), "key": [4, 5], "content": [110, 120]}
    save_arrays(tmp_path / "vectors-d.npz", **new, same=[0, 1])
    seeds, content = np.asarray([5, 10, 20]), np.asarray([105, 110, 121])
    vectors = np.asarray([[5, 5], [10, 10], [20, 20]], np.float32)
    known = Embedding(seeds, vectors, seeds, content, ("d",), (2,), ("v",))
    merged = rooms._merged(known, tmp_path, "d", "v", [5, 10, 20, 40, 41])
    assert merged.seeds.tolist() == [5, 10, 20, 40]  # what 41 looks like is known no more
    np.testing.assert_array_equal(merged.vectors, [*vectors, [10, 10]])


def of_an_earlier_version(session):
    """Close a labelled project with a map, as an earlier version of the encoder would have left it."""
    label_all(session)
    session.make_map("pca").wait(60)
    session.draw().wait(60)

    def spoil(project):
        arrays = project.get_arrays("vectors-ct-descriptors")
        arrays |= {"version": np.asarray("descriptors 0 ct"), "vector": arrays["vector"][:, ::-1]}
        project.put_arrays("vectors-ct-descriptors", **arrays)
        state = project.get_state("encoders")
        project.set_state("encoders", {"chosen": state["chosen"]})
        head = project.get_arrays("head-ct") | {"model": np.asarray("of old vectors")}
        project.put_arrays("head-ct", **head)

    session.desk.do(spoil).result(60)
    vectors, labels = session.embeddings["ct"].vectors, dict(session.labels)
    session.close()
    return vectors, labels


def test_vectors_of_an_earlier_version_are_computed_anew_once_when_the_window_opens(
    split_session, make_session
):
    vectors, labels = of_an_earlier_version(split_session)
    session, given[:] = make_session(), []
    before = session.heads["ct"], session.layouts["ct"]
    np.testing.assert_array_equal(session.embeddings["ct"].vectors, vectors[:, ::-1])
    for task in session.encoders.renew():
        task.wait(60)
    assert len(given) == N and session.embeddings["ct"].versions != ("descriptors 0 ct",)
    np.testing.assert_array_equal(session.embeddings["ct"].vectors, vectors)
    assert session.heads["ct"] is not before[0] and session.layouts["ct"] is not before[1]
    assert session.labels == labels and session.encoders.renew() == []
    session.close()
    assert make_session().encoders.renew() == []


def test_the_command_computes_vectors_of_an_earlier_version_anew(split_session, make_session):
    vectors, labels = of_an_earlier_version(split_session)
    told = CliRunner().invoke(app, ["embed", str(split_session.path), "--json"])
    assert told.exit_code == 0 and json.loads(told.output.splitlines()[-1])["n_new"] == N
    session = make_session()
    np.testing.assert_array_equal(session.embeddings["ct"].vectors, vectors)
    assert session.labels == labels and session.heads["ct"].model_id != "of old vectors"
    assert session.encoders.renew() == []
