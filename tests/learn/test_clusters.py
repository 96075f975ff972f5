import numpy as np
import pytest

from napari_seedlab.imaging.features import GreyLevels, describe_seed
from napari_seedlab.learn import clusters
from napari_seedlab.learn.clusters import cluster, silhouette
from napari_seedlab.learn.head import pool_scaler, scaled


def blobs(n=240, k=6, d=10, spread=1.0):
    rng = np.random.default_rng(0)
    group = np.arange(n) % k
    return 7 * np.eye(d)[group] + rng.normal(0, spread, (n, d)), group


def toy_seeds(n_each=40):
    """Descriptors of balls that are sound, hollow, dense inside or long."""
    rng = np.random.default_rng(0)
    places = np.moveaxis(np.indices((25, 25, 25)), 0, -1) - 12.0
    rows, kinds = [], np.repeat(np.arange(4), n_each)
    for kind in kinds:
        axes = rng.uniform(8.5, 10, 3) * ([1.15, 0.6, 0.6] if kind == 3 else [1, 1, 1])
        mask = np.square(places / axes).sum(-1) <= 1
        image = np.where(mask, 120.0 * rng.uniform(0.9, 1.1), 20.0)
        if kind in (1, 2):
            spot = np.square(places - rng.uniform(-3, 3, 3)).sum(-1) <= rng.uniform(2.5, 3.5) ** 2
            image[spot] = 25.0 if kind == 1 else 200.0
        rows.append(describe_seed(image + rng.normal(0, 4, image.shape), mask, GreyLevels(20, 120)))
    return np.asarray(rows), kinds


def test_silhouette_is_that_of_scikit_learn():
    from sklearn.metrics import silhouette_score

    x, group = blobs(spread=4.0)
    assert silhouette(x, group) == pytest.approx(silhouette_score(x, group), abs=1e-4)
    assert silhouette(x, np.zeros(240, int)) == -1.0


@pytest.mark.parametrize("limit", [4000, 100], ids=["ward", "k-means"])
def test_the_number_of_groups_is_found(limit, monkeypatch):
    from sklearn.metrics import adjusted_rand_score

    monkeypatch.setattr(clusters, "MAX_WARD", limit)
    x, group = blobs()
    found = cluster(x)
    assert abs(int(found.max()) + 1 - 6) <= 2
    assert adjusted_rand_score(group, found) >= 0.7


def test_a_wanted_number_is_given_largest_first():
    x, _ = blobs()
    found = cluster(x[:200], 5)
    sizes = np.bincount(found)
    assert len(sizes) == 5 and (np.diff(sizes) <= 0).all()


def test_equal_input_gives_equal_groups():
    x, _ = blobs(spread=3.0)
    np.testing.assert_array_equal(cluster(x, None, 1), cluster(x, None, 1))


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_seeds_are_one_group(n):
    assert cluster(np.ones((n, 4))).tolist() == [0] * n


def test_groups_of_toy_seeds_are_pure():
    from sklearn.metrics import adjusted_rand_score

    rows, kinds = toy_seeds()
    x = scaled(rows, *pool_scaler(rows))
    found = cluster(x, 12)
    purity = sum(np.bincount(kinds[found == g]).max() for g in np.unique(found)) / len(kinds)
    assert purity >= 0.9
    proposed = cluster(x)
    assert abs(int(proposed.max()) + 1 - 4) <= 2
    assert adjusted_rand_score(kinds, proposed) >= 0.7
