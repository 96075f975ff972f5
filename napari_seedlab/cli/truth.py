"""Scores beside a reference truth, which judges them and never labels a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.cli.frame import say
from napari_seedlab.core import InputError, NotReady

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from napari_seedlab.session import Session

MANY = 5  # names in one line


def classes_of(session: Session, truth: Path) -> dict[int, str]:
    """Class name of each seed in a truth table.

    A truth with places (z, y, x) is matched by the region that lies there in the current scan, one without
    by seed id. Rows without a seed on scans of the shown kind are counted in one line and left out.
    """
    from napari_seedlab import io
    from napari_seedlab.session.places import seed_at

    class_of: dict[int, str] = {}
    scored = set(session.seeds_of(session.pool))
    rows, n_left_out = io.read_truth_csv(truth), 0
    for seed, name, place in rows:
        known = seed if place is None else seed_at(session, place)
        if known in scored:
            class_of[known] = name
        else:
            n_left_out += 1
    if not scored:
        raise NotReady(
            f"the {session.pool} scans", "have no seeds that a truth could judge", "Split one first"
        )
    if not class_of:
        raise InputError(truth.name, "names no seed of the project", "Give the truth of this scan")
    strange = sorted(set(class_of.values()) - {c.name for c in session.scheme})
    if strange:
        say(f"{truth.name}: no class of the project, so odd: {', '.join(strange[:MANY])}.")
    if n_left_out:
        say(f"{truth.name}: {n_left_out} of {len(rows)} rows name no seed; they are left out.")
    return class_of


def refuse_one_class(class_of: Mapping[int, str], normal: str, subject: str) -> None:
    """Raise InputError where a truth has none of the class `normal`, or nothing else: it cannot judge."""
    told = sorted(set(class_of.values()))
    if set(told) > {normal}:
        return
    seeds = "its 1 seed" if len(class_of) == 1 else f"all its {len(class_of)} seeds"
    if told == [normal]:
        raise InputError(subject, f"calls {seeds} {normal!r}; an odd class is missing", "Add odd seeds to it")
    shown = ", ".join(repr(name) for name in told[:MANY]) + ", …" * (len(told) > MANY)
    cause = f"calls no seed {normal!r}; {seeds} {'is' if len(class_of) == 1 else 'are'} {shown}"
    raise InputError(subject, cause, "Add normal seeds, or name the normal class with --normal-class")


def judged(
    scores: Mapping[int, float], class_of: Mapping[int, str], normal: str, random_state: int
) -> dict[str, Any]:
    """AUC with its 95 % interval and average precision of scores, odd being all but the class `normal`.

    None, with one line, where the seeds that have a score and a class are all odd or all normal.
    """
    from napari_seedlab.learn.evaluate import auc_interval, average_precision, roc_auc

    seeds = [s for s in scores if s in class_of]
    values = np.asarray([scores[s] for s in seeds], np.float64)
    is_odd = np.asarray([class_of[s] != normal for s in seeds], bool)
    if is_odd.all() or not is_odd.any():
        say(f"The truth calls {is_odd.sum()} of {len(seeds)} scored seeds odd: nothing judges the scores.")
        return dict.fromkeys(("auc", "auc_interval", "average_precision"))
    low, high = auc_interval(values, is_odd, random_state)
    return {
        "auc": roc_auc(values, is_odd),
        "auc_interval": [low, high],
        "average_precision": average_precision(values, is_odd),
    }


def on_labels(session: Session, method: str, normal_class: int, random_state: int) -> dict[str, Any]:
    """What the labels of the project say about the scores of a method; None where they are too few."""
    from napari_seedlab.session.verdicts import sample_text, verdicts

    found = verdicts(session, session.pool, normal_class, random_state)
    verdict = next((v for v in found if v.method == method), None)
    keys = ("auc_on_labels", "auc_interval_on_labels", "average_precision_on_labels", "judged_on")
    if verdict is None or verdict.auc is None or verdict.interval is None:
        return dict.fromkeys(keys)
    figures = verdict.auc, list(verdict.interval), verdict.average_precision, sample_text(verdict)
    return dict(zip(keys, figures, strict=True))


def read_defects(session: Session, mask: Path) -> npt.NDArray[np.bool_]:
    """Marked voxels of a label file, or of the mask in a .mat file, on the region grid of the current scan.

    Raises
    ------
    InputError
        It cannot be read, lies on another grid, or marks nothing or everything.
    """
    from napari_seedlab import io
    from napari_seedlab.io.matlab import read_mask

    if session.current_scan is None:
        raise InputError("the project", "has no scan", "Import one first")
    shape = session.scans[session.current_scan].facts.region_shape
    if mask.suffix.lower() == ".mat" and shape[0] == 1:
        marked = read_mask(mask, shape[1:])[None]
    else:
        marked = np.asarray(io.lazy_view(*io.describe(mask))[...]) > 0
    if marked.shape != tuple(shape):
        cause = f"has shape {marked.shape}, the regions of the scan {tuple(shape)}"
        raise InputError(mask.name, cause, "Give a mask on the grid of the scan")
    if marked.all() or not marked.any():
        cause = f"marks {'everything' if marked.any() else 'nothing'}: it cannot judge"
        raise InputError(
            mask.name, cause, "Give a mask with 0 where nothing is odd and more than 0 elsewhere"
        )
    return marked


def known_defects(session: Session) -> npt.NDArray[np.bool_] | None:
    """The reference masks that were imported with the pictures of the current scan; None without."""
    from napari_seedlab.session.sheets import reference_mask

    return None if session.current_scan is None else reference_mask(session, session.current_scan)


def defects_of(session: Session, mask: Path | None) -> npt.NDArray[np.bool_] | None:
    """The voxels that a mask file marks, else those of the reference masks; None where nothing judges.

    Raises
    ------
    InputError
        The file cannot judge: see :func:`read_defects`, or it marks no seed, or its seeds whole.
    """
    is_odd = read_defects(session, mask) if mask else known_defects(session)
    if is_odd is None or session.pool == "hsi":  # there all pixels are judged
        return is_odd
    judged = is_odd[_marked_seeds(session, is_odd)]
    if judged.any() and not judged.all():
        return is_odd
    cause = "marks its seeds whole" if judged.size else "marks nothing inside a seed of the current scan"
    if mask:
        raise InputError(mask.name, f"{cause}: it cannot judge", "Give a mask of the defects in seeds")
    say(f"The reference mask {cause}: nothing judges the heatmap.")
    return None


def _marked_seeds(session: Session, is_odd: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Voxels of the seeds of the current scan in which a voxel is marked."""
    from napari_seedlab.files import open_array

    source = session.regions_source(session.current_scan or 0)
    if source is None:
        return np.zeros_like(is_odd)
    raster = open_array(source)[...]
    return np.isin(raster, np.unique(raster[is_odd & (raster > 0)])) & (raster > 0)


def voxel_auc(session: Session, is_odd: npt.NDArray[np.bool_]) -> float | None:
    """AUC of the heatmap inside the seeds of the current scan that have a marked voxel.

    `is_odd` is a mask of :func:`defects_of`. None, with one line, where the scan has no heatmap.
    """
    from napari_seedlab.files import open_array
    from napari_seedlab.learn.evaluate import roc_auc

    scan = session.current_scan or 0
    heat = None if session.anomaly is None else session.anomaly.heat.get(scan)
    if heat is None:
        say(f"Scan {scan} has no heatmap to judge.")
        return None
    shown = _marked_seeds(session, is_odd)
    return roc_auc(open_array(heat)[...][shown], is_odd[shown])


def pixel_figures(session: Session, is_odd: npt.NDArray[np.bool_], random_state: int) -> dict[str, Any]:
    """AUC, interval and average precision over all pixels of the current cube; seeds do not matter."""
    from napari_seedlab.learn.evaluate import auc_interval, average_precision, roc_auc

    arrays = session.desk.do(lambda project: project.get_arrays(f"pixels-{session.current_scan}")).result()
    if arrays is None:
        raise InputError("pixels", "were not scored", "Use a method for cubes")
    scores = arrays["score"].ravel()
    low, high = auc_interval(scores, is_odd.ravel(), random_state)
    return {
        "auc": roc_auc(scores, is_odd.ravel()),
        "auc_interval": [low, high],
        "average_precision": average_precision(scores, is_odd.ravel()),
    }
