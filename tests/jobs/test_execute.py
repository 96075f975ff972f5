import json
import threading

import pytest

from napari_seedlab.core import JobCancelled, JobError
from napari_seedlab.files import file_hash
from napari_seedlab.jobs import adopt, execute
from napari_seedlab.jobs import folder as job_folder
from tests.jobs.tools import request


def never():
    return False


def prepared(folder, function, **params):
    job_folder.prepare(request(folder.name, function, **params), folder)
    return folder


def test_a_result_names_its_files_with_their_hashes(jobs_folder):
    folder = prepared(jobs_folder / "1", "count", n=3)
    seen = []
    result = execute(folder, seen.append, never)
    value = json.loads((folder / "result.json").read_text())
    assert result.values["first"] == 0
    assert value["files"] == {"numbers.npz": file_hash(folder / "numbers.npz")}
    assert seen[-1].done == 3
    assert (folder.stat().st_mode & 0o777, (folder / "result.json").stat().st_mode & 0o777) == (0o700, 0o600)


def test_cancel_closes_the_generator_which_writes_its_checkpoint(jobs_folder):
    folder = prepared(jobs_folder / "1", "count", n=10)
    seen = []
    with pytest.raises(JobCancelled):
        execute(folder, seen.append, lambda: len(seen) > 0)
    step = json.loads((folder / "checkpoint.json").read_text())["step"]
    assert 1 <= step < 10
    assert not (folder / "result.json").exists()
    assert execute(folder, seen.append, never).values["first"] == step


def test_the_cancel_mark_of_a_folder_is_heeded(jobs_folder):
    folder = prepared(jobs_folder / "1", "count", n=10)
    job_folder.request_cancel(folder)
    with pytest.raises(JobCancelled):
        execute(folder, lambda p: None, never)


def test_a_foreign_exception_is_one_line_and_a_log(jobs_folder):
    folder = prepared(jobs_folder / "7", "fail")
    with pytest.raises(JobError) as caught:
        execute(folder, lambda p: None, never)
    line = "job 7: ZeroDivisionError: a foreign fault of two lines. See its job.log for details."
    assert str(caught.value) == line
    assert "Traceback" in (folder / "job.log").read_text()
    assert "Traceback" not in (folder / "failure.json").read_text()
    status = adopt(folder)
    assert (status.error, status.log_path) == (line, str(folder / "job.log"))


def test_an_error_of_ours_is_passed_on_as_it_is(jobs_folder):
    folder = prepared(jobs_folder / "1", "refuse")
    with pytest.raises(JobError, match=r"^scan 3: has no regions\. Split it first\.$"):
        execute(folder, lambda p: None, never)
    assert not (folder / "job.log").exists()


@pytest.mark.parametrize(
    ("function", "params", "message"),
    [
        ("promise", {"name": "gone.npz"}, "is not there"),
        ("promise", {"name": "../../x"}, "outside"),
        ("wrong", {}, "returned int"),
        ("plain", {}, "not a generator"),
        ("missing", {}, "not a generator"),
    ],
)
def test_a_job_that_breaks_the_protocol_is_refused(jobs_folder, function, params, message):
    folder = prepared(jobs_folder / "1", function, **params)
    with pytest.raises(JobError, match=message):
        execute(folder, lambda p: None, never)
    assert not (folder / "result.json").exists()


@pytest.mark.parametrize("name", ["os.path", "os:", ":x", "os:system", "no_such_module:run"])
def test_only_generator_functions_are_called(jobs_folder, name):
    folder = jobs_folder / "1"
    request_ = request("1", "count")
    job_folder.prepare(type(request_)("1", name, {}), folder)
    with pytest.raises(JobError):
        execute(folder, lambda p: None, never)


def test_a_valid_result_is_not_computed_again_and_a_damaged_one_is(jobs_folder):
    folder = prepared(jobs_folder / "1", "count", n=3)
    execute(folder, lambda p: None, never)
    before = (folder / "numbers.npz").stat().st_mtime_ns
    execute(folder, lambda p: None, never)
    assert (folder / "numbers.npz").stat().st_mtime_ns == before
    (folder / "numbers.npz").write_bytes(b"x")
    with pytest.raises(JobError, match="sha256"):
        job_folder.read_result(folder)
    execute(folder, lambda p: None, never)
    assert job_folder.read_result(folder).files == ("numbers.npz",)


def test_two_processes_never_compute_one_folder(jobs_folder):
    folder = prepared(jobs_folder / "1", "count", n=3)
    with job_folder.running_lock(folder, never):
        assert job_folder.is_running(folder)
        with (
            pytest.raises(JobError, match="another process"),
            job_folder.running_lock(folder, never, patience=0.0),
        ):
            pass
        with pytest.raises(JobCancelled):
            execute(folder, lambda p: None, lambda: True)
    assert not job_folder.is_running(folder)


def test_a_job_waits_for_the_last_holder_to_go(jobs_folder):
    folder = prepared(jobs_folder / "1", "count", n=3)
    held, results = job_folder.running_lock(folder, never), []
    held.__enter__()
    waited = threading.Event()

    def is_cancelled():
        waited.set()
        return False

    thread = threading.Thread(target=lambda: results.append(execute(folder, lambda p: None, is_cancelled)))
    thread.start()
    assert waited.wait(5)
    assert not results
    held.__exit__(None, None, None)
    thread.join(10)
    assert len(results) == 1


def test_a_folder_without_request_is_refused_in_one_line(jobs_folder):
    jobs_folder.mkdir(parents=True)
    with pytest.raises(JobError, match=r"request\.json: is missing"):
        execute(jobs_folder, lambda p: None, never)
