"""The list of layers beside our docks."""

import numpy as np
from napari._qt.containers.qt_layer_model import ThumbnailRole


def pixels_of(image):
    bits = image.constBits()
    if hasattr(bits, "setsize"):
        bits.setsize(image.sizeInBytes())
    return np.frombuffer(bits, np.uint8).reshape(image.height(), image.width(), 4).copy()


def test_the_picture_of_a_layer_outlasts_the_bytes_that_it_was_made_from(ui):
    layer = ui.viewer.add_image(np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1)))
    wanted = layer.thumbnail.copy()
    model = ui.viewer.window._qt_viewer.layers.model()
    image = model.index(0, 0).data(ThumbnailRole)
    others = [bytes([85]) * wanted.nbytes for _ in range(2000)]  # takes over whatever was freed
    np.testing.assert_array_equal(pixels_of(image), wanted)
    assert len(others) == 2000
