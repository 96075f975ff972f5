"""``seedlab simulate``: what each way of asking would have saved, on seeds whose classes are known."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from napari_seedlab.cli.frame import look_at, opened, run, say
from napari_seedlab.core import ASKS_AGAIN, InputError, NotReady

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_seedlab.session import Session
    from napari_seedlab.session.results import Embedding

MANY = 5  # names in one line


def simulate(
    project: Annotated[Path, typer.Argument(metavar="P", help="Project folder.")],
    truth: Annotated[
        Path | None,
        typer.Option(help="CSV with seed,class; the hidden truth of the import when left out."),
    ] = None,
    strategies: Annotated[str, typer.Option(help="Names with commas between them, or all.")] = "default",
    budget: Annotated[int, typer.Option(min=2, help="Answers.")] = 150,
    batch: Annotated[int, typer.Option(min=1, help="Seeds asked at a time.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="Replays of each strategy.")] = 8,
    encoder: Annotated[
        str, typer.Option(help="Whose vectors, a+b for two; those in use when left out.")
    ] = "",
    fresh: Annotated[
        int, typer.Option(min=0, help="Fresh seeds that judge a synthetic sample; 0: a share of its own.")
    ] = 2000,
    to: Annotated[Path | None, typer.Option(help="PNG of the curves to write.")] = None,
    scan: Annotated[int | None, typer.Option("--scan", help="A scan of the kind that is meant.")] = None,
    random_state: Annotated[int, typer.Option(help="Same number, same answer.")] = 0,
    scheduler: Annotated[str, typer.Option(help="Address of a running dask scheduler.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line.")] = False,
) -> None:
    """Replay labelling with every way of asking, and say how many answers each needs."""

    def work() -> dict[str, Any]:
        from napari_seedlab.session import making

        wanted = _strategies(strategies)
        if to is not None:
            making.refuse_no_file(to)  # before the work
        with opened(project, scheduler, random_state) as session:
            look_at(session, scan)
            values = replayed(session, truth, wanted, (budget, batch, repeats), encoder, fresh)
        if to is not None:
            from napari_seedlab.cli.curves import draw_curves

            draw_curves(values, to)
            values = {**values, "picture": str(to)}
        return values

    run(work, as_json)


def _strategies(given: str) -> tuple[str, ...]:
    from napari_seedlab.learn.queries import STRATEGIES, today

    names = [name.strip() for name in given.split(",") if name.strip()]
    if names == ["all"]:
        return tuple(STRATEGIES)
    if not names:
        raise InputError("--strategies", "names none", "Use some of " + ", ".join(STRATEGIES))
    found = tuple(dict.fromkeys(today(name) for name in names))
    if set(found) <= ASKS_AGAIN:
        cause = f"{found[0]} asks about labelled seeds only"
        raise InputError("--strategies", cause, "Name one that asks about others, such as default")
    return found


def replayed(
    session: Session,
    truth: Path | None,
    strategies: tuple[str, ...],
    plan: tuple[int, int, int],
    encoder: str,
    n_fresh: int,
) -> dict[str, Any]:
    """Replay on the current pool; `plan` is budget, batch and repeats."""
    from napari_seedlab.cli.fresh import fresh_seeds, recipe_of
    from napari_seedlab.learn.simulate import refuse_little
    from napari_seedlab.session.replay import Wanted, replay_step

    pool = session.pool
    recipe = recipe_of(session, pool)
    class_of = _truth(session, truth, None if recipe is None else recipe.truth)
    refuse_little(class_of.values())  # before the work
    known = vectors_of(session, pool, encoder)
    names, fresh = sorted(set(class_of.values())), None
    if recipe is not None and n_fresh:
        rows, told = fresh_seeds(session, pool, encoder or "+".join(known.encoders), recipe, n_fresh)
        names = sorted({*names, *told.tolist()})
        fresh = rows, np.asarray([names.index(c) + 1 for c in told.tolist()], np.int32)
    ids = {seed: names.index(c) + 1 for seed, c in class_of.items()}
    wanted = Wanted(strategies, *plan, fresh)
    values = session.desk.start(replay_step(session, pool, ids, wanted, known)).wait()
    for name, why in values["refused"].items():
        say(f"{name} {why}; left out.")
    return {**values, "classes": names, "encoder": "+".join(known.encoders) or encoder}


def vectors_of(session: Session, pool: str, encoder: str) -> Embedding:
    """Vectors of all seeds of a pool by an encoder (several: a+b) or those in use, made where they lack."""
    from napari_seedlab.session.encoders import embed_step
    from napari_seedlab.session.results import mixed

    if not encoder:
        session.embed(pool).wait()
        known = session.embeddings.get(pool)
    else:
        names = session.encoders.usable(pool, encoder.split("+"))
        session.desk.start(embed_step(session, pool, names, use=False)).wait()
        blocks = [session.encoders.vectors(pool, name) for name in names]
        known = mixed([block for block in blocks if block is not None])
    if known is None or not len(known.seeds):
        raise NotReady(f"the {pool} seeds", "have no vectors", "Split a scan first")
    return known


def _truth(session: Session, table: Path | None, beside: Path | None) -> Mapping[int, str]:
    """True class of the seeds: of a table, else hidden with the import, else of a sample beside its scan."""
    from napari_seedlab.cli.fresh import classes_by_place
    from napari_seedlab.session.sheets import reference_classes

    if not session.seeds_of(session.pool):
        raise NotReady(f"the {session.pool} scans", "have no seeds to ask about", "Split one first")
    if table is not None:
        return _of_table(session, table)
    hidden = reference_classes(session, session.pool)
    if not hidden and beside is not None:
        hidden = classes_by_place(session, beside)
    if not hidden:
        cause = "was not imported with the scan"
        raise InputError("a truth", cause, "Give --truth, or import with --truth-from-folders")
    return hidden


def _of_table(session: Session, table: Path) -> Mapping[int, str]:
    from napari_seedlab import io
    from napari_seedlab.session.places import seed_at

    there, rows = set(session.seeds_of(session.pool)), io.read_truth_csv(table)
    found = [(seed if place is None else seed_at(session, place), name) for seed, name, place in rows]
    class_of = {seed: name for seed, name in found if seed in there}
    n_left_out = sum(seed not in there for seed, _ in found)
    if not class_of:
        raise InputError(table.name, "names no seed of the project", "Give the truth of this scan")
    if n_left_out:
        say(f"{table.name}: {n_left_out} of {len(rows)} rows name no seed; they are left out.")
    return class_of
