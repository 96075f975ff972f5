import threading

import pytest

from napari_seedlab.core import JobCancelled, JobError, JobState, NotReady
from napari_seedlab.jobs import InlineRunner, adopt
from tests.jobs.tools import Watch, request, until

FOREVER = {"n": 10**6, "pace": 0.01}


@pytest.fixture
def runner():
    runner = InlineRunner()
    runner.start()
    yield runner
    runner.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("seedlab-")]


def test_a_job_passes_its_states_and_gives_its_result(runner, jobs_folder):
    watch = Watch(runner)
    runner.submit(request("1", "count", number=4, n=3), jobs_folder / "1")
    assert runner.wait("1", 10).files == ("numbers.npz",)
    assert runner.result("1").values["first"] == 0
    assert watch.states("1") == ["queued", "starting", "running", "completed"]
    assert runner.status("1").number == 4


def test_a_failure_is_one_line_and_its_log(runner, jobs_folder):
    runner.submit(request("1", "fail"), jobs_folder / "1")
    with pytest.raises(JobError, match="ZeroDivisionError"):
        runner.wait("1", 10)
    status = runner.status("1")
    assert status.state is JobState.FAILED
    assert "\n" not in status.error
    assert status.log_path == str(jobs_folder / "1" / "job.log")


def test_the_lanes_run_side_by_side_and_each_in_order(runner, jobs_folder):
    runner.submit(request("long", "count", "background", **FOREVER), jobs_folder / "long")
    runner.submit(request("queued", "count", "background", n=1), jobs_folder / "queued")
    runner.submit(request("short", "count", "live", n=1), jobs_folder / "short")
    runner.wait("short", 10)
    assert runner.status("queued").state is JobState.QUEUED
    runner.cancel("queued")
    assert runner.status("queued").state is JobState.CANCELLED
    runner.cancel("long")
    with pytest.raises(JobCancelled):
        runner.wait("long", 10)


def test_cancel_is_heard_at_the_next_step_and_a_cancelled_job_can_be_sent_again(runner, jobs_folder):
    watch = Watch(runner)
    runner.submit(request("1", "count", **FOREVER), jobs_folder / "1")
    until(lambda: runner.status("1").progress.done > 0)
    runner.cancel("1")
    runner.cancel("1")
    with pytest.raises(JobCancelled):
        runner.wait("1", 10)
    assert watch.states("1")[-2:] == ["cancelling", "cancelled"]
    assert adopt(jobs_folder / "1").state is JobState.CANCELLED
    runner.submit(request("1", "count", **FOREVER), jobs_folder / "1")
    until(lambda: runner.status("1").progress.done > 0)


def test_closing_stops_at_a_checkpoint_and_the_named_job_goes_on_alone(jobs_folder):
    runner = InlineRunner()
    for name, lane in (("kept", "background"), ("left", "live")):
        runner.submit(request(name, "count", lane, n=150, pace=0.01), jobs_folder / name)
        until(lambda name=name: runner.status(name).progress.done > 0)
    runner.close(finish_in_background=["kept"])
    assert adopt(jobs_folder / "left").state is JobState.QUEUED
    until(lambda: adopt(jobs_folder / "kept").state is JobState.COMPLETED)
    with pytest.raises(NotReady):
        runner.submit(request("2", "count", n=1), jobs_folder / "2")
