import time

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from napari_seedlab.imaging.groups import by_size, cut_tree, majorities, strangeness


def tree_of(n, random_state=0):
    return linkage(np.random.default_rng(random_state).normal(0, 1, (n, 5)), "ward")


def test_a_tree_is_cut_as_scipy_cuts_it():
    tree = tree_of(120)
    for k in (1, 2, 7, 50, 119, 120):
        ours, theirs = cut_tree(tree[:, :2], k), fcluster(tree, k, "maxclust")
        assert len(np.unique(ours)) == k
        np.testing.assert_array_equal(by_size(ours), by_size(theirs))


def test_the_largest_tree_is_cut_within_fifty_ms():
    merges = tree_of(4000)[:, :2]
    spent = []
    for n_groups in (2, 10, 50, 10, 2):
        start = time.process_time()
        cut_tree(merges, n_groups)
        spent.append(time.process_time() - start)
    assert min(spent) < 0.05


def test_majority_counts_known_classes_only():
    group, said = np.asarray([0, 0, 0, 0, 1, 1, 2]), np.asarray([3, 3, 1, 0, 0, 0, 2])
    np.testing.assert_array_equal(majorities(group, said), [[3, 2, 3], [0, 0, 0], [2, 1, 1]])
    np.testing.assert_array_equal(majorities(group, said * 0), np.zeros((3, 3)))


def test_wrong_members_come_first():
    """Thirty of another kind among two hundred members are nearly all in the first fifth."""
    rng = np.random.default_rng(0)
    own, other = rng.normal(0, 1, (200, 8)), rng.normal(0, 1, (300, 8)) + 3 * np.eye(8)[0]
    members = np.vstack([own, other[:30]])
    first = np.argsort(-strangeness(members, other[30:]))[:46]
    assert (first >= 200).sum() >= 26  # at random 6


def test_without_others_the_outermost_come_first():
    members = np.asarray([[0.0], [0.1], [5.0]])
    assert strangeness(members, np.zeros((0, 1))).argmax() == 2
    assert strangeness(np.zeros((0, 3)), members).shape == (0,)
