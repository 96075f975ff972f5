import typer.testing

from napari_seedlab.cli.main import app
from napari_seedlab.core import LabelState
from napari_seedlab.session import Session
from tests.session.conftest import is_hollow, settle, small_tray


def embed(*args):
    """Run ``seedlab embed`` in this process: exit code, JSON or None, stderr."""
    import json

    out = typer.testing.CliRunner().invoke(app, ["embed", *map(str, args), "--json"])
    lines = out.stdout.strip().splitlines()
    return out.exit_code, json.loads(lines[-1]) if out.exit_code == 0 else None, out.stderr


def test_encoders_are_chosen_and_compared_by_the_command(tmp_path):
    import tifffile

    place = tmp_path / "p.seedlab"
    tifffile.imwrite(tmp_path / "tray.tif", small_tray()[0])
    with Session.create(place) as session:
        session.import_scan(tmp_path / "tray.tif").wait()
        session.split().wait()
        hollow = {s for s in session.seeds_of("ct") if is_hollow(session, s)}
        session.answer(1, hollow)
        session.answer(2, set(session.seeds_of("ct")) - hollow)
        settle(session)
        assert session.label(min(hollow)).state is LabelState.LABELLED
    code, found, _ = embed(place, "--encoder", "descriptors,bundled", "--compare")
    assert code == 0 and found["encoders"] == ["descriptors", "bundled"]
    assert found["n_seeds"] == found["n_new"] == 25 and found["length"] > 112
    assert [r["name"] for r in found["table"]["rows"]] == ["descriptors", "bundled", "descriptors + bundled"]
    code, found, _ = embed(place)
    assert code == 0 and found["n_new"] == 0 and found["encoders"] == ["descriptors", "bundled"]
    for args, words in (
        (["--encoder", "hf", "--weights", tmp_path / "away"], "is not there"),
        (["--encoder", "hf", "--weights", tmp_path], "holds no config.json"),
        (["--weights", tmp_path], "is for hf or vgg16"),
        (["--encoder", "own,magic"], "encoder 'magic'"),
    ):
        code, _, stderr = embed(place, *args)
        assert code == 1 and words in stderr and stderr.count("\n") == 1, stderr
