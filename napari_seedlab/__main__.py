"""``python -m napari_seedlab`` is the ``seedlab`` command."""

from napari_seedlab.cli.main import main

if __name__ == "__main__":
    main()
