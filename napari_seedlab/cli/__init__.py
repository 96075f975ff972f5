"""The ``seedlab`` command."""
