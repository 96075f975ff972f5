"""The class scheme as the user edits it: shown at once, an event of the journal a moment later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_seedlab.core import ClassScheme
    from napari_seedlab.session.desk import Task
    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project


class Classes:
    """Adds, renames, recolours and hides classes. An id means one class for ever, so no label is ever lost.

    Every method refuses what two people could mix up (a name, colour or key that another class has) at once,
    with InputError in one line, and returns a task that ends when the change is durable.

    Parameters
    ----------
    session : Session
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, name: str, color: str = "", key: str | None = None) -> Task:
        """One more class; colour and key are found where they are not given."""
        return self._set(self._session.scheme.with_class(name, color, key), refits=True)

    def rename(self, class_id: int, name: str) -> Task:
        """Call a class otherwise; its labels stay."""
        return self._set(self._session.scheme.changed(class_id, name=name))

    def recolour(self, class_id: int, color: str) -> Task:
        """Give a class another colour ``#rrggbb``."""
        return self._set(self._session.scheme.changed(class_id, color=color))

    def set_key(self, class_id: int, key: str) -> Task:
        """Give a class another digit, or none."""
        return self._set(self._session.scheme.changed(class_id, key=key))

    def hide(self, class_id: int) -> Task:
        """Offer a class no more. Labels that have it keep it, and teach nothing until it is back."""
        return self._set(self._session.scheme.without(class_id), refits=True)

    def restore(self, class_id: int) -> Task:
        """Offer a hidden class again."""
        return self._set(self._session.scheme.with_again(class_id), refits=True)

    def _set(self, scheme: ClassScheme, refits: bool = False) -> Task:
        session = self._session
        session.refuse_if_blocked()
        session.scheme = scheme
        session.scheme_changed.emit()

        def work(project: Project) -> dict[str, Any]:
            try:
                project.set_scheme(scheme, session.annotator)
            except Exception:  # whatever the reason: what is shown is what is saved
                session.scheme = project.scheme("grain")
                session.scheme_changed.emit()
                raise
            if refits:
                for pool in list(session.embeddings):
                    session.refit(pool)
            return {"classes": [c.name for c in scheme.active]}

        return session.desk.do_task("classes", work)
