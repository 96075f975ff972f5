"""A project that starts from another one."""

import json

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_seedlab.cli.main import app
from napari_seedlab.core import ClassScheme, ModelCard, ProjectError, SeedClass, SeedlabError
from napari_seedlab.files import save_arrays
from napari_seedlab.imaging.features import descriptor_names
from napari_seedlab.learn.transfer import read_prior
from napari_seedlab.session import Session, encoders
from napari_seedlab.session.origin import PRIOR, _vectors, scheme_after
from napari_seedlab.session.steps import net_step
from napari_seedlab.store import Project
from tests.session.conftest import is_hollow, settle, small_tray

SHIPPED = dict(encoders.DEFAULT)  # before a fixture makes it shorter


def scheme(**names):
    classes = [SeedClass(i, name, "#009e73", str(n + 1)) for n, (name, i) in enumerate(names.items())]
    return ClassScheme("grain", tuple(classes))


def write_tray(path, random_state, factor=1.0):
    volume, _ = small_tray(random_state)
    tifffile.imwrite(path, (volume * factor + 10 * (factor != 1)).astype(np.uint8))
    return path


def prepared(session, path):
    session.import_scan(path).wait(60)
    session.split().wait(60)
    session.embed().wait(60)


def label(session, seeds, wrong=False):
    hollow = [seed for seed in seeds if is_hollow(session, seed) != wrong]
    session.answer(2, hollow)
    session.answer(1, set(seeds) - set(hollow))
    settle(session)


@pytest.fixture
def earlier(make_session, tmp_path):
    """A project with 14 labels, still open for writing."""
    session = make_session(tmp_path / "old.seedlab")
    prepared(session, write_tray(tmp_path / "old.tif", 0))
    label(session, session.seeds_of("ct")[:14])
    return session


def n_right(session):
    shown = session.predictions
    return sum((b == 2) == is_hollow(session, int(s)) for s, b in zip(shown.seeds, shown.best, strict=True))


def test_seeds_are_predicted_before_any_label_and_a_bad_start_is_dropped(earlier, make_session, tmp_path):
    session = make_session(tmp_path / "new.seedlab")
    taken = session.origin.start_from(earlier.path).wait(60)
    assert taken["taken"] == ["class scheme", "model of 14 ct labels", "ct split recipe"]
    assert session.origin.told_in_json("image")["origin"]["model"], (
        "the two disagree where no scan is open yet"
    )
    prepared(session, write_tray(tmp_path / "new.tif", 1, factor=0.8))
    session.refit().wait(60)
    assert session.predictions.model_id.endswith("-from-old")
    assert n_right(session) >= 23
    assert "(14 labels) predicts these seeds" in session.origin.line("ct")
    label(session, session.seeds_of("ct")[:10], wrong=True)
    session.refit().wait(60)
    assert "is not used any more" in session.origin.line("ct")
    session.close()
    again = make_session(session.path)
    assert "is not used any more" in again.origin.line("ct")


def test_labels_keep_their_classes_and_names_bring_classes_together(earlier, make_session, tmp_path):
    target = tmp_path / "own.seedlab"
    Project.create(target, grain=scheme(dead=1, abnormal=2, normal=5)).close()
    session = make_session(target)
    prepared(session, write_tray(tmp_path / "own.tif", 1))
    session.answer(5, session.seeds_of("ct")[:1])
    settle(session)
    before = session.scheme
    assert session.origin.start_from(earlier.path).wait(60)["taken"][0] == "model of 14 ct labels"
    settle(session)
    session.refit().wait(60)
    assert session.scheme == before
    shown = session.predictions
    said = {True: 2, False: 5}
    right = [said[is_hollow(session, int(s))] == b for s, b in zip(shown.seeds, shown.best, strict=True)]
    assert np.mean(right) > 0.9


def test_their_ids_are_kept_where_they_are_free():
    ours, theirs = scheme(normal=1, dead=2), scheme(dead=1, cracked=2, mould=7)
    past = {c.id: c for c in scheme(normal=1, dead=2, cracked=3)}
    after = scheme_after(theirs, ours, past)
    assert {c.name: c.id for c in after} == {"dead": 2, "cracked": 8, "mould": 7}
    after = scheme_after(theirs, ours, past, used={1, 3})
    assert {c.name: c.id for c in after} == {"dead": 2, "cracked": 3, "mould": 7, "normal": 1}
    assert [c.name for c in after.active] == ["dead", "cracked", "mould"]


def test_what_it_brings_knows_the_corrected_answers(earlier, make_session, tmp_path):
    earlier.draw().wait(60)  # keeps a head of the answers so far
    label(earlier, earlier.seeds_of("ct")[:14], wrong=True)
    session = make_session(tmp_path / "new.seedlab")
    session.origin.start_from(earlier.path).wait(60)
    arrays = session.desk.do(lambda project: project.get_arrays("origin-ct")).result()
    save_arrays(tmp_path / "prior.npz", **{key: arrays[key] for key in PRIOR})
    known = earlier.embeddings["ct"]
    names = [c.name for c in session.scheme]
    head = read_prior(tmp_path / "prior.npz", session.scheme.ids, names, known.vectors)
    said = np.asarray(head.class_ids)[head.probabilities(known.vectors).argmax(1)]
    right = [(c == 2) != is_hollow(earlier, int(s)) for s, c in zip(known.seeds, said, strict=True)]
    assert np.mean(right) > 0.9


def test_a_model_is_passed_on_by_a_project_without_labels(earlier, make_session, tmp_path):
    between, last = (make_session(tmp_path / f"{name}.seedlab") for name in ("between", "last"))
    between.origin.start_from(earlier.path).wait(60)
    prepared(between, write_tray(tmp_path / "new.tif", 1))
    last.origin.start_from(between.path).wait(60)
    assert last.origin.facts["pools"]["ct"]["has_model"]


def test_a_network_is_compared_with_the_live_model_that_began_with_the_earlier_one(
    earlier, make_session, tmp_path
):
    session, folder = make_session(tmp_path / "new.seedlab"), tmp_path / "job"
    session.origin.start_from(earlier.path).wait(60)
    prepared(session, write_tray(tmp_path / "new.tif", 1))
    folder.mkdir()
    session.labelling.spreads = frozenset({"ct"})
    params = session.desk.do(lambda project: net_step(session, "ct", {}).prepare(project, folder)).result(60)
    assert (folder / "prior.npz").is_file() and params["semi_supervised"]
    assert params["class_names"] == [c.name for c in session.scheme.active]


def test_vectors_from_before_there_were_encoders_are_the_descriptors(monkeypatch):
    class Former:
        def get_state(self, name):
            return None

        def get_arrays(self, name):
            vectors = np.zeros((30, len(descriptor_names("ct"))), np.float32)
            known = {"seed": np.arange(30), "vector": vectors, "key": np.arange(30)}
            return known if name == "embedding-ct" else None

    monkeypatch.setattr(encoders, "DEFAULT", SHIPPED)
    names, _, seeds, _, _ = _vectors(Former(), "ct")
    assert names == ["descriptors"] and len(seeds) == 30


def test_volumes_begin_with_the_encoders_that_are_shipped_for_them(monkeypatch, make_session, tray):
    monkeypatch.setattr(encoders, "DEFAULT", SHIPPED)
    session = make_session()
    prepared(session, tray)
    known = session.embeddings["ct"]
    assert known.encoders == SHIPPED["ct"] == ("descriptors", "bundled")
    assert known.widths[0] == len(descriptor_names("ct")) and known.vectors.shape == (25, sum(known.widths))
    assert (known.block("bundled").vectors.std(axis=0) > 0).any()


@pytest.fixture
def good_and_bad(tmp_path):
    """A project of two classes that nobody else has."""
    Project.create(tmp_path / "p1.seedlab", grain=scheme(good=5, bad=6)).close()
    return tmp_path / "p1.seedlab"


def test_an_answer_that_was_taken_back_can_be_given_again(good_and_bad, split_session):
    session, seed = split_session, split_session.seeds_of("ct")[0]
    session.answer(2, [seed])
    settle(session)
    session.undo().wait(60)
    session.origin.start_from(good_and_bad).wait(60)
    session.redo().wait(60)
    assert [c.name for c in session.scheme.active] == ["good", "bad"]
    assert session.scheme.by_id(2).hidden and session.label(seed).class_id == 2
    assert session.counts()[2] == 1


def test_predictions_of_classes_that_are_gone_do_not_come_back(good_and_bad, split_session, make_session):
    session, seeds = split_session, split_session.seeds_of("ct")
    label(session, seeds[:8])
    session.refit().wait(60)
    assert session.predictions is not None
    for _ in range(2):
        session.undo().wait(60)
    session.origin.start_from(good_and_bad).wait(60)
    assert not session.heads
    session.close()
    assert not make_session(session.path).heads


def test_without_a_label_nothing_is_predicted(split_session, make_session):
    session, seeds = split_session, split_session.seeds_of("ct")
    label(session, seeds[:8])
    session.refit().wait(60)
    session.answer(None, seeds[:8])
    settle(session)
    session.refit().wait(60)
    assert session.predictions is None and not session.head_report
    session.close()
    assert make_session(session.path).predictions is None


def test_other_channels_bring_the_classes_only(earlier, make_session, tmp_path):
    session = make_session(tmp_path / "new.seedlab")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 30, 30), np.uint8))
    session.import_scan(tmp_path / "a.tif").wait(60)
    session.origin.start_from(earlier.path).wait(60)
    session.origin.facts["pools"]["ct"]["bands"] = 60  # as if those were cubes
    line = session.origin.line("ct")
    assert (
        line == "Started from old, which gave the class scheme only: its scans have 60 bands, these have 1."
    )
    assert not session.origin.serves("ct") and session.origin.recipe(1) == {}


def test_vectors_of_another_version_name_the_command_that_mends_them(earlier, make_session, tmp_path):
    def spoil(project):
        arrays = project.get_arrays("vectors-ct-descriptors")
        project.put_arrays("vectors-ct-descriptors", **arrays | {"version": np.asarray("descriptors 0 ct")})

    earlier.desk.do(spoil).result(60)
    session = make_session(tmp_path / "new.seedlab")
    session.origin.start_from(earlier.path).wait(60)
    prepared(session, write_tray(tmp_path / "new.tif", 1))
    assert "run seedlab embed on both projects" in session.origin.line("ct")
    earlier.close()
    assert run("embed", earlier.path)[0] == 0
    session.origin.start_from(earlier.path).wait(60)
    assert session.origin.serves("ct")


@pytest.mark.parametrize("wrong", ["itself", "no project"])
def test_what_cannot_be_started_from_is_refused(earlier, tmp_path, wrong):
    before = earlier.scheme
    path = earlier.path if wrong == "itself" else tmp_path
    with pytest.raises(SeedlabError) as refused:
        earlier.origin.start_from(path).wait(60)
    assert "\n" not in str(refused.value) and str(refused.value).endswith(".")
    assert earlier.scheme == before and not earlier.origin.facts


def test_a_project_that_is_only_read_takes_nothing(earlier, make_session, tmp_path):
    other = make_session(tmp_path / "p.seedlab")
    with (
        Session.open(earlier.path, read_only=True) as reader,
        pytest.raises(ProjectError, match="read-only"),
    ):
        reader.origin.start_from(other.path)


def run(*words):
    result = CliRunner().invoke(app, [str(w) for w in words])
    lines = result.output.strip().splitlines()
    return result.exit_code, lines


def test_the_command_starts_from_a_project_and_tells_of_it(earlier, tmp_path):
    new = tmp_path / "new.seedlab"
    code, lines = run("new", new, "--start-from", earlier.path, "--json")
    assert code == 0 and json.loads(lines[-1])["from"] == "old"
    write_tray(tmp_path / "dark.tif", 1)
    volume = 255 - tifffile.imread(tmp_path / "dark.tif")
    tifffile.imwrite(tmp_path / "dark.tif", volume)
    (tmp_path / "recipe.json").write_text('{"dark_objects": true}')
    run("import", new, tmp_path / "dark.tif")
    run("split", new, "--recipe", tmp_path / "recipe.json")
    told = json.loads(run("embed", new, "--json")[1][-1])["origin"]
    assert told["is_shifted"] and told["share_outside"] == 1.0
    assert told["line"].startswith("100 % of these seeds look unlike those of old")
    told = json.loads(run("predict", new, "--to", tmp_path / "p.csv", "--json")[1][-1])
    assert told["rows"] == 25 and told["model"].endswith("-from-old")
    code, lines = run("new", tmp_path / "none.seedlab", "--start-from", tmp_path / "nowhere")
    assert code == 1 and not (tmp_path / "none.seedlab").exists()


@pytest.mark.slow
def test_an_encoder_that_was_taught_comes_along(earlier, make_session, tmp_path):
    from napari_seedlab.learn.bundled import bundled_path

    def register(project):
        card = ModelCard("own-1", "own", project.now(), (), "", config={"pool": "ct"})
        project.register_model(card, {"encoder.safetensors": bundled_path("volume")})
        earlier.reload_models(project)

    earlier.desk.do(register).result(60)
    earlier.encoders.choose("ct", ["descriptors", "own"]).wait(200)
    session = make_session(tmp_path / "new.seedlab")
    assert "ct encoder own" in session.origin.start_from(earlier.path).wait(60)["taken"]
    settle(session)
    prepared(session, write_tray(tmp_path / "new.tif", 1))
    session.refit().wait(60)
    assert session.embeddings["ct"].versions == earlier.embeddings["ct"].versions
    assert session.origin.serves("ct") and n_right(session) >= 23
