import numpy as np
from napari.components import ViewerModel

from napari_seedlab.core import Modality, Scan, ScanFacts
from napari_seedlab.ui.layers import SeedlabLayers
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
