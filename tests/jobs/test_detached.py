import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from napari_seedlab.core import InputError, JobError, JobState
from napari_seedlab.jobs import __main__ as program
from napari_seedlab.jobs import adopt, is_resumable, run_detached
from napari_seedlab.jobs import folder as job_folder
from tests.jobs.tools import request, until


def prepared(folder, function, **params):
    job_folder.prepare(request(folder.name, function, **params), folder)
    return folder


def computing(folder):
    """Processes that finish this folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if str(folder) in line and "napari_seedlab.jobs" in " ".join(line):
            found.append(process)
    return found


def test_a_detached_job_is_running_at_once_and_ends_alone(jobs_folder):
    folder = prepared(jobs_folder / "1", "count", n=150, pace=0.01)
    assert is_resumable(folder)
    run_detached(folder)
    assert adopt(folder).state is JobState.RUNNING
    with pytest.raises(JobError, match="another process"):
        run_detached(folder)
    until(lambda: adopt(folder).progress.done > 0)
    status = adopt(folder)
    assert status.progress.total == 150
    (process,) = computing(folder)
    assert os.getsid(process.pid) == process.pid
    assert process.ppid() != os.getpid()
    until(lambda: adopt(folder).state is JobState.COMPLETED)
    until(lambda: not computing(folder))


def test_a_killed_detached_job_is_resumable_from_its_checkpoint(jobs_folder):
    folder = prepared(jobs_folder / "1", "count", n=60, pace=0.01, every=5)
    run_detached(folder)
    until((folder / "checkpoint.json").exists)
    until(lambda: json.loads((folder / "checkpoint.json").read_text())["step"] >= 5)
    for process in computing(folder):
        process.send_signal(signal.SIGKILL)
    until(lambda: is_resumable(folder))
    run_detached(folder)
    until(lambda: adopt(folder).state is JobState.COMPLETED)
    assert job_folder.read_result(folder).values["first"] >= 5


def test_a_detached_job_can_be_cancelled(jobs_folder):
    folder = prepared(jobs_folder / "1", "count", n=10**6, pace=0.01)
    run_detached(folder)
    until(lambda: adopt(folder).progress.done > 0)
    job_folder.request_cancel(folder)
    until(lambda: adopt(folder).state is JobState.CANCELLED)


def test_a_damaged_result_is_said(jobs_folder):
    folder = prepared(jobs_folder / "1", "count", n=3)
    subprocess.run([sys.executable, "-m", "napari_seedlab.jobs", str(folder)], check=True)
    assert adopt(folder).state is JobState.COMPLETED
    (folder / "numbers.npz").write_bytes(b"x")
    status = adopt(folder)
    assert status.state is JobState.FAILED
    assert "sha256" in status.error


def test_a_folder_without_request_cannot_be_adopted(tmp_path):
    with pytest.raises(InputError):
        adopt(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [([], 2, "usage: "), (["{}"], 1, "ZeroDivisionError")],
    ids=["usage", "failure"],
)
def test_the_program_says_one_line(jobs_folder, monkeypatch, capsys, arguments, code, line):
    folder = prepared(jobs_folder / "1", "fail")
    monkeypatch.setattr(sys, "argv", ["jobs", *(a.format(folder) for a in arguments)])
    assert program.main() == code
    errors = capsys.readouterr().err
    assert line in errors
    assert errors.count("\n") == 1
