"""Jobs to run in tests; each is a generator as in the protocol of job functions."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Generator
from pathlib import Path

import numpy as np

from napari_seedlab.core import InputError, JobResult, Progress
from napari_seedlab.files import read_json, save_arrays, write_json
from napari_seedlab.jobs.folder import read_request

Steps = Generator[Progress, None, JobResult]
_PACE = threading.Event()  # never set: a clock that costs no processor time


def count(folder: Path) -> Steps:
    """Count to `n` with `pace` seconds a step; a checkpoint is written when it is stopped."""
    params = read_request(folder).params
    checkpoint = folder / "checkpoint.json"
    first = read_json(checkpoint)["step"] if checkpoint.exists() else 0
    step = first
    try:
        for step in range(first, params["n"]):
            _PACE.wait(params.get("pace", 0.0))
            if step % params.get("every", 10**9) == 0:
                write_json(checkpoint, {"step": step})
            yield Progress(step + 1, params["n"], "counting", {"step": float(step)})
    except GeneratorExit:
        write_json(checkpoint, {"step": step + 1})
        raise
    save_arrays(folder / "numbers.npz", n=np.arange(params["n"]))
    return JobResult({"first": first, "pid": os.getpid()}, ("numbers.npz",))


def fail(folder: Path) -> Steps:
    """Raise what a foreign library might."""
    yield Progress(0, 1)
    raise ZeroDivisionError("a foreign\nfault of two lines")


def refuse(folder: Path) -> Steps:
    """Raise one of our own errors."""
    yield Progress(0, 1)
    raise InputError("scan 3", "has no regions", "Split it first")


def promise(folder: Path) -> Steps:
    """Name the file of `params` without writing it."""
    yield Progress(0, 1)
    return JobResult({}, (read_request(folder).params["name"],))


def wrong(folder: Path) -> Generator[Progress, None, int]:
    """Return no result."""
    yield Progress(0, 1)
    return 3


def plain(folder: Path) -> JobResult:
    """Not a generator."""
    return JobResult({})


def big(folder: Path) -> Steps:
    """Write 100 MB while reporting 50 times a second."""
    save_arrays(folder / "big.npz", a=np.ones(100_000_000, np.uint8))
    for step in range(50):
        _PACE.wait(0.02)
        yield Progress(step, 50, "", {"loss": 1.0 / (step + 1)})
    return JobResult({}, ("big.npz",))


def modules(folder: Path) -> Steps:
    """Tell which modules this process has loaded."""
    yield Progress(0, 1)
    return JobResult({"modules": sorted(sys.modules), "parent": os.getppid(), "pid": os.getpid()})


def child(folder: Path) -> Steps:
    """Start a child process, which a daemonic worker could not."""
    import multiprocessing

    yield Progress(0, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        process = multiprocessing.get_context("spawn").Process(target=os.getpid)
        process.start()
        process.join()
    return JobResult({"exitcode": process.exitcode})


def hoard(folder: Path) -> Steps:
    """Take memory until somebody minds."""
    hoarded = []
    for step in range(200):
        hoarded.append(np.ones(20_000_000, np.uint8))
        _PACE.wait(0.02)
        yield Progress(step, 200)
    return JobResult({"n": len(hoarded)})
