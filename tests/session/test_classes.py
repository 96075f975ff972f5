"""The class scheme edited: ids stay, labels stay, and everything follows."""

import csv

import pytest

from napari_seedlab.core import GRAIN_SCHEME, ClassScheme, InputError, LabelState, SeedClass, SeedlabError


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.with_class("Dead"), "class 'dead': is there already"),
        (lambda s: s.changed(1, name="abnormal "), "class 'abnormal': is there already"),
        (lambda s: s.changed(1, key="2"), "key 2: belongs to 'abnormal' already"),
        (lambda s: s.changed(1, key="0"), "key '0': is no digit from 1 to 9"),
        (lambda s: s.changed(1, color="#E69F00"), "#E69F00: is the colour of 'abnormal' already"),
        (lambda s: s.changed(1, color="red"), "Write #rrggbb"),
        (lambda s: s.changed(1, name=" "), "has no name"),
        (lambda s: s.without(4).with_class("foreign"), "is hidden; restore it"),
    ],
)
def test_what_two_people_could_mix_up_is_refused_in_one_line(change, said):
    with pytest.raises(InputError) as refused:
        change(GRAIN_SCHEME)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_ids_are_never_given_twice_and_keys_are_free_again():
    scheme = GRAIN_SCHEME.without(4).with_class("mouldy")
    assert [(c.id, c.key, c.hidden) for c in scheme] == [
        (1, "1", False), (2, "2", False), (3, "3", False), (4, "", True), (5, "4", False),
    ]  # fmt: skip
    assert scheme.by_id(5).color not in {c.color for c in scheme.active if c.id != 5}
    assert scheme.with_again(4).by_id(4).key == "5"
    nine = scheme
    for i in range(6):
        nine = nine.with_class(f"kind {i}")
    assert nine.by_name("kind 5").key == ""  # no digit is left: it is answered by its button
    only = ClassScheme("grain", (SeedClass(1, "seed", "#000000", "1"),))
    with pytest.raises(InputError, match="only one"):
        only.without(1)


def test_labels_outlive_rename_and_hiding(split_session, make_session, tmp_path):
    session, told = split_session, []
    session.scheme_changed.connect(lambda: told.append([c.name for c in session.scheme.active]))
    for seed, said in ((1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (6, 4)):
        session.answer(said, [seed])
    session.classes.rename(2, "weak").wait(60)
    session.classes.hide(4).wait(60)
    session.classes.add("mouldy").wait(60)
    assert told[-1] == ["normal", "weak", "dead", "mouldy"]
    assert session.label(5).class_id == 4 and session.counts()[4] == 2
    session.refit().wait(60)
    assert session.predictions.class_ids == (1, 2, 3, 5)  # a hidden class is not predicted
    session.export(tmp_path / "out").wait(60)
    text = (tmp_path / "out" / "labels.csv").read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert {r["seed"]: r["class"] for r in rows if int(r["seed"]) <= 6} == {
        "1": "normal", "2": "normal", "3": "weak", "4": "weak", "5": "foreign", "6": "foreign",
    }  # fmt: skip
    session.close()
    again = make_session(session.path)
    assert [c.name for c in again.scheme.active] == ["normal", "weak", "dead", "mouldy"]
    assert again.label(5).class_id == 4 and again.predictions.class_ids == (1, 2, 3, 5)
    again.classes.restore(4).wait(60)
    assert again.scheme.by_id(4).key == "5"  # 4 is taken by now
    again.undo().wait(60)  # an edit of labels, not of classes
    assert again.label(6).state is LabelState.NONE and not again.scheme.by_id(4).hidden


def test_a_class_that_could_not_be_saved_is_not_shown(split_session, monkeypatch):
    session = split_session
    project = session.desk.do(lambda p: p).result()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(project, "set_scheme", full)
    with pytest.raises(SeedlabError, match="No space"):
        session.classes.add("mouldy").wait(60)
    assert session.scheme == GRAIN_SCHEME
