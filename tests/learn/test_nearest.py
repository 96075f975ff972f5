import numpy as np

from napari_seedlab.learn import nearest

X = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
COLUMNS = np.array([0, 0, 1, 1, 1, 0])


def test_neighbours_vote_out_of_fold(monkeypatch):
    folds = np.array([0, 1, 2, 0, 1, 2])
    assert nearest.nearest_votes(X, COLUMNS, folds).tolist() == [0, 0, 0, 1, 1, 1]
    monkeypatch.setattr(nearest, "BLOCK", 2)
    assert nearest.nearest_votes(X, COLUMNS, folds).tolist() == [0, 0, 0, 1, 1, 1]


def test_one_neighbour_is_the_nearest_other_row():
    rng = np.random.default_rng(0)
    x, columns = rng.normal(size=(60, 4)), rng.integers(0, 3, 60)
    far = np.square(x[:, None] - x).sum(2) + np.diag(np.full(60, np.inf))
    found = nearest.nearest_votes(x, columns, np.arange(60), n=1)
    assert found.tolist() == columns[far.argmin(1)].tolist()


def test_a_level_vote_goes_to_the_nearer_one():
    x, columns = np.array([[0.0], [1.0], [-2.0]]), np.array([0, 1, 0])
    assert nearest.nearest_votes(x, columns, np.arange(3), n=2)[0] == 1
