import pytest

from napari_seedlab.files import filesystem_type, is_network

TABLE = """\
22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:44 / /mnt/lab\\040drive rw,relatime shared:2 - nfs4 server:/export rw
41 40 0:45 / /mnt/lab\\040drive/local rw - xfs /dev/sdb rw
42 22 0:46 / /scratch rw master:3 - lustre 10.0.0.1@tcp:/lfs rw
43 22 0:47 / /home/a/remote rw - fuse.sshfs host:/data rw
44 22 0:48 / /twice rw - ext4 /dev/sdc rw
45 44 0:49 / /twice rw - cifs //server/share rw
not a mount line
"""


@pytest.fixture
def mounts(tmp_path):
    path = tmp_path / "mountinfo"
    path.write_text(TABLE)
    return path


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [
        ("/somewhere/else", "ext4", False),
        ("/mnt/lab drive/P.seedlab", "nfs4", True),
        ("/mnt/lab drive/local/P.seedlab", "xfs", False),
        ("/mnt/lab drives", "ext4", False),
        ("/scratch", "lustre", True),
        ("/home/a/remote/x/y", "fuse.sshfs", True),
        ("/twice/x", "cifs", True),
    ],
)
def test_longest_and_latest_mount_wins(mounts, path, kind, network):
    assert filesystem_type(path, mounts) == kind
    assert is_network(path, mounts) is network


def test_no_table_means_unknown(tmp_path):
    assert filesystem_type("/", tmp_path / "nowhere") == ""
    assert not is_network("/", tmp_path / "nowhere")


def test_this_machine_is_known():
    assert filesystem_type("/proc") == "proc"
