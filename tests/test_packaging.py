"""The package as it is installed: manifest, samples and command from a wheel and from a checkout."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command, **options):
    out = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=280, **options)
    assert out.returncode == 0, out.stderr[-2000:]
    return out.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    return next(folder.glob("*.whl"))


@pytest.mark.filterwarnings("ignore:`json_encoders` is deprecated")
def test_the_manifest_is_valid_and_its_commands_import():
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(ROOT / "napari.yaml")
    assert manifest.name == "napari-seedlab"
    manifest.validate_imports()


def test_the_wheel_holds_manifest_and_samples(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "napari_seedlab/napari.yaml" in names and "napari_seedlab/py.typed" in names
    assert "napari_seedlab/sample_data/ct_tray/scan.tif" in names
    kinds = ("volume", "cube", "picture")
    assert {f"napari_seedlab/weights/{k}.{end}" for k in kinds for end in ("safetensors", "json")} <= set(
        names
    )
    assert not [n for n in names if n.startswith(("tests/", "benchmarks/"))]


FOUND = """
from npe2 import PluginManager
manager = PluginManager()
manager.discover(include_npe1=False)
manifest = manager.get_manifest("napari-seedlab")
from napari_seedlab.io.samples import sample_folder
import napari_seedlab
print(len(manifest.contributions.widgets), sample_folder("ct_tray"), napari_seedlab.__file__)
"""


def test_a_wheel_is_discovered_where_it_is_installed(wheel, tmp_path):
    venv.create(tmp_path / "env", system_site_packages=False, with_pip=False)
    python = (
        next((tmp_path / "env").glob("bin/python"))
        if sys.platform != "win32"
        else tmp_path / "env/Scripts/python"
    )
    site = Path(run(python, "-c", "import site; print(site.getsitepackages()[0])").strip())
    # The dependencies come from the environment of the tests, after what the wheel brings.
    others = [p for p in sys.path if p.endswith("site-packages")]
    (site / "others.pth").write_text("\n".join(others) + "\n")
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", site, wheel)
    n_widgets, samples, package = run(python, "-c", FOUND, cwd=tmp_path).split()
    assert int(n_widgets) == 6
    assert Path(samples).is_relative_to(site) and Path(package).is_relative_to(site)


def test_a_checkout_is_discovered_where_it_is_installed_editable(tmp_path):
    link = ROOT / "napari_seedlab" / "napari.yaml"
    if not link.exists():
        pytest.skip("the checkout is not installed as editable; make setup does it")
    n_widgets, samples, package = run(sys.executable, "-c", FOUND, cwd=tmp_path).split()
    assert int(n_widgets) == 6 and Path(samples).is_relative_to(ROOT)
    assert Path(package) == ROOT / "napari_seedlab" / "__init__.py"


def test_no_function_and_no_module_is_too_long():
    run(sys.executable, "scripts/check_sizes.py", cwd=ROOT)
