"""What the host decides, and jobs on a scheduler that is not ours."""

import asyncio
import io
import subprocess
import sys
from pathlib import Path

import pytest
from distributed import KilledWorker

from napari_seedlab.core import JobError, Settings, WorkerLost
from napari_seedlab.jobs import ClusterRunner
from napari_seedlab.jobs.host import Host, _Task
from tests.jobs.tools import request

# 127.0.0.2 is a loopback address that the host does not take for this machine.
SCHEDULER = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    options = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
    with LocalCluster(host="127.0.0.2", **options) as cluster:
        sys.stdout.write(cluster.scheduler_address + "\\n")
        sys.stdout.flush()
        sys.stdin.read()
"""


class FakeClient:
    """Stands for the client: workers that offer `resources` and answer `answers`."""

    submitted = 0

    def __init__(self, resources=(), answers=None):
        self.resources, self.answers = resources, answers or {}

    def scheduler_info(self, n_workers):
        return {"workers": {str(i): {"resources": r} for i, r in enumerate(self.resources)}}

    def submit(self, *arguments, **options):
        async def compute():
            self.submitted += 1
            if self.submitted == 1:
                raise KilledWorker("key", None, 0)
            return {"op": "completed"}

        return compute()

    async def run(self, function, *arguments, on_error):
        assert (Path(arguments[0]) / arguments[1]).read_text() == arguments[2]
        return self.answers


@pytest.fixture
def host(request):
    host = Host({"scheduler": "tls://far.example:8786", "memory_limit": 4e9, "warm_up": []}, io.BytesIO())
    request.addfinalizer(host._temporary.rmdir)
    return host


@pytest.mark.parametrize(
    ("answers", "message"),
    [({}, "has no worker"), ({"a": True, "b": False}, "is not on a path"), ({"a": OSError()}, "is not on")],
    ids=["no worker", "one blind worker", "worker without the package"],
)
def test_a_project_that_remote_workers_cannot_read_is_refused_in_one_line(host, tmp_path, answers, message):
    host._client = FakeClient(answers=answers)
    with pytest.raises(JobError, match=message) as caught:
        asyncio.run(host._check_shared(tmp_path))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["tls://127.0.0.1:1", "tcp://localhost:1", "tls://[::1]:1", ""])
def test_a_scheduler_on_this_machine_needs_no_shared_drive(host, tmp_path, address):
    host._config["scheduler"] = address
    asyncio.run(host._check_shared(tmp_path))


@pytest.mark.parametrize(
    ("resources", "lane", "expected"),
    [
        ([{}], "live", {}),
        ([{"GPU": 1}], "background", {"GPU": 1}),
        ([{"GPU": 1}], "live", {}),
        ([{}, {"live": 1, "background": 1}], "live", {"live": 1}),
    ],
)
def test_a_job_asks_remote_workers_for_what_they_offer(host, resources, lane, expected):
    host._client = FakeClient(resources)
    assert host._resources(lane) == expected


@pytest.mark.parametrize("has_begun", [False, True], ids=["waiting", "begun"])
def test_a_job_that_had_not_begun_when_its_worker_died_is_sent_again(host, tmp_path, has_begun):
    host._client = FakeClient()
    task = _Task("1", tmp_path, has_begun=has_begun)
    if has_begun:
        with pytest.raises(WorkerLost):
            asyncio.run(host._outcome(task, "live"))
    else:
        assert asyncio.run(host._outcome(task, "live")) == {"op": "completed"}
    assert host._client.submitted == (1 if has_begun else 2)


def test_jobs_run_on_a_scheduler_that_already_runs(jobs_folder):
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", SCHEDULER], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    ) as cluster:
        address = cluster.stdout.readline().strip()
        runner = ClusterRunner(Settings(scheduler=address))
        runner.submit(request("1", "count", "background", n=3), jobs_folder / "1")
        assert runner.wait("1", 60).files == ("numbers.npz",)
        runner.close(timeout=10)
        assert cluster.poll() is None  # closing the app leaves a foreign scheduler alone
        cluster.stdin.close()
