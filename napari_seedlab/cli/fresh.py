"""Fresh seeds of a synthetic sample: the same dials, another random state; they judge a replay."""

from __future__ import annotations

import csv
import json
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.cli.frame import say

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_seedlab.session import Session

STATE_STEP = 1_000_003  # between the random states of the trays


@dataclass(frozen=True)
class Recipe:
    """How a sample was made.

    Attributes
    ----------
    folder : Path
        Where it lies, with its ``truth.csv``.
    kind : str
        ``ct``, ``hsi`` or ``tube``.
    dials : dict
        Every dial, as ``recipe.json`` tells them.
    """

    folder: Path
    kind: str
    dials: dict[str, Any]

    @property
    def truth(self) -> Path:
        """The truth table of the sample."""
        return self.folder / "truth.csv"


def recipe_of(session: Session, pool: str) -> Recipe | None:
    """The recipe that lies beside the scan of a pool; None where it has none, or several scans."""
    scans = session.scans_of(pool)
    folder = Path(scans[0].facts.source_path).parent if len(scans) == 1 else None
    if folder is None or not (folder / "recipe.json").is_file() or not (folder / "truth.csv").is_file():
        return None
    try:
        told = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
        return Recipe(folder, str(told["kind"]), dict(told["dials"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def fresh_seeds(
    session: Session, pool: str, encoder: str, recipe: Recipe, n: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.str_]]:
    """Vectors (m, d) and class names (m,) of about `n` seeds made by a recipe; kept in the project.

    Each tray is made, imported, split and embedded like that of the project, in a project of its own.
    """
    blocks = [session.encoders.vectors(pool, one) for one in encoder.split("+")]
    versions = [block.versions for block in blocks if block is not None]
    about = json.dumps([recipe.kind, recipe.dials, encoder, versions, n], sort_keys=True)
    name, key = f"fresh-{pool}-{encoder}", sha256(about.encode()).hexdigest()
    kept = session.desk.do(lambda project: project.get_arrays(name)).result()
    if kept is not None and str(kept["recipe"]) == key:
        return kept["vector"], kept["class_name"]
    vectors: list[Any] = []
    names: list[str] = []
    k = 0
    while len(names) < n:
        k += 1
        say(f"fresh seeds: tray {k}, {len(names):,} of {n:,} seeds so far")
        found, classes = _tray(recipe, k, encoder)
        vectors.append(found)
        names += classes
    rows, told = np.concatenate(vectors)[:n], np.asarray(names[:n], np.str_)
    if not session.read_only:
        arrays = {"vector": rows, "class_name": told, "recipe": np.asarray(key)}
        session.desk.do(lambda project: project.put_arrays(name, **arrays)).result()
    return rows, told


def _tray(recipe: Recipe, k: int, encoder: str) -> tuple[npt.NDArray[np.float32], list[str]]:
    """Vectors and class names of the seeds of one more tray."""
    from napari_seedlab.cli.simulate import vectors_of
    from napari_seedlab.imaging.phantom import Dials
    from napari_seedlab.io.samples import write_dials
    from napari_seedlab.session import Session

    dials = Dials.from_json(recipe.dials)
    dials = dials.replace(random_state=dials.random_state + STATE_STEP * k)
    with tempfile.TemporaryDirectory(prefix="seedlab-fresh-") as parent:
        tray = Path(parent) / "tray"
        tray.mkdir()
        scan = tray / write_dials(tray, recipe.kind, dials)
        modality = "hsi" if recipe.kind == "hsi" else "ct"
        with Session.create(Path(parent) / "fresh") as session:
            session.import_scan(scan, modality).wait()
            session.split().wait()
            known = vectors_of(session, modality, encoder)
            class_of = classes_by_place(session, scan.parent / "truth.csv")
    rows = [i for i, s in enumerate(known.seeds.tolist()) if s in class_of]
    return known.vectors[rows], [class_of[int(known.seeds[i])] for i in rows]


def classes_by_place(session: Session, truth: Path) -> dict[int, str]:
    """Class name of each seed whose region holds the centre of a true seed."""
    from napari_seedlab.session.places import seed_at

    with truth.open(encoding="utf-8", newline="") as table:
        rows = [(row["class"], tuple(float(row[a]) for a in "zyx")) for row in csv.DictReader(table)]
    found = {seed_at(session, place): name for name, place in rows}
    return {seed: name for seed, name in found.items() if seed}
