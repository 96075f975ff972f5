"""Classes with fixed ids."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_seedlab.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

PALETTE = (  # for new classes: Okabe-Ito and Tol, told apart by colour-blind users
    "#009e73", "#e69f00", "#cc4455", "#56b4e9", "#cc79a7", "#f0e442", "#0072b2", "#aa7744", "#bbbbbb",
    "#882255", "#44aa99", "#999933", "#ddcc77", "#332288", "#88ccee", "#117733",
)  # fmt: skip


@dataclass(frozen=True)
class SeedClass:
    """One class: id from 1, never reused; name; colour ``#rrggbb``; key (one digit, or none).

    A hidden class is not offered any more; labels that have it keep it.
    """

    id: int
    name: str
    color: str
    key: str
    hidden: bool = False


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

    @property
    def active(self) -> tuple[SeedClass, ...]:
        """The classes that are offered, in order."""
        return tuple(c for c in self.classes if not c.hidden)

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

    # -- other schemes, with the same ids -----------------------------------------------------
    def with_class(self, name: str, color: str = "", key: str | None = None) -> ClassScheme:
        """The scheme with one more class; colour and key are found where they are not given."""
        number = max(self.ids, default=0) + 1
        given = self.free_key() if key is None else key
        new = SeedClass(number, name, color or self.free_color(), given)
        return self._checked((*self.classes, new), new)

    def changed(
        self, class_id: int, name: str | None = None, color: str | None = None, key: str | None = None
    ) -> ClassScheme:
        """The scheme with another name, colour or key of one class."""
        old = self.by_id(class_id)
        new = SeedClass(
            old.id,
            old.name if name is None else name,
            old.color if color is None else color,
            old.key if key is None else key,
            old.hidden,
        )
        return self._checked(tuple(new if c.id == class_id else c for c in self.classes), new)

    def without(self, class_id: int) -> ClassScheme:
        """The scheme with one class hidden; its key is free again."""
        gone = replace(self.by_id(class_id), hidden=True, key="")
        if self.active == (self.by_id(class_id),):
            raise InputError(f"class {gone.name!r}", "is the only one", "Add another class first")
        return ClassScheme(self.kind, tuple(gone if c.id == class_id else c for c in self.classes))

    def with_again(self, class_id: int) -> ClassScheme:
        """The scheme with a hidden class offered again on a free key, and in its colour if that is free."""
        old = self.by_id(class_id)
        is_taken = old.color.lower() in {c.color.lower() for c in self.active}
        color = self.free_color() if is_taken else old.color
        back = replace(old, hidden=False, key=self.free_key(), color=color)
        return self._checked(tuple(back if c.id == class_id else c for c in self.classes), back)

    def free_key(self) -> str:
        """The first digit that no class has; empty where all nine are taken."""
        taken = {c.key for c in self.classes}
        return next((k for k in "123456789" if k not in taken), "")

    def free_color(self) -> str:
        """The first of ``PALETTE`` that no class has, hidden ones included; grey where all are taken."""
        taken = {c.color.lower() for c in self.classes}
        return next((c for c in PALETTE if c not in taken), "#808080")

    def _checked(self, classes: tuple[SeedClass, ...], new: SeedClass) -> ClassScheme:
        """A scheme of `classes` in which nobody could take `new` for another one."""
        others = [c for c in classes if c.id != new.id]
        if new.key and new.key not in "123456789":
            raise InputError(f"key {new.key!r}", "is no digit from 1 to 9", "Choose a digit that is free")
        for c in others:
            if c.name.casefold() == new.name.strip().casefold():
                cause = "is hidden; restore it" if c.hidden else "is there already"
                raise InputError(f"class {c.name!r}", cause, "" if c.hidden else "Choose another name")
            if not c.hidden and c.color.lower() == new.color.lower():
                cause = f"is the colour of {c.name!r} already"
                raise InputError(new.color, cause, "Choose another colour")
            if new.key and c.key == new.key:
                raise InputError(f"key {new.key}", f"belongs to {c.name!r} already", "Choose a free digit")
        tidy = replace(new, name=new.name.strip())
        return ClassScheme(self.kind, tuple(tidy if c.id == new.id else c for c in classes))

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
