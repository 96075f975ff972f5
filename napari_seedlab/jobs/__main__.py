"""``python -m napari_seedlab.jobs FOLDER``: finish one job folder, alone."""

from __future__ import annotations

import sys
from pathlib import Path

from napari_seedlab.core import JobCancelled, SeedlabError
from napari_seedlab.jobs.detached import finish


def main() -> int:
    """Compute the folder named on the command line.

    An optional second argument says that this process inherited the folder's lock.

    Returns
    -------
    int
        0 done or cancelled, 1 failed (one line on stderr), 2 wrong usage.
    """
    arguments = sys.argv[1:]
    if not 1 <= len(arguments) <= 2:
        sys.stderr.write("usage: python -m napari_seedlab.jobs FOLDER\n")
        return 2
    try:
        finish(Path(arguments[0]), has_lock=len(arguments) == 2)
    except JobCancelled:
        return 0
    except SeedlabError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
