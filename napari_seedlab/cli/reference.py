"""Which truth judges a run of `seedlab anomaly`, and which of its classes counts as normal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_seedlab.cli import truth as judge
from napari_seedlab.cli.frame import say
from napari_seedlab.core import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from napari_seedlab.session import Session

USUAL = ("good", "normal", "healthy", "ok")  # what folders of normal seeds are called
SHOWN = 8  # class names in a message


@dataclass(frozen=True)
class Reference:
    """What judges the scores.

    Attributes
    ----------
    normal_id : int
        Class of the scheme whose labels are no defects.
    normal : str
        Class of the truth that is no defect.
    class_of : mapping of int to str, optional
        True class of each seed; None where nothing judges.
    """

    normal_id: int
    normal: str
    class_of: Mapping[int, str] | None

    def half_of_normal(self, random_state: int) -> list[int]:
        """Half of the seeds that the truth calls normal, drawn at random: they teach, the others judge.

        A method is flattered by seeds that it learnt from.

        Raises
        ------
        InputError
            There is no truth.
        """
        if self.class_of is None:
            cause = "needs a truth with a normal class and others"
            raise InputError("--train-on-normal", cause, "Give --truth, or import with --truth-from-folders")
        normal = sorted(seed for seed, name in self.class_of.items() if name == self.normal)
        drawn = np.random.default_rng(random_state).permutation(normal)[: len(normal) // 2]
        return sorted(drawn.tolist())

    def judges(self, teachers: Collection[int] | None) -> dict[int, str] | None:
        """True class of the seeds that did not teach; None where nothing judges."""
        if self.class_of is None:
            return None
        return {seed: name for seed, name in self.class_of.items() if seed not in (teachers or ())}


def reference_of(session: Session, table: Path | None, normal_class: str) -> Reference:
    """The truth of a table, else the hidden one of the folders that were imported, else none.

    Raises
    ------
    InputError
        It cannot judge: no class of it is meant by `normal_class`, or all of its seeds are of one class.
    """
    from napari_seedlab.session.sheets import reference_classes

    first = next(iter(session.scheme))
    hidden = {} if table else reference_classes(session, session.pool)
    if not hidden:
        normal = session.scheme.by_name(normal_class) if normal_class else first
        class_of = judge.classes_of(session, table) if table else None
        if table and class_of:
            judge.refuse_one_class(class_of, normal.name, table.name)
        return Reference(normal.id, normal.name, class_of)
    names = sorted(set(hidden.values()))
    known = {c.name: c.id for c in session.scheme}
    if len(names) == 1:
        say(f"The folders name one class only ({names[0]}): nothing judges the scores.")
        normal_id = known.get(normal_class) or first.id
        return Reference(normal_id, names[0], None)
    normal_name = _normal_among(names, normal_class, first.name)
    return Reference(known.get(normal_class or normal_name, first.id), normal_name, hidden)


def _normal_among(names: list[str], wish: str, default: str) -> str:
    shown = ", ".join(names[:SHOWN])
    wanted = [wish.casefold()] if wish else [default.casefold(), *USUAL]
    for want in wanted:
        fitting = [name for name in names if name.casefold() == want]
        if fitting:
            return fitting[0]
    if wish:
        raise InputError(
            f"--normal-class {wish}", f"is no class of the folders ({shown})", "Choose one of them"
        )
    cause = f"names its classes {shown}; none is called {' or '.join(dict.fromkeys((default, *USUAL)))}"
    raise InputError("the truth of the folders", cause, "Choose the normal one with --normal-class")
