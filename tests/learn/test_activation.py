"""What earns a network the place of the live model: whole scans held out, and labels that mean something."""

import numpy as np
import pytest
from grains import one_thread  # noqa: F401
from job_folders import finish
from test_net import net_job  # noqa: F401

from napari_seedlab import files
from napari_seedlab.learn import net
from napari_seedlab.learn.folds import read_groups


def write_groups(folder, seeds, scan):
    files.save_arrays(folder / "groups.npz", seed=seeds, scan=scan, lot=np.full(len(seeds), -1))


def test_seeds_of_a_scan_are_never_on_both_sides(net_job):  # noqa: F811
    folder = net_job(fold_steps=1, final_steps=1)
    seeds = np.arange(1, 25)
    write_groups(folder, seeds, np.asarray([1, 1, 2, 2, 3, 3] * 4))
    reports, result = finish(net.run(folder))
    assert result.values["folds_by"] == "scan"
    assert any("of 3" in r.message for r in reports)
    groups = read_groups(folder, [24, 99])
    assert groups["scan"].tolist() == [3, -1]


def test_without_groups_seeds_are_held_out(net_job):  # noqa: F811
    assert read_groups(net_job(), [1]) == {}


def test_few_answers_that_are_all_right_by_luck_activate_nothing():
    said = np.asarray([0, 0, 1, 1])
    assert not net.compare(said, said, 1 - said).activate
    many = np.repeat([0, 1], 20)
    assert net.compare(many, many, 1 - many).activate
    assert net.compare(many, 1 - many, many).is_chance and not net.compare(many, many, many).is_chance


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_shuffled_labels_never_earn_an_activated_network(net_job):  # noqa: F811
    for state in range(5):
        rng = np.random.default_rng(state)
        said = dict(zip(range(1, 41), rng.permutation(np.tile([1, 2], 20)).tolist(), strict=True))
        folder = net_job(f"job-{state}", labels=said, n=48, fold_steps=60, final_steps=10)
        _, result = finish(net.run(folder))
        assert result.values["activate"] is False and result.values["is_chance"]
