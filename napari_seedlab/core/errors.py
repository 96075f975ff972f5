"""The errors that a user may see, each one line long.

SeedlabError
├── InputError        a file or a value that somebody gave us cannot be used
├── ProjectError      the project folder cannot be opened or written
│   ├── ProjectLocked     another window or host writes it
│   └── ProjectDamaged    something in it is not what was written
├── NotReady          the step needs something that is not there yet
└── JobError          a background computation ended without a result
    ├── JobCancelled      the user stopped it
    └── WorkerLost        the process that ran it went away
"""

from __future__ import annotations

MAX_LINE = 200  # characters of a message; the rest belongs in the log


def one_line(text: object) -> str:
    """Return `text` on one line, control characters escaped, at most ``MAX_LINE`` characters."""
    line = " ".join(str(text).split())
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return line if len(line) <= MAX_LINE else line[: MAX_LINE - 1] + "…"


class SeedlabError(Exception):
    """A problem told in one line: what it is about, what is wrong, what to do.

    Parameters
    ----------
    subject : object
        File, field or thing that the line is about.
    cause : str
        What is wrong, with the value; no full stop.
    remedy : str
        What to do next, as a sentence without its full stop.
    """

    def __init__(self, subject: object, cause: str = "", remedy: str = "") -> None:
        self.subject, self.cause, self.remedy = str(subject), cause, remedy
        head = f"{subject}: {cause}" if cause else str(subject)
        super().__init__(one_line(f"{head}. {remedy}." if remedy else f"{head}."))

    def __reduce__(self) -> tuple[type[SeedlabError], tuple[str, str, str]]:
        return type(self), (self.subject, self.cause, self.remedy)


class InputError(SeedlabError):
    """A file or value from outside cannot be used."""


class ProjectError(SeedlabError):
    """The project folder cannot be opened or written."""


class ProjectLocked(ProjectError):
    """Another process writes this project."""


class ProjectDamaged(ProjectError):
    """A file of the project is not what was written."""


class NotReady(SeedlabError):
    """Something that this step needs is not there yet."""


class JobError(SeedlabError):
    """A background computation ended without a result."""


class JobCancelled(JobError):
    """The user stopped the computation."""


class WorkerLost(JobError):
    """The process that ran the computation went away."""
