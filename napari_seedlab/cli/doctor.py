"""What may be wrong with this machine, one line and one remedy each.

Anything that could crash or that loads much (torch, Qt, OpenGL) is asked in a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_seedlab.core import Settings, one_line
from napari_seedlab.files import filesystem_type, is_network

if TYPE_CHECKING:
    from collections.abc import Callable

    Probe = Callable[[str], dict[str, Any]]

DEADLINE = 60.0  # seconds for one probe; a cold disk needs 10 to load torch
MIN_DISK_GB = 2.0  # a pyramid of one scan, checkpoints and the reserve for the journal
APP_GB = 1.0  # memory of the app itself, beside its worker
_DRIVER = Path("/proc/driver/nvidia/version")

_GPU = """
import torch
facts = {"torch": torch.__version__, "built_for": torch.version.cuda or "", "available": False}
if facts["built_for"] and torch.cuda.is_available():
    facts |= {"available": True, "name": torch.cuda.get_device_name(0)}
    float(torch.ones(8, device="cuda").sum())  # raises where the build has no code for this card
"""
_QT = """
import qtpy
from qtpy import QtWidgets
facts = {"binding": qtpy.API_NAME, "version": qtpy.QT_VERSION}
"""
_GL = """
from qtpy.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext
app, surface, context = QGuiApplication([]), QOffscreenSurface(), QOpenGLContext()
surface.create()
if not context.create() or not context.makeCurrent(surface):
    raise RuntimeError("no OpenGL context")
from OpenGL import GL
names = {"renderer": GL.GL_RENDERER, "version": GL.GL_VERSION}
facts = {key: GL.glGetString(name).decode() for key, name in names.items()}
"""
_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "swiftshader", "gdi generic")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        What was looked at.
    ok : bool
        Whether nothing needs to be done.
    line : str
        What was found, in one line.
    remedy : str
        What to do, in one line; empty when `ok`.
    """

    name: str
    ok: bool
    line: str
    remedy: str = ""


def run_probe(code: str) -> dict[str, Any]:
    """Run `code` in a new Python process and return what it put into ``facts``.

    Parameters
    ----------
    code : str
        Statements; whatever they raise or crash with ends that process only.

    Returns
    -------
    dict
        The facts, or ``{"error": line}``.
    """
    program = (
        f"import json, sys, warnings\nwarnings.simplefilter('ignore')\n{code}\nsys.stdout.write('\\n')\n"
    )
    program += "sys.stdout.write(json.dumps(facts))\n"
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {DEADLINE:.0f} s"}
    except OSError as error:
        return {"error": one_line(error)}
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        return {"error": one_line(said[-1] if said else f"the process ended with code {done.returncode}")}
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def check_gpu(probe: Probe = run_probe, driver: Path = _DRIVER) -> Finding:
    """Whether torch can use the graphics card, if there is one.

    Parameters
    ----------
    probe : callable
        Runs a piece of code elsewhere.
    driver : Path
        File in which the NVIDIA kernel driver tells its version.
    """
    facts, name = probe(_GPU), "GPU"
    has_card = driver.exists() or shutil.which("nvidia-smi") is not None
    if "error" in facts:
        remedy = "Install torch again for this machine: see pytorch.org, Get Started"
        return Finding(name, False, f"torch does not work: {facts['error']}", remedy)
    if facts["available"]:
        return Finding(name, True, f"{facts['name']}, torch {facts['torch']} for CUDA {facts['built_for']}")
    if not has_card:
        return Finding(name, True, f"no NVIDIA card; torch {facts['torch']} computes on the processor")
    if not facts["built_for"]:
        line = f"there is an NVIDIA card, but torch {facts['torch']} was built without CUDA"
        return Finding(name, False, line, "Install a CUDA build of torch: see pytorch.org, Get Started")
    line = (
        f"torch was built for CUDA {facts['built_for']}, which driver {_driver_version(driver)} cannot serve"
    )
    remedy = f"Update the NVIDIA driver, or install a torch for an older CUDA than {facts['built_for']}"
    return Finding(name, False, line, remedy)


def _driver_version(driver: Path) -> str:
    try:
        words = driver.read_text().split()
    except OSError:
        return "of this machine"
    return next((w for w in words if w[0].isdigit() and "." in w), "of this machine")


def check_qt(probe: Probe = run_probe) -> Finding:
    """Whether a Qt binding is installed and loads.

    Parameters
    ----------
    probe : callable
        Runs a piece of code elsewhere.
    """
    facts = probe(_QT)
    if "error" in facts:
        remedy = "Run: pip install pyqt5 (the command works without it, the window does not)"
        return Finding("Qt", False, f"no Qt binding loads: {facts['error']}", remedy)
    return Finding("Qt", True, f"{facts['binding']}, Qt {facts['version']}")


def check_gl(probe: Probe = run_probe, environment: dict[str, str] | None = None) -> Finding:
    """Whether OpenGL draws, and by hardware or software.

    Parameters
    ----------
    probe : callable
        Runs a piece of code elsewhere.
    environment : dict, optional
        Environment variables; this process's own if None.
    """
    environment = dict(os.environ) if environment is None else environment
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    if sys.platform.startswith("linux") and not any(environment.get(s) for s in screens):
        remedy = "Log in with a screen, or use xvfb-run; the command needs neither"
        return Finding("OpenGL", False, "there is no display", remedy)
    facts = probe(_GL)
    if "error" in facts:
        remedy = "Install the graphics driver (Debian, Ubuntu: apt install libgl1-mesa-dri)"
        return Finding("OpenGL", False, f"no OpenGL context: {facts['error']}", remedy)
    line = f"{facts['renderer']}, OpenGL {facts['version']}"
    if any(word in facts["renderer"].lower() for word in _SOFTWARE):
        return Finding("OpenGL", True, f"{line}: drawn by the processor, which is slow in 3-D")
    return Finding("OpenGL", True, line)


def check_filesystem(folder: Path) -> Finding:
    """Whether the project lies on a drive of this machine.

    Parameters
    ----------
    folder : Path
        The project, or a folder above it.
    """
    kind = filesystem_type(folder)
    if is_network(folder):
        line = f"{folder} is on a network drive ({kind}): answers are safe there, but saved more slowly"
        return Finding("project drive", False, line, "Keep the project on a local disk if you can")
    return Finding("project drive", True, f"{folder} is on {kind}")


def check_memory(settings: Settings | None = None, free_gb: float | None = None) -> Finding:
    """Whether app and worker fit into the free memory.

    Parameters
    ----------
    settings : Settings, optional
        Tells the worker's limit.
    free_gb : float, optional
        Free memory in GB; measured if None.
    """
    limit = (settings or Settings()).memory_limit_gb
    free = _free_memory_gb() if free_gb is None else free_gb
    line = f"{free:.1f} GB free; the worker may take {limit:.1f} GB, the app about {APP_GB:.0f} GB"
    if free < limit + APP_GB:
        remedy = f"Close other programs, or set the worker's limit to {max(1.0, free - APP_GB):.1f} GB"
        return Finding("memory", False, line, remedy)
    return Finding("memory", True, line)


def _free_memory_gb() -> float:
    import psutil

    return float(psutil.virtual_memory().available) / 1e9


def check_disk(folder: Path, free_gb: float | None = None) -> Finding:
    """Whether the project's drive has room.

    Parameters
    ----------
    folder : Path
        The project, or a folder above it.
    free_gb : float, optional
        Free space in GB; measured if None.
    """
    try:
        free = shutil.disk_usage(folder).free / 1e9 if free_gb is None else free_gb
    except OSError as error:
        line = f"{folder} cannot be read ({error.strerror})"
        return Finding("disk", False, line, "Check that the folder exists and the drive is mounted")
    line = f"{free:.1f} GB free in {folder}"
    if free < MIN_DISK_GB:
        return Finding("disk", False, line, f"Free some space: scans and models need {MIN_DISK_GB:.0f} GB")
    return Finding("disk", True, line)


def examine(folder: Path | None = None, settings: Settings | None = None) -> tuple[Finding, ...]:
    """All checks, in the order in which to read them.

    Parameters
    ----------
    folder : Path, optional
        The project, or where projects shall lie; the working folder if None.
    settings : Settings, optional
        Preferences of the user.

    Returns
    -------
    tuple of Finding
    """
    folder = Path.cwd() if folder is None else folder
    return (
        check_qt(),
        check_gl(),
        check_gpu(),
        check_memory(settings),
        check_disk(folder),
        check_filesystem(folder),
    )
