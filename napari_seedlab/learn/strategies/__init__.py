"""The query strategies, by what they look for; :mod:`napari_seedlab.learn.queries` names them all."""
