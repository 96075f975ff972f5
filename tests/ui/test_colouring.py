from dataclasses import replace

import numpy as np
import pytest

from napari_seedlab.core import Label, LabelState, Scan, Seed
from napari_seedlab.ui.colouring import CURRENT_RGB, MODES, colour_seeds, modes_of, most_telling, number_text


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_has_a_colour_for_each_seed_before_and_after_results(session, mode):
    assert not colour_seeds(session, mode).codes.any()
    session.make_map()
    session.refit()
    session.find_odd()
    session.find_odd(method="distance")
    session.labels = {4: Label(4, LabelState.LABELLED, 3)}
    colours = colour_seeds(session, mode)
    assert len(colours.codes) == len(colours.seeds) == len(session.seeds)
    assert colours.codes.any()
    assert colours.codes.max() < len(colours.palette)


def test_labels_have_the_colours_of_the_scheme(session):
    session.labels = {4: Label(4, LabelState.LABELLED, 3), 9: Label(9, LabelState.UNSURE)}
    colours = colour_seeds(session, "label")
    codes = colours.codes_of(np.asarray([4, 9, 10, 99999]))
    assert colours.palette[codes[0]].tolist() == [0xCC, 0x44, 0x55]
    assert codes[1] != 0 and codes[2] == codes[3] == 0
    assert "unsure" in dict(colours.legend)


def test_predictions_are_coloured_by_the_most_probable_class(session):
    session.refit()
    colours = colour_seeds(session, "prediction")
    best = session.predictions.best
    np.testing.assert_array_equal(colours.codes_of(session.predictions.seeds), best)


def test_what_to_colour_by_follows_what_is_known(session):
    assert most_telling(session) == "label"
    session.make_map()
    assert most_telling(session) == "cluster"
    session.find_odd()
    assert most_telling(session) == "anomaly"
    session.refit()
    assert most_telling(session) == "prediction"


def test_the_legend_names_the_clusters_of_the_map(session):
    session.make_map()
    assert [name for name, _ in colour_seeds(session, "cluster").legend[:2]] == ["cluster 1", "cluster 2"]


def test_disagreement_is_brightest_where_the_methods_are_furthest_apart(session):
    assert colour_seeds(session, "disagreement").legend[0][0] == "Find odd ones by two methods"
    for method in ("fcdd", "distance"):
        session.find_odd(method=method)
    colours = colour_seeds(session, "disagreement")
    assert [name for name, _ in colours.legend] == ["methods agree", "methods disagree"]
    first, second = session.opinions.of("ct")
    apart = np.abs(first.rank - second.rank)
    assert colours.codes_of(first.seeds)[apart.argmax()] == colours.codes.max()
    assert colours.codes_of(first.seeds)[apart.argmin()] == 1


def test_columns_of_words_and_of_numbers_have_colours_of_their_own(session):
    assert modes_of(session)[: len(MODES)] == MODES
    assert {"scan", "size"} <= set(modes_of(session)) and "lot" not in modes_of(session)
    by_scan = colour_seeds(session, "scan")
    first, second = (by_scan.codes_of(session.regions(scan).seed) for scan in (1, 2))
    assert len(set(first.tolist())) == len(set(second.tolist())) == 1 and first[0] != second[0]
    assert [name for name, _ in by_scan.legend] == ["tray-1", "tray-1 spectra"] and not by_scan.is_ramp
    session.seeds = {s: Seed(s, f"lot-{1 + s % 12}" if s > 3 else "") for s in session.seeds}
    by_lot = colour_seeds(session, "lot")
    assert "lot" in modes_of(session) and not by_lot.codes_of(np.asarray([1, 2, 3])).any()
    assert [name for name, _ in by_lot.legend][:3] == ["lot-1", "lot-2", "lot-3"]
    assert by_lot.legend[-1][0] == "and 4 more"
    by_size = colour_seeds(session, "size")
    table = session.regions(1)
    codes = by_size.codes_of(table.seed).astype(int)
    assert by_size.is_ramp and codes[table.n_voxels.argmax()] > codes[table.n_voxels.argmin()]


def test_sizes_are_counted_in_words_that_everybody_reads(session):
    low, high = (name for name, _ in colour_seeds(session, "size").legend)
    assert low.replace(".", "", 1).isdigit() and high.endswith("mm²")
    facts = replace(session.scans[2].facts, voxel_size_um=None)
    table = session.regions(2)
    session.regions = lambda scan: table if scan == 2 else None
    session.scans = {2: Scan(2, facts)}
    assert colour_seeds(session, "size").legend[1][0].endswith(" pixels")
    assert number_text(4589.6) == "4,590" and number_text(0.00001234) == "0.0000123"
    assert number_text(1e300) == "1e+300" and number_text(-1.234e-30) == "-1.23e-30"


def test_no_colour_of_a_map_is_that_of_the_seed_on_the_card(session):
    session.labels = {4: Label(4, LabelState.LABELLED, 3), 9: Label(9, LabelState.UNSURE)}
    for step in (session.make_map, session.refit, session.find_odd):
        step()
    session.find_odd(method="distance")
    for mode in modes_of(session):
        apart = np.abs(colour_seeds(session, mode).palette.astype(int) - CURRENT_RGB).max(1)
        assert apart.min() > 100, mode
    linear = (np.asarray(CURRENT_RGB) / 255) ** 2.2 @ (0.2126, 0.7152, 0.0722)
    assert (linear + 0.05) / 0.05 > 3 and 1.05 / (linear + 0.05) > 3, "seen on black and on white"


def test_what_is_unknown_has_no_colour(session):
    assert not colour_seeds(session, "Weight mg").codes.any()


def test_what_tables_told_has_colours_too(session):
    session.metadata.columns = {"mg": {1: 2.0, 2: 4, 9: 8}, "size": {1: "big", 2: "small"}}
    assert modes_of(session)[-2:] == ("mg", "size (table)")
    by_weight = colour_seeds(session, "mg")
    codes = by_weight.codes_of(np.asarray([1, 2, 3, 9])).astype(int)
    assert by_weight.is_ramp and codes[0] < codes[1] < codes[3] and codes[2] == 0
    assert [name for name, _ in colour_seeds(session, "size (table)").legend] == ["big", "small"]
    session.metadata.columns = {"area": {1: "10", 2: "5²", 3: "5"}}
    assert [name for name, _ in colour_seeds(session, "area").legend] == ["5", "5²", "10"]
