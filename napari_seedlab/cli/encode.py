"""What ``seedlab embed`` does: choose encoders, open their weights, compute vectors, compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_seedlab.core import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_seedlab.session import Session


def encode(session: Session, names: str, weights: Path | None, compare: bool) -> dict[str, Any]:
    """Compute the vectors of the seeds of the current pool.

    Parameters
    ----------
    session : Session
        On the pool.
    names : str
        Encoders to use from now on, separated by commas; those in use where it is empty.
    weights : Path or None
        Folder of the backbone ``hf``, or file of ``vgg16``.
    compare : bool
        Whether to compare on the labels so far all encoders that can be used.

    Returns
    -------
    dict
        ``n_seeds``, ``n_new``, ``length``, ``encoders``, and ``table`` where they were compared.
    """
    pool = session.pool
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if names and not wanted:
        raise InputError(f"--encoder {names}", "names no encoder", "Give names separated by commas")
    if wanted:
        session.encoders.named(pool, wanted)  # refused before the work
    if compare:
        session.encoders.refuse_one_class(pool)
    if weights is not None:
        _open(session, wanted, weights)
    own = next((option for option in session.encoders.options(pool) if option.name == "own"), None)
    if "own" in wanted and own is not None and own.lacks:
        session.encoders.own(pool).wait()
    task = session.encoders.choose(pool, wanted) if wanted else session.encoders.embed(pool)
    values = task.wait()
    return values | {"table": session.encoders.compare(pool).wait()} if compare else values


def _open(session: Session, wanted: list[str], weights: Path) -> None:
    """Open weights for the encoder that they are meant for."""
    if not {"hf", "vgg16"} & set(wanted):
        raise InputError("--weights", "is for hf or vgg16", "Add --encoder hf or --encoder vgg16")
    if not weights.exists():
        raise InputError(str(weights), "is not there", "Give a folder for hf, or a file for vgg16")
    is_backbone = weights.is_dir() if {"hf", "vgg16"} <= set(wanted) else "hf" in wanted
    if is_backbone:
        session.encoders.use_folder(weights).wait()
    else:
        session.encoders.use_file(weights).wait()
