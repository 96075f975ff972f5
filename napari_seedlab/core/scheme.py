"""Classes with fixed ids."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_seedlab.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class SeedClass:
    """One class: id from 1, never reused; name; colour ``#rrggbb``; key (one digit)."""

    id: int
    name: str
    color: str
    key: str


@dataclass(frozen=True)
class ClassScheme:
    """Ordered classes of one kind (``grain`` or ``tissue``).

    Raises
    ------
    InputError
        Two classes share an id, a name or a key, an id is below 1, a name is empty or a colour
        is not ``#rrggbb``.
    """

    kind: str
    classes: tuple[SeedClass, ...]

    def __post_init__(self) -> None:
        subject = f"class scheme '{self.kind}'"
        for field in ("id", "name", "key"):
            values = [getattr(c, field) for c in self.classes]
            double = next((v for v in values if values.count(v) > 1 and v != ""), None)
            if double is not None:
                raise InputError(subject, f"{field} {double!r} stands twice", "Give each class its own")
        for c in self.classes:
            if c.id < 1:
                raise InputError(subject, f"class {c.name!r} has id {c.id}", "Use whole numbers from 1")
            if not c.name.strip():
                raise InputError(subject, f"class {c.id} has no name", "Name it")
            if not re.fullmatch(r"#[0-9a-fA-F]{6}", c.color):
                raise InputError(subject, f"class {c.name!r} has colour {c.color!r}", "Write #rrggbb")

    def __iter__(self) -> Iterator[SeedClass]:
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def ids(self) -> tuple[int, ...]:
        """Class ids in order."""
        return tuple(c.id for c in self.classes)

    def by_id(self, class_id: int) -> SeedClass:
        """The class of an id; InputError when there is none."""
        for c in self.classes:
            if c.id == class_id:
                return c
        raise InputError(f"class {class_id}", "is not in the class scheme", "Use " + self._known())

    def by_name(self, name: str) -> SeedClass:
        """The class of a name or of an id written as text; InputError when there is none."""
        for c in self.classes:
            if name in (c.name, str(c.id)):
                return c
        raise InputError(f"class {name!r}", "is not in the class scheme", "Use " + self._known())

    def _known(self) -> str:
        return ", ".join(f"{c.id} {c.name}" for c in self.classes)


# Colours: Okabe-Ito, told apart by colour-blind users.
GRAIN_SCHEME = ClassScheme(
    "grain",
    (
        SeedClass(1, "normal", "#009e73", "1"),
        SeedClass(2, "abnormal", "#e69f00", "2"),
        SeedClass(3, "dead", "#cc4455", "3"),
        SeedClass(4, "foreign", "#56b4e9", "4"),
    ),
)
TISSUE_SCHEME = ClassScheme(
    "tissue",
    (
        SeedClass(1, "coat", "#d55e00", "1"),
        SeedClass(2, "embryo", "#f0e442", "2"),
        SeedClass(3, "cavity", "#0072b2", "3"),
        SeedClass(4, "defect", "#cc79a7", "4"),
    ),
)
