import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from napari_seedlab.core import InputError
from napari_seedlab.learn import evaluate
from napari_seedlab.learn.evaluate import auc_interval, average_precision, roc_auc


def drawn(n=300, shift=1.0, seed=0, share=0.2, levels=0):
    rng = np.random.default_rng(seed)
    is_odd = rng.random(n) < share
    scores = rng.normal(size=n) + shift * is_odd
    return (np.round(scores * levels) if levels else scores), is_odd


@pytest.mark.parametrize("levels", [0, 1, 4])
@pytest.mark.parametrize("seed", range(5))
def test_the_figures_are_those_of_sklearn(seed, levels):
    scores, is_odd = drawn(seed=seed, levels=levels)
    assert roc_auc(scores, is_odd) == pytest.approx(roc_auc_score(is_odd, scores), abs=1e-12)
    precision = average_precision_score(is_odd, scores)
    assert average_precision(scores, is_odd) == pytest.approx(precision, abs=1e-12)


def test_known_values():
    truth = [0, 0, 1, 1]
    assert (roc_auc([1, 2, 3, 4], truth), roc_auc([4, 3, 2, 1], truth), roc_auc([5, 5, 5, 5], truth)) == (
        1,
        0,
        0.5,
    )
    assert average_precision([1, 2, 3, 4], truth) == 1 and average_precision([5, 5, 5, 5], truth) == 0.5


def test_maps_and_whole_numbers_are_taken_too():
    scores, is_odd = drawn(levels=10)
    as_map = scores.reshape(15, 20).astype(np.int16), is_odd.reshape(15, 20).astype(np.uint8)
    assert roc_auc(*as_map) == roc_auc(scores, is_odd)


def test_a_large_map_does_not_overflow():
    scores, is_odd = drawn(2_000_000, share=0.5)
    assert roc_auc(scores, is_odd) == pytest.approx(0.760, abs=0.002)  # Φ(1/√2)


@pytest.mark.parametrize("limit", [evaluate.MAX_BOOTSTRAP, 10])  # bootstrap, and DeLong
def test_the_interval_covers_the_true_area(limit, monkeypatch):
    monkeypatch.setattr(evaluate, "MAX_BOOTSTRAP", limit)
    covered, widths = 0, []
    for seed in range(200):
        low, high = auc_interval(*drawn(120, seed=seed, share=0.3), random_state=seed, n=200)
        covered += low <= 0.7602 <= high
        widths.append(high - low)
    assert 0.90 <= covered / 200 <= 0.985
    assert 0.12 < np.mean(widths) < 0.25


@pytest.mark.parametrize("limit", [1, 20_000], ids=["DeLong", "bootstrap"])
def test_a_perfect_area_of_few_values_is_not_certain(limit, monkeypatch):
    monkeypatch.setattr("napari_seedlab.learn.evaluate.MAX_BOOTSTRAP", limit)
    scores, is_odd = np.arange(12.0), np.arange(12) >= 9
    low, high = auc_interval(scores, is_odd, 0)
    assert high == 1.0 and low**3 == pytest.approx(0.025)  # three pairs won by luck as rarely as that
    assert auc_interval(-scores, is_odd, 0) == (0.0, pytest.approx(1 - low))


def test_both_intervals_agree(monkeypatch):
    case = drawn(4000)
    bootstrap = auc_interval(*case, random_state=0)
    monkeypatch.setattr(evaluate, "MAX_BOOTSTRAP", 10)
    np.testing.assert_allclose(auc_interval(*case, random_state=0), bootstrap, atol=0.003)


def test_delong_is_that_of_the_paper():
    """Placement by placement, as the paper writes it."""
    scores, is_odd = drawn(80, levels=3)
    odd, usual = scores[is_odd], scores[~is_odd]
    psi = (odd[:, None] > usual).astype(float) + 0.5 * (odd[:, None] == usual)
    error = np.sqrt(psi.mean(1).var(ddof=1) / len(odd) + psi.mean(0).var(ddof=1) / len(usual))
    assert evaluate._delong_error(*evaluate._tally(scores, is_odd)) == pytest.approx(error, rel=1e-9)


def test_the_same_random_state_gives_the_same_interval():
    case = drawn()
    assert auc_interval(*case, random_state=3, n=50) == auc_interval(*case, random_state=3, n=50)
    assert auc_interval(*case, random_state=3, n=50) != auc_interval(*case, random_state=4, n=50)


@pytest.mark.parametrize("figure", [roc_auc, average_precision, lambda s, t: auc_interval(s, t, 0)])
@pytest.mark.parametrize(
    ("scores", "truth", "words"),
    [
        ([1.0, np.nan, 2.0], [0, 1, 0], "1 NaN"),
        ([1.0, np.inf, 2.0], [0, 1, 0], "infinite"),
        ([1.0, 2.0], [1, 1], "2 odd and 0 usual"),
        ([1.0, 2.0], [0, 0], "0 odd and 2 usual"),
        ([], [], "0 odd and 0 usual"),
        ([1.0, 2.0], [0, 1, 0], "shape"),
        ([1.0, 2.0, 3.0], [0, 1, 2], "other values"),
        (["a", "b"], [0, 1], "not real numbers"),
    ],
)
def test_what_has_no_figure_is_refused_in_one_line(figure, scores, truth, words):
    with pytest.raises(InputError, match=words) as caught:
        figure(np.array(scores), np.array(truth))
    assert "\n" not in str(caught.value)


def test_no_samples_are_refused():
    with pytest.raises(InputError, match="0 bootstrap samples"):
        auc_interval(*drawn(), random_state=0, n=0)
