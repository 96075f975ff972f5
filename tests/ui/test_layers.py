import numpy as np
from napari.components import ViewerModel
from napari.utils.colormaps import DirectLabelColormap

from napari_seedlab.core import Modality, Scan, ScanFacts
from napari_seedlab.ui.layers import CodeColormap, SeedlabLayers
from napari_seedlab.ui.reading import OpenedScan


def test_the_heat_of_a_cube_lies_on_every_band(qapp):
    facts = ScanFacts(
        "cube", Modality.HSI, (4, 6, 8), ("band", "y", "x"), "uint8", None, None, "cube.hdr", 192, 0
    )
    layers = SeedlabLayers(ViewerModel())
    layers.show(OpenedScan(Scan(1, facts), np.zeros(facts.shape, np.uint8), (0, 1), None, None), None)
    heat = np.arange(48, dtype=np.uint8).reshape(1, 6, 8)
    layers.show_heat(heat, (0.0, 3.0))
    shown = np.asarray(layers.find("heat").data)
    np.testing.assert_array_equal(shown, np.repeat(heat, 4, axis=0))
    layers.show_heat(np.zeros((2, 6, 8), np.uint8), (0.0, 3.0))
    assert layers.find("heat") is None


def test_codes_have_the_colours_that_napari_would_give_them():
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    colours = {
        None: (0, 0, 0, 0),
        0: (0.2, 0.2, 0.2, 0.5),
        1: "#ff0000",
        7: (0, 1, 0, 1),
        255: (1, 0.9, 0.2, 1),
    }
    peer = DirectLabelColormap(color_dict=colours)
    by_one = np.asarray([np.asarray(peer.map(int(c))) for c in codes.ravel()]).reshape(16, 16, 4)
    np.testing.assert_allclose(CodeColormap(color_dict=colours).map(codes), by_one, atol=1e-6)
