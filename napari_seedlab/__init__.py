"""Seedlab: label, train and look inside scanned seeds, in napari."""

__version__ = "0.1.0"
