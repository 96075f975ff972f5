from pathlib import Path

import pytest

MANIFEST = Path(__file__).parents[2] / "napari.yaml"


@pytest.fixture(scope="module")
def manifest():
    from npe2 import PluginManifest

    return PluginManifest.from_file(MANIFEST)


def test_everything_that_the_manifest_names_can_be_imported(manifest):
    manifest.validate_imports()


def test_the_readers_claim_nothing_that_is_not_a_scan(manifest):
    patterns = [p for reader in manifest.contributions.readers for p in reader.filename_patterns]
    assert set(patterns) == {"*.tif", "*.tiff", "*.npy", "*.hdr", "*.mat"}


def test_the_preferences_have_defaults_that_work_offline(manifest):
    from napari_seedlab.core import Settings

    fields = manifest.contributions.configurations["general"].properties
    defaults = {name: field.default for name, field in fields.items()}
    assert defaults == {k: getattr(Settings(), k) for k in ("annotator", "scheduler", "memory_limit_gb")}
