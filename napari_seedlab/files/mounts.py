"""On what kind of file system a path lies."""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTS = "/proc/self/mountinfo"
NETWORK_TYPES = frozenset(
    "nfs nfs3 nfs4 cifs smb smb2 smb3 smbfs ncpfs afs ceph lustre gpfs beegfs beegfs_nodev 9p virtiofs "
    "glusterfs orangefs fuse.sshfs fuse.glusterfs fuse.ceph fuse.rclone fuse.s3fs fuse.gvfsd-fuse fuse.cifs "
    "davfs fuse.davfs2".split()
)


def filesystem_type(path: str | os.PathLike[str], mounts: str | os.PathLike[str] = MOUNTS) -> str:
    """Name of the file system that holds `path`, such as ``ext4`` or ``nfs4``; empty if unknown.

    Parameters
    ----------
    path : path-like
        It need not exist yet.
    mounts : path-like
        Table in the form of ``/proc/self/mountinfo`` (man page proc_pid_mountinfo).
    """
    try:
        lines = Path(mounts).read_text("utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    real = os.path.realpath(path)
    best, kind = -1, ""
    for line in lines:
        point, name = _mount(line)
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if point and inside and len(point) >= best:  # a later mount on one point hides the earlier
            best, kind = len(point), name
    return kind


def _mount(line: str) -> tuple[str, str]:
    """Mount point and type of one line, or empty strings."""
    head, separator, tail = line.partition(" - ")
    fields, kind = head.split(" "), tail.split(" ")[0]
    if not separator or len(fields) < 5:
        return "", ""
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields[4]), kind


def is_network(path: str | os.PathLike[str], mounts: str | os.PathLike[str] = MOUNTS) -> bool:
    """Whether `path` lies on a drive that other hosts can write at the same time."""
    return filesystem_type(path, mounts) in NETWORK_TYPES
