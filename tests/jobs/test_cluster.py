"""The cluster runner with real processes; one runner serves the tests that leave it whole."""

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

from napari_seedlab.core import JobCancelled, JobError, JobState, NotReady, Settings, WorkerLost
from napari_seedlab.jobs import ClusterRunner, adopt
from tests.jobs.tools import Watch, request, until

FOREVER = {"n": 10**6, "pace": 0.01}


@pytest.fixture(scope="module")
def runner():
    runner = ClusterRunner(warm_up=("json", "no_such_module"))
    runner.start()
    assert runner.wait_ready(60)
    yield runner
    runner.close(timeout=10)


def family(pid):
    """A host process and all that it started."""
    try:
        host = psutil.Process(pid)
        return [host, *host.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def are_gone(processes):
    return not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def worker_pid(runner, folder):
    runner.submit(request(folder.name, "modules"), folder)
    return runner.wait(folder.name, 30).values["pid"]


def test_a_job_passes_its_states_in_another_process(runner, jobs_folder):
    watch = Watch(runner)
    runner.submit(request("states", "count", number=3, n=3), jobs_folder / "states")
    result = runner.wait("states", 30)
    assert result.values["pid"] != os.getpid()
    assert result.files == ("numbers.npz",)
    assert watch.states("states") == ["queued", "starting", "running", "completed"]
    assert watch.of("states")[-1].number == 3
    assert watch.of("states")[-1].device.startswith("cpu")


def test_the_worker_is_warmed_and_what_is_missing_hurts_nobody(runner):
    assert runner.wait_warm(60)
    assert list(runner.facts["missing"]) == ["no_such_module"]
    assert {"device", "precision", "optim", "threads"} <= set(runner.facts)


def test_neither_window_nor_test_modules_are_loaded_in_the_worker(runner, jobs_folder):
    runner.submit(request("modules", "modules"), jobs_folder / "modules")
    loaded = {m.partition(".")[0] for m in runner.wait("modules", 30).values["modules"]}
    assert not loaded & {"napari", "qtpy", "PyQt5", "PyQt6", "vispy", "pytest", "_pytest"}


def test_the_app_loads_no_engine():
    code = (
        "import sys; from napari_seedlab.jobs import ClusterRunner; r = ClusterRunner(warm_up=()); r.start();"
        "assert r.wait_ready(60); r.close(timeout=10);"
        "heavy = {'distributed', 'dask', 'torch', 'tornado', 'cryptography', 'zarr', 'numba', 'scipy'};"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_a_failure_is_one_line_and_the_next_job_runs(runner, jobs_folder):
    runner.submit(request("fail", "fail"), jobs_folder / "fail")
    with pytest.raises(JobError, match="ZeroDivisionError: a foreign fault of two lines"):
        runner.wait("fail", 30)
    status = runner.status("fail")
    assert (status.state, status.log_path) == (JobState.FAILED, str(jobs_folder / "fail" / "job.log"))
    runner.submit(request("after", "count", n=1), jobs_folder / "after")
    runner.wait("after", 30)


def test_a_live_job_does_not_wait_for_a_background_job(runner, jobs_folder):
    runner.submit(request("train", "count", "background", **FOREVER), jobs_folder / "train")
    until(lambda: runner.status("train").progress.done > 0)
    runner.submit(request("next", "count", "background", n=3), jobs_folder / "next")
    lanes = {"head": "live", "second head": "live", "tables": "export"}
    for name, lane in lanes.items():  # by the second one, the waiting job has its place in the queue
        runner.submit(request(name, "count", lane, n=3), jobs_folder / name)
        runner.wait(name, 10)
    assert runner.status("next").state is JobState.QUEUED
    until(lambda: runner.status("train").seconds_left is not None)
    assert runner.status("train").state is JobState.RUNNING
    runner.cancel("train")
    with pytest.raises(JobCancelled):
        runner.wait("train", 10)
    runner.wait("next", 10)


def test_cancel_takes_less_than_a_second_and_frees_the_lane(runner, jobs_folder):
    runner.submit(request("c1", "count", **FOREVER), jobs_folder / "c1")
    runner.submit(request("c2", "count", **FOREVER), jobs_folder / "c2")
    runner.submit(request("c3", "count", n=1), jobs_folder / "c3")
    until(lambda: runner.status("c1").progress.done > 0)
    for name in ("c2", "c1"):  # the queued one first: it must not wait for its turn
        begun = time.monotonic()
        runner.cancel(name)
        with pytest.raises(JobCancelled):
            runner.wait(name, 10)
        assert time.monotonic() - begun < 1.0
    runner.wait("c3", 10)
    assert json.loads((jobs_folder / "c1" / "checkpoint.json").read_text())["step"] > 0


def test_a_cancelled_job_goes_on_from_its_checkpoint_when_sent_again(runner, jobs_folder):
    for stop in (True, False):
        runner.submit(request("again", "count", n=60, pace=0.01), jobs_folder / "again")
        if stop:
            until(lambda: runner.status("again").progress.done > 5)
            runner.cancel("again")
            with pytest.raises(JobCancelled):
                runner.wait("again", 10)
    assert runner.wait("again", 20).values["first"] > 5


def test_fifty_reports_a_second_and_a_large_result(runner, jobs_folder):
    watch = Watch(runner)
    runner.submit(request("big", "big", "background"), jobs_folder / "big")
    runner.wait("big", 60)
    reports = [s for s in watch.of("big") if s.progress.figures and s.state is JobState.RUNNING]
    assert len(reports) <= 15  # one second at 10 Hz, with room for the first and the last
    assert reports[-1].progress.done == 49
    assert (jobs_folder / "big" / "big.npz").stat().st_size > 100_000_000


def test_a_job_may_start_processes(runner, jobs_folder):
    runner.submit(request("child", "child"), jobs_folder / "child")
    assert runner.wait("child", 60).values["exitcode"] == 0


def test_only_loopback_is_listened_on_and_no_http(runner):
    ports = [
        c.laddr
        for p in family(runner.host_pid)
        for c in p.net_connections("inet")
        if c.status == psutil.CONN_LISTEN
    ]
    assert {address.ip for address in ports} == {"127.0.0.1"}
    assert len(ports) == 3  # scheduler, nanny, worker; all TLS


def test_a_killed_worker_is_one_line_and_the_job_goes_on_when_sent_again(runner, jobs_folder):
    pid = worker_pid(runner, jobs_folder / "pid")
    job = request("kill", "count", "background", n=60, pace=0.05, every=1)
    runner.submit(job, jobs_folder / "kill")
    until(lambda: runner.status("kill").progress.done > 2)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerLost, match="its worker process ended") as caught:
        runner.wait("kill", 30)
    assert "\n" not in str(caught.value)
    assert runner.status("kill").state is JobState.FAILED
    runner.submit(job, jobs_folder / "kill")
    assert runner.wait("kill", 30).values["first"] > 0


def test_a_job_that_only_waited_survives_the_death_of_the_worker(runner, jobs_folder):
    pid = worker_pid(runner, jobs_folder / "pid")
    runner.submit(request("victim", "count", "background", **FOREVER), jobs_folder / "victim")
    runner.submit(request("waiting", "count", "background", n=3), jobs_folder / "waiting")
    until(lambda: runner.status("victim").progress.done > 0)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerLost):
        runner.wait("victim", 10)
    assert runner.wait("waiting", 30).values["pid"] != pid


def test_a_killed_host_is_one_line_and_the_next_job_starts_another(runner, jobs_folder):
    runner.submit(request("lost", "count", **FOREVER), jobs_folder / "lost")
    until(lambda: runner.status("lost").progress.done > 0)
    processes = family(runner.host_pid)
    os.kill(runner.host_pid, signal.SIGKILL)
    with pytest.raises(WorkerLost):
        runner.wait("lost", 10)
    until(lambda: are_gone(processes), 5)
    runner.submit(request("lost", "count", n=3), jobs_folder / "lost")
    assert runner.wait("lost", 60).values["first"] == 0


def test_starting_takes_the_caller_no_time_and_closing_leaves_nothing(jobs_folder):
    threads = set(threading.enumerate())
    gc.collect()
    files = len(psutil.Process().open_files()), psutil.Process().num_fds()
    begun = time.monotonic()
    runner = ClusterRunner(warm_up=())
    runner.start()
    assert time.monotonic() - begun < 0.05
    runner.submit(request("1", "count", **FOREVER), jobs_folder / "1")
    until(lambda: runner.status("1").progress.done > 0)
    processes, own = family(runner.host_pid), f"seedlab-jobs-{runner.host_pid}-*"  # other tests have theirs
    assert len(processes) >= 2 and list(Path(tempfile.gettempdir()).glob(own))
    begun = time.monotonic()
    runner.close(timeout=10)
    assert time.monotonic() - begun < 3.0  # 0.5 s on an idle machine
    until(lambda: are_gone(processes), 2)
    assert set(threading.enumerate()) <= threads
    assert (len(psutil.Process().open_files()), psutil.Process().num_fds()) == files
    assert not list(Path(tempfile.gettempdir()).glob(own))
    assert adopt(jobs_folder / "1").state is JobState.QUEUED  # stopped at a checkpoint, resumable
    with pytest.raises(NotReady):
        runner.submit(request("2", "count", n=1), jobs_folder / "2")


def test_a_window_closes_at_once_and_the_named_job_goes_on_alone(jobs_folder):
    runner = ClusterRunner(warm_up=())
    runner.submit(request("1", "count", "background", n=200, pace=0.01), jobs_folder / "1")
    until(lambda: runner.status("1").progress.done > 0)
    processes = family(runner.host_pid)
    begun = time.monotonic()
    runner.close(finish_in_background=["1"], timeout=0)
    assert time.monotonic() - begun < 0.05
    until(lambda: are_gone(processes), 5)
    until(lambda: adopt(jobs_folder / "1").state is JobState.COMPLETED, 30)
    result = json.loads((jobs_folder / "1" / "result.json").read_text())
    assert result["values"]["first"] > 0  # went on from the checkpoint


def test_closing_while_it_starts_leaves_nothing(jobs_folder):
    runner = ClusterRunner(warm_up=())
    runner.submit(request("1", "count", n=1), jobs_folder / "1")
    until(lambda: runner.host_pid > 0)
    processes = family(runner.host_pid)
    runner.close(timeout=10)
    until(lambda: are_gone(processes), 5)
    with pytest.raises(JobError):
        runner.wait("1", 1)


APP = """
import sys
from pathlib import Path
from napari_seedlab.core import JobRequest
from napari_seedlab.jobs import ClusterRunner
runner = ClusterRunner(warm_up=())
folder = Path(sys.argv[1])
runner.submit(JobRequest("1", "tests.jobs.toy:count", {"n": 10**6, "pace": 0.01}), folder)
while runner.status("1").progress.done == 0:
    pass
sys.stdout.write(f"{runner.host_pid}\\n")
sys.stdout.flush()
sys.stdin.read()
"""


def test_nothing_is_left_five_seconds_after_the_app_was_killed(jobs_folder):
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", APP, str(jobs_folder / "1")], stdin=pipe, stdout=pipe, text=True
    ) as app:
        processes = family(int(app.stdout.readline()))
        assert len(processes) >= 2
        app.send_signal(signal.SIGKILL)
        app.wait()
        until(lambda: are_gone(processes), 5)
    assert adopt(jobs_folder / "1").state is JobState.QUEUED


def test_a_job_beyond_the_memory_limit_is_ended_and_the_limit_is_named(jobs_folder):
    runner = ClusterRunner(Settings(memory_limit_gb=0.6), warm_up=())
    runner.submit(request("1", "hoard"), jobs_folder / "1")
    with pytest.raises(WorkerLost, match=r"memory limit 0\.6 GB"):
        runner.wait("1", 60)
    runner.submit(request("2", "count", n=1), jobs_folder / "2")
    runner.wait("2", 60)
    runner.close(timeout=10)


def test_what_a_killed_host_left_is_swept_at_the_next_start():
    left = Path(tempfile.mkdtemp(prefix=f"seedlab-jobs-{2**22 + 1}-"))  # above every process id
    (left / "x").touch()
    mine = Path(tempfile.mkdtemp(prefix=f"seedlab-jobs-{os.getpid()}-"))
    runner = ClusterRunner(warm_up=())
    runner.start()
    assert runner.wait_ready(60)
    assert not left.exists()
    assert mine.exists()
    mine.rmdir()
    runner.close(timeout=10)


def test_an_unreachable_scheduler_is_one_line(jobs_folder):
    runner = ClusterRunner(Settings(scheduler="tcp://127.0.0.1:1"), warm_up=())
    runner.submit(request("1", "count", n=1), jobs_folder / "1")
    with pytest.raises(JobError, match=r"scheduler tcp://127\.0\.0\.1:1: cannot be reached"):
        runner.wait("1", 60)
    runner.close(timeout=10)
