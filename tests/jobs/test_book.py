import threading

import pytest

from napari_seedlab.core import (
    InputError,
    JobCancelled,
    JobError,
    JobResult,
    JobState,
    NotReady,
    Progress,
    WorkerLost,
)
from napari_seedlab.jobs.book import JobBook
from tests.jobs.tools import request


@pytest.fixture
def told():
    return []


@pytest.fixture
def book(told, tmp_path):
    book = JobBook(told.append)
    book.add(request("a", "count"), tmp_path)
    return book


def test_each_announced_step_is_in_order(book, told):
    book.progress("a", Progress(1, 2))
    book.complete("a", JobResult({"x": 1}))
    states = [s.state for s in told]
    assert list(dict.fromkeys(states)) == ["queued", "starting", "running", "completed"]
    assert book.wait("a", 0).values == {"x": 1}


def test_progress_after_cancel_does_not_bring_the_job_back(book):
    book.move("a", JobState.CANCELLING)
    book.progress("a", Progress(1, 2))
    assert book.status("a").state is JobState.CANCELLING
    assert book.status("a").progress.done == 1


def test_late_reports_about_an_ended_job_are_ignored(book):
    book.fail("a", WorkerLost("a", "went away"), "job.log")
    book.complete("a", JobResult({}))
    book.progress("a", Progress(1, 1))
    assert not book.move("a", JobState.RUNNING)
    status = book.status("a")
    assert (status.state, status.log_path, status.progress.done) == (JobState.FAILED, "job.log", 0)
    with pytest.raises(WorkerLost, match="went away"):
        book.result("a")


def test_cancelled_error_ends_as_cancelled(book):
    book.fail("a", JobCancelled("a", "was cancelled"))
    assert book.status("a").state is JobState.CANCELLED
    with pytest.raises(JobCancelled):
        book.wait("a", 0)


def test_wait_gives_up_after_its_timeout(book):
    with pytest.raises(TimeoutError):
        book.wait("a", 0.01)
    with pytest.raises(NotReady):
        book.result("a")


def test_an_unknown_or_running_id_is_refused_in_one_line(book, tmp_path):
    with pytest.raises(InputError, match="not known"):
        book.status("b")
    with pytest.raises(InputError, match="already running"):
        book.add(request("a", "count"), tmp_path)


def test_a_failing_listener_hurts_nobody(tmp_path, caplog):
    def listener(status):
        raise RuntimeError("slot")

    book = JobBook(listener)
    book.add(request("a", "count"), tmp_path)
    book.fail("a", JobError("a", "broke"))
    assert "A listener failed on job a: slot" in caplog.text
    with pytest.raises(JobError):
        book.wait("a", 1)


def test_a_listener_may_call_the_book(tmp_path):
    values = []

    def listener(status):
        if status.state is JobState.RUNNING:
            book.complete("a", JobResult({"x": 1}))
        if status.state is JobState.COMPLETED:
            values.append(book.wait("a", 5).values["x"])

    book = JobBook(listener)
    book.add(request("a", "count"), tmp_path)
    book.progress("a", Progress(1, 2))
    assert values == [1]


def test_threads_see_every_step_once_and_in_order(tmp_path, told):
    book = JobBook(told.append)
    names = [str(i) for i in range(40)]

    def one(name):
        book.add(request(name, "count"), tmp_path)
        for i in range(20):
            book.progress(name, Progress(i, 20))
        book.complete(name, JobResult({}))

    threads = [threading.Thread(target=one, args=(n,)) for n in names]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for name in names:
        mine = [s for s in told if s.id == name]
        assert [s.progress.done for s in mine] == sorted(s.progress.done for s in mine)
        assert mine[-1].state is JobState.COMPLETED
        assert len(mine) == 24  # queued, starting, running, 20 of progress, completed


def test_an_older_request_is_stale_once_a_newer_is_in(book, tmp_path):
    assert not book.is_stale("a")
    book.add(request("b", "count", number=1), tmp_path)
    book.add(request("c", "fail", number=2), tmp_path)
    assert book.is_stale("a")
    assert not book.is_stale("b")
