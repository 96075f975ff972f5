"""How well odd seeds are told in folders of pictures whose folders name the class.

    python benchmarks/pictures.py FOLDER NORMAL [--methods fcdd,vae,distance] [--random-states 0,1,2]

Each line is one run: its method, what it learnt from, and the area under the ROC curve with its 95 %
interval. It learns from every seed (mixed), from the folder NORMAL (normal: then it is judged by seeds that
it learnt from, which flatters it), or from half of that folder drawn at random (half: judged by the others).
Plain baselines stand first: brightness and size as
the distance from the median of what may be learnt from, and the mean distance to the five nearest of these
seeds by their descriptors.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.cli.truth import judged
from napari_seedlab.core import Settings
from napari_seedlab.session import Session
from napari_seedlab.session.sheets import reference_classes

if TYPE_CHECKING:
    import numpy.typing as npt

N_NEAREST = 5


def baselines(session: Session, teachers: list[int]) -> dict[str, dict[int, float]]:
    """Scores of the seeds by brightness, size and the nearest descriptors of `teachers`."""
    known = session.embeddings["image"]
    table = session.regions(1)
    assert table is not None
    from napari_seedlab.imaging.features import descriptor_names

    teach = np.isin(known.seeds, teachers)
    size = dict(zip(table.seed.tolist(), np.log(table.n_voxels).tolist(), strict=True))
    bright = known.vectors[:, descriptor_names("image").index("grey.mean")]
    columns = {"brightness": bright, "size": np.asarray([size[s] for s in known.seeds.tolist()])}
    found = {name: np.abs(values - np.median(values[teach])) for name, values in columns.items()}
    found["nearest descriptors"] = _nearest(known.vectors, teach)
    return {name: dict(zip(known.seeds.tolist(), v.tolist(), strict=True)) for name, v in found.items()}


def _nearest(vectors: npt.NDArray[np.float32], teach: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    scaled = (vectors - vectors[teach].mean(0)) / np.maximum(vectors[teach].std(0), 1e-6)
    far = np.sqrt(np.square(scaled[:, None] - scaled[None, teach]).mean(2))
    far[np.flatnonzero(teach), np.arange(int(teach.sum()))] = np.inf  # not the seed itself
    return np.asarray(np.sort(far, 1)[:, :N_NEAREST].mean(1))


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("normal")
    parser.add_argument("--methods", default="fcdd,vae,distance")
    parser.add_argument("--random-states", default="0,1,2")
    parser.add_argument("--pools", default="mixed,normal")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for state in map(int, args.random_states.split(",")):
            path = Path(place) / f"{state}.seedlab"
            with Session.create(path, settings=Settings(random_state=state)) as session:
                told = session.import_folder(args.folder, truth_from_folders=True).wait()
                session.embed("image").wait()
                class_of = reference_classes(session, "image")
                run_state(session, args, class_of, state)
        print(f"{args.folder.name}: {told['n_seeds']} seeds, {told['n_skipped']} skipped", flush=True)


def run_state(session: Session, args: argparse.Namespace, class_of: dict[int, str], state: int) -> None:
    """All methods and pools for one random state."""
    normal = sorted(s for s, name in class_of.items() if name == args.normal)
    half = np.random.default_rng(state).permutation(normal)[: len(normal) // 2].tolist()
    for pool in args.pools.split(","):
        teachers = {"normal": normal, "half": half, "mixed": list(class_of)}[pool]
        judges = {s: name for s, name in class_of.items() if pool != "half" or s not in teachers}
        for name, scores in baselines(session, teachers).items():
            tell(args, name, pool, state, judged(scores, judges, args.normal, state), 0.0)
        for method in filter(None, args.methods.split(",")):
            begun = time.process_time()
            only = None if pool == "mixed" else teachers
            scores = session.find_odd(method=method, teachers=only).wait()["scores"]
            figures = judged(scores, judges, args.normal, state)
            tell(args, method, pool, state, figures, time.process_time() - begun)


def tell(args: argparse.Namespace, what: str, pool: str, state: int, figures: Any, seconds: float) -> None:
    """One line of the result."""
    low, high = figures["auc_interval"]
    print(
        f"{args.folder.name:16} {what:20} {pool:6} state {state}  AUC {figures['auc']:.3f} "
        f"({low:.2f}-{high:.2f})  AP {figures['average_precision']:.3f}  {seconds:.0f} CPU s",
        flush=True,
    )


if __name__ == "__main__":
    main()
