import numpy as np
import pytest

from napari_seedlab.core import InputError, JobRequest
from napari_seedlab.files import load_arrays, save_arrays, write_json
from napari_seedlab.learn import layout
from napari_seedlab.learn.layout import (
    align,
    nearest,
    pca_layout,
    place_new,
    principal,
    run,
    similarity,
    start_from,
    tsne_layout,
    umap_layout,
)


def blobs(n=240, d=12, k=4, random_state=0):
    rng = np.random.default_rng(random_state)
    group = np.arange(n) % k
    return (8 * np.eye(d)[group] + rng.normal(size=(n, d))).astype(np.float32), group


def turned(xy, angle=0.7, scale=3.0, shift=(5, -2), mirror=True):
    turn = np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    out = xy @ turn * scale + shift
    return (out * [-1, 1] if mirror else out).astype(np.float32)


def drain(job):
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value


def test_components_are_those_of_scikit_learn():
    from sklearn.decomposition import PCA

    x, _ = blobs()
    peer = PCA(3).fit_transform(x)
    own = principal(x, 3)
    np.testing.assert_allclose(np.abs(own), np.abs(peer), atol=1e-3)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_few_seeds_have_a_map(n):
    x = np.random.default_rng(0).normal(size=(n, 3))
    assert pca_layout(x).shape == (n, 2)
    assert umap_layout(x[:3], np.zeros((min(n, 3), 2), np.float32)).shape == (min(n, 3), 2)


def test_neighbours_are_exact(monkeypatch):
    monkeypatch.setattr(layout, "BLOCK", 32)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(70, 5)), rng.normal(size=(90, 5))
    d = np.sqrt(((x[:, None] - y[None]) ** 2).sum(-1))
    index, distance = nearest(x, y, 6)
    np.testing.assert_array_equal(index, np.argsort(d, 1)[:, :6])
    np.testing.assert_allclose(distance, np.sort(d, 1)[:, :6], atol=1e-3)
    own, zero = nearest(x, x, 3, same=True)
    assert (own[:, 0] == np.arange(70)).all() and (zero[:, 0] == 0).all()


def test_a_turned_and_mirrored_map_is_turned_back():
    xy = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    np.testing.assert_allclose(align(turned(xy), xy), xy, atol=1e-4)
    move = similarity(turned(xy)[:20], xy[:20])
    np.testing.assert_allclose(move(turned(xy)), xy, atol=1e-4)


def test_new_seeds_land_among_their_like():
    x, group = blobs()
    xy = np.asarray([[0, 0], [10, 0], [0, 10], [10, 10]], np.float32)[group]
    placed = place_new(x[:200], xy[:200], x[200:])
    np.testing.assert_allclose(placed, xy[200:], atol=0.5)
    np.testing.assert_allclose(place_new(x[:200], xy[:200], x[:3], k=5), xy[:3], atol=0.1)


def test_old_points_keep_their_place_to_start_from():
    x, _ = blobs(60)
    seeds = np.arange(60)
    shown = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    xy, old = start_from(seeds, x, seeds[10:][::-1], shown)
    assert old.tolist() == [False] * 10 + [True] * 50
    np.testing.assert_array_equal(xy[old], shown[::-1])


def test_tsne_keeps_groups_together_and_places_what_is_too_much(monkeypatch):
    x, group = blobs()
    monkeypatch.setattr(layout, "MAX_TSNE", 160)
    xy = tsne_layout(x, pca_layout(x), 3)
    index, _ = nearest(xy, xy, 6, same=True)
    assert (group[index[:, 1:]] == group[:, None]).mean() > 0.95
    np.testing.assert_array_equal(xy, tsne_layout(x, pca_layout(x), 3))
    assert np.abs(xy - pca_layout(x)).max() > 0.1


def test_umap_keeps_groups_together_and_points_near_where_they_were():
    x, group = blobs()
    start = pca_layout(x)
    first = umap_layout(x, start, 3)
    index, _ = nearest(first, first, 6, same=True)
    assert (group[index[:, 1:]] == group[:, None]).mean() > 0.95
    np.testing.assert_array_equal(first, umap_layout(x, start, 3))
    again = umap_layout(x, first, 4)
    spread = np.sqrt(np.square(first - first.mean(0)).sum(1).mean())
    assert np.median(np.linalg.norm(again - first, axis=1)) < 0.35 * spread


def write_job(folder, x, seeds, **params):
    save_arrays(folder / "embedding.npz", seed=seeds, vector=x)
    write_json(folder / "request.json", JobRequest("m", "layout:run", params).to_json())


def test_job_writes_map_and_groups(tmp_path):
    x, group = blobs()
    write_job(tmp_path, x, np.arange(240), method="pca", n_clusters=4)
    result = drain(run(tmp_path))
    found = load_arrays(tmp_path / "layout.npz")
    assert result.values == {"method": "pca", "n_clusters": 4, "proposed": 0}
    assert found["xy"].shape == (240, 2) and found["xy"].dtype == np.float32
    assert sum(np.bincount(found["cluster"][group == g]).max() for g in range(4)) >= 0.98 * len(group)


def test_job_aligns_to_the_map_that_is_shown(tmp_path):
    x, _ = blobs()
    write_job(tmp_path, x, np.arange(240), method="pca")
    drain(run(tmp_path))
    shown = turned(load_arrays(tmp_path / "layout.npz")["xy"])
    save_arrays(tmp_path / "previous.npz", seed=np.arange(240), xy=shown)
    drain(run(tmp_path))
    np.testing.assert_allclose(load_arrays(tmp_path / "layout.npz")["xy"], shown, atol=1e-3)


def test_job_places_new_seeds_without_moving_old_ones(tmp_path):
    x, group = blobs()
    shown = np.asarray([[0, 0], [10, 0], [0, 10], [10, 10]], np.float32)[group]
    save_arrays(tmp_path / "previous.npz", seed=np.arange(220), xy=shown[:220])
    write_job(tmp_path, x, np.arange(240), method="place")
    drain(run(tmp_path))
    found = load_arrays(tmp_path / "layout.npz")["xy"]
    np.testing.assert_array_equal(found[:220], shown[:220])
    np.testing.assert_allclose(found[220:], shown[220:], atol=0.5)


def test_unknown_method_is_refused(tmp_path):
    write_job(tmp_path, blobs()[0], np.arange(240), method="isomap")
    with pytest.raises(InputError, match="isomap"):
        drain(run(tmp_path))
