import subprocess
import sys
from collections import namedtuple

import pytest

from napari_seedlab.cli import doctor
from napari_seedlab.core import Settings

CPU = {"torch": "2.13.0", "built_for": "", "available": False}
CUDA = {"torch": "2.13.0", "built_for": "13.0", "available": False}
CARD = {**CUDA, "available": True, "name": "H200"}


def answer(facts):
    return lambda code: facts


@pytest.fixture
def driver(tmp_path):
    path = tmp_path / "version"
    path.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  525.85.12  Sat Jan 28")
    return path


def test_a_probe_returns_its_facts_whatever_else_is_printed():
    assert doctor.run_probe("print('noise')\nfacts = {'a': 1}") == {"a": 1}


@pytest.mark.parametrize(
    ("code", "word"),
    [("import no_such_module", "no_such_module"), ("import os; os.abort()", "code -6")],
    ids=["exception", "crash"],
)
def test_a_probe_that_fails_or_crashes_is_one_line(code, word):
    error = doctor.run_probe(code)["error"]
    assert word in error
    assert "\n" not in error


def test_a_probe_has_a_deadline(monkeypatch):
    monkeypatch.setattr(doctor, "DEADLINE", 0.2)
    assert "no answer within" in doctor.run_probe("import sys, threading; threading.Event().wait()")["error"]


@pytest.mark.parametrize(
    ("facts", "has_driver", "ok", "word"),
    [
        (CPU, False, True, "processor"),
        (CPU, True, False, "without CUDA"),
        (CUDA, True, False, "driver 525.85.12 cannot serve"),
        (CARD, True, True, "H200"),
        ({"error": "ImportError: libcudart"}, False, False, "libcudart"),
    ],
    ids=["no card", "cpu build", "old driver", "works", "broken torch"],
)
def test_the_card_is_compared_with_the_build(monkeypatch, driver, tmp_path, facts, has_driver, ok, word):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    finding = doctor.check_gpu(answer(facts), driver if has_driver else tmp_path / "none")
    assert (finding.ok, bool(finding.remedy)) == (ok, not ok)
    assert word in finding.line


@pytest.mark.parametrize(
    ("facts", "environment", "ok", "word"),
    [
        ({"renderer": "NVIDIA", "version": "4.6"}, {"DISPLAY": ":0"}, True, "4.6"),
        ({"renderer": "llvmpipe (LLVM)", "version": "4.5"}, {"DISPLAY": ":0"}, True, "slow"),
        ({"error": "no OpenGL context"}, {"DISPLAY": ":0"}, False, "no OpenGL"),
        ({}, {}, False, "no display"),
    ],
    ids=["hardware", "software", "broken", "headless"],
)
def test_opengl_is_judged(monkeypatch, facts, environment, ok, word):
    monkeypatch.setattr(doctor.sys, "platform", "linux")
    finding = doctor.check_gl(answer(facts), environment)
    assert (finding.ok, bool(finding.remedy)) == (ok, not ok)
    assert word in finding.line


def test_qt_is_judged():
    assert doctor.check_qt(answer({"binding": "PyQt5", "version": "5.15"})).line == "PyQt5, Qt 5.15"
    assert "pip install" in doctor.check_qt(answer({"error": "QtBindingsNotFoundError"})).remedy


def test_a_network_drive_is_said(monkeypatch, tmp_path):
    assert doctor.check_filesystem(tmp_path).ok
    monkeypatch.setattr(doctor, "filesystem_type", lambda path: "nfs4")
    monkeypatch.setattr(doctor, "is_network", lambda path: True)
    finding = doctor.check_filesystem(tmp_path)
    assert (finding.ok, "nfs4" in finding.line) == (False, True)


def test_memory_is_compared_with_the_workers_limit():
    assert doctor.check_memory(Settings(memory_limit_gb=4.0), 5.5).ok
    finding = doctor.check_memory(Settings(memory_limit_gb=4.0), 4.0)
    assert (finding.ok, "3.0 GB" in finding.remedy) == (False, True)
    assert "GB free" in doctor.check_memory().line


def test_disk_is_measured(monkeypatch, tmp_path):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage(1e9))
    assert not doctor.check_disk(tmp_path).ok
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage(9e9))
    assert doctor.check_disk(tmp_path).ok


def test_a_missing_folder_is_one_line(tmp_path):
    finding = doctor.check_disk(tmp_path / "gone")
    assert (finding.ok, "cannot be read" in finding.line) == (False, True)


def test_every_finding_is_one_line_and_says_what_to_do(tmp_path):
    findings = doctor.examine(tmp_path)
    assert len({f.name for f in findings}) == 6
    for finding in findings:
        assert "\n" not in finding.line + finding.remedy
        assert finding.ok or finding.remedy


def test_the_doctor_loads_neither_qt_nor_torch():
    code = (
        "import sys; from pathlib import Path; from napari_seedlab.cli import doctor;"
        "doctor.check_gpu(lambda c: {'error': 'x'}); doctor.check_memory(); doctor.check_disk(Path());"
        "sys.exit(' '.join({'torch', 'qtpy', 'PyQt5', 'PyQt6', 'napari'} & set(sys.modules)) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
