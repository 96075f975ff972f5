import numpy as np
import pytest
import torch

from napari_seedlab import files
from napari_seedlab.core import InputError, JobRequest
from napari_seedlab.learn import net, training, transfer
from napari_seedlab.learn.head import Head, fit_head, load_head, pool_scaler, save_head
from napari_seedlab.learn.round import Answers, RoundSettings, labelling_round
from napari_seedlab.learn.transfer import choose_hold, domain_of, mapped

NAMES = {1: "sound", 2: "hollow", 3: "split"}
IDS = (1, 2, 3)


def seeds(n, random_state, at=0.0, unit=1.0):
    """Vectors of three classes, as another scanner would give them: moved by `at`, in another unit."""
    rng = np.random.default_rng(random_state)
    class_of = rng.integers(1, 4, n)
    x = rng.normal(0, 1, (n, 12))
    x[:, :3] += 4 * np.eye(3)[class_of - 1]
    return (at + unit * x).astype(np.float32), class_of


@pytest.fixture
def earlier():
    x, y = seeds(120, 0)
    return fit_head(x, y, IDS, pool_scaler(x))


def test_a_mapped_head_says_the_same_of_the_same_vectors(earlier):
    x, _ = seeds(80, 1, at=0.3, unit=1.2)  # few entries so far out that they are clipped
    scheme = {7: "split", 1: "sound", 2: "hollow", 9: "new"}
    head = mapped(earlier, NAMES, tuple(scheme), scheme, pool_scaler(x))
    same = np.isclose(head.logits(x)[:, [1, 2, 0]], earlier.logits(x)).all(axis=1)
    assert same.mean() > 0.9
    assert head.n_labels == (0, 0, 0, 0) and head.n_behind.tolist()[3] == 0
    p = head.probabilities(x)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    assert (p[:, 3] < p[:, :3].max(1)).all()


@pytest.mark.parametrize(
    ("names", "width", "line"),
    [({1: "wheat", 2: "oat", 3: "rye"}, 12, "knows other classes"), (NAMES, 11, "vectors of 12 entries")],
    ids=["other classes", "other width"],
)
def test_what_cannot_be_mapped_is_refused_in_one_line(earlier, names, width, line):
    with pytest.raises(InputError, match=line):
        mapped(earlier, NAMES, IDS, names, (np.zeros(width), np.ones(width)))


def test_a_good_start_is_held_on_to_and_a_bad_one_dropped(earlier):
    x, y = seeds(20, 2)
    scaler = pool_scaler(x)
    good = mapped(earlier, NAMES, IDS, NAMES, scaler)
    bad = mapped(earlier, NAMES, IDS, {1: "hollow", 2: "split", 3: "sound"}, scaler)
    assert choose_hold(x, y, IDS, scaler, good, 0) > 0
    assert choose_hold(x, y, IDS, scaler, bad, 0) == 0


def accuracy(result, fresh, truth):
    return float((result.head.probabilities(fresh).argmax(1) + 1 == truth).mean())


def test_rounds_begin_with_the_earlier_model_and_end_without_a_bad_one(earlier):
    (x, y), (fresh, truth) = seeds(200, 3, at=0.3), seeds(300, 4, at=0.3)
    ids, settings = np.arange(200), RoundSettings(IDS, n=5, random_state=0)
    good = mapped(earlier, NAMES, IDS, NAMES, pool_scaler(x))
    bad = mapped(earlier, NAMES, IDS, {1: "hollow", 2: "split", 3: "sound"}, pool_scaler(x))
    first = labelling_round(ids, x, Answers.none(), settings, prior=good)
    assert accuracy(first, fresh, truth) > 0.9 and first.values["from_origin"]
    assert len(first.suggestions) == 5
    answers = Answers(ids[:12], y[:12].astype(np.int32), np.zeros(12))
    plain, kept, misled = (labelling_round(ids, x, answers, settings, prior=p) for p in (None, good, bad))
    assert accuracy(kept, fresh, truth) >= accuracy(plain, fresh, truth)
    assert (
        accuracy(misled, fresh, truth) == accuracy(plain, fresh, truth) and not misled.values["from_origin"]
    )


def test_a_class_that_only_the_earlier_project_met_stays_known(earlier):
    x, y = seeds(60, 5)
    some = np.flatnonzero(y != 3)[:15]
    good = mapped(earlier, NAMES, IDS, NAMES, pool_scaler(x))
    head = fit_head(x[some], y[some], IDS, pool_scaler(x), prior=good, hold=10.0)
    assert head.n_labels[2] == 0
    assert (head.probabilities(x[y == 3]).argmax(1) == 2).mean() > 0.8


def test_a_saved_head_remembers_what_it_started_from(earlier, tmp_path):
    x, y = seeds(30, 6)
    good = mapped(earlier, NAMES, IDS, NAMES, pool_scaler(x))
    head = fit_head(x, y, IDS, pool_scaler(x), prior=good)
    save_head(head, tmp_path / "head.safetensors")
    again = load_head(tmp_path / "head.safetensors")
    assert again.n_prior == head.n_prior == (good.n_behind[0], good.n_behind[1], good.n_behind[2])
    np.testing.assert_array_equal(again.probabilities(x), head.probabilities(x))


def test_few_seeds_of_the_same_lot_lie_outside_and_nearly_all_of_another_one():
    (x, _), (same, _) = seeds(300, 7), seeds(300, 8)
    domain = domain_of(x)
    assert domain.is_outside(same).mean() <= 0.05
    assert domain.is_outside(same + 2.5).mean() >= 0.9
    with pytest.raises(InputError, match="has 9 seeds"):
        domain_of(x[:9])


def write_earlier(folder, start=None):
    x, y = seeds(60, 9)
    entry = {"pool": "ct", "class_ids": list(IDS), "classes": list(NAMES.values())}
    request = JobRequest("o", "transfer:run", {"pools": [entry]})
    files.write_json(folder / "request.json", request.to_json())
    files.save_arrays(folder / "embedding-ct.npz", vector=x)
    rows = np.arange(30 if start is None else 0)
    files.save_arrays(folder / "labels-ct.npz", row=rows, class_id=y[rows], inclusion_p=np.zeros(len(rows)))
    if start is not None:
        names = np.asarray([NAMES[c] for c in start.class_ids])
        files.save_arrays(folder / "start-ct.npz", **transfer.head_columns(start), names=names)
    return x, y


@pytest.mark.parametrize("is_passed_on", [True, False], ids=["passed on", "fitted there and then"])
def test_the_job_gives_a_head_and_a_domain(earlier, tmp_path, is_passed_on):
    x, y = write_earlier(tmp_path, earlier if is_passed_on else None)
    *_, result = _drained(transfer.run(tmp_path))
    assert result.files == ("prior-ct.npz", "domain-ct.npz")
    arrays = files.load_arrays(tmp_path / "prior-ct.npz")
    names = np.asarray(["split", "hollow", "sound"])[arrays["class_ids"] - 1]
    files.save_arrays(tmp_path / "prior.npz", **arrays, names=names)
    head = transfer.read_prior(tmp_path / "prior.npz", IDS, ("split", "hollow", "sound"), x)
    assert (head.probabilities(x).argmax(1) + 1 == y).mean() > 0.9
    if is_passed_on:
        np.testing.assert_array_equal(arrays["n_behind"], earlier.n_labels)


def _drained(job):
    steps = []
    while True:
        try:
            steps.append(next(job))
        except StopIteration as end:
            return [*steps, end.value]


def test_a_network_starts_from_the_filters_that_fit(tmp_path):
    settings = net.NetSettings(widths=(4, 8))
    old = net.new_model(settings, 3, 1)
    training.save_model(tmp_path / "net-ct.safetensors", old, {"class_ids": [1, 2, 3]})
    columns = transfer.net_columns(tmp_path / "net-ct.safetensors")
    names = {"names": np.asarray(["sound", "hollow", "split"]), "wanted": np.asarray(["new", "sound"])}
    files.save_arrays(tmp_path / "start.npz", **columns, **names)
    fresh = net.new_model(settings, 2, 5)
    new = net.started(net.new_model(settings, 2, 5), tmp_path)
    for name, weight in old.blocks.state_dict().items():
        assert torch.equal(new.blocks.state_dict()[name], weight)
    assert torch.equal(new.head.weight[1], old.head.weight[0])
    assert torch.equal(new.head.weight[0], fresh.head.weight[0])
    wider = net.NetSettings(widths=(4, 16))
    other = net.started(net.new_model(wider, 2, 5), tmp_path)
    assert torch.equal(other.head.weight, net.new_model(wider, 2, 5).head.weight)


def test_a_head_of_plain_columns_counts_all_answers(earlier):
    head = Head(**{**vars(earlier), "n_prior": (1, 1, 1)})
    assert transfer.head_columns(head)["n_behind"].tolist() == [n + 1 for n in earlier.n_labels]


@pytest.mark.slow
def test_an_earlier_tray_saves_most_labels_and_never_harms():
    from benchmarks.origin import one_state, summary

    told = summary([one_state(state, ("descriptors",), "true") for state in range(5)])
    assert told["labels_to_scratch_at_the_end"] <= 0.4 * 150
    assert told["worst_difference_of_means"] >= -0.01
    assert max(told["outside"]["same"]) <= 0.05
    assert min(told["outside"]["inverted"]) >= 0.9
