"""Gets a worker process warm: imports, compiled kernels, and what its device does well.

Everything heavy is named by string, so that this room depends on none of it; what is missing is recorded
and hurts nobody.
"""

from __future__ import annotations

import importlib
import os
import platform
import time
from typing import TYPE_CHECKING, Any

from napari_seedlab.core import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

# "module" is imported; "module:function" is called with no argument (it compiles kernels).
WARM_UP = (
    "numpy",
    "torch",
    "torch.optim",
    "sklearn.linear_model",
    "safetensors.torch",
    "napari_seedlab.imaging.split:warm_up",
    "napari_seedlab.learn.round",
    "napari_seedlab.learn.splitting",
    "napari_seedlab.learn.embedding",
    "napari_seedlab.learn.strokes",
    "napari_seedlab.learn.net",
    "napari_seedlab.learn.fcdd",
    "umap",
)
_PROBE_SIZE = 512  # rows of the square product in the precision probe
_PROBE_SECONDS = 0.3  # per precision; both and the optimiser stay under one second


def warm_up(names: Iterable[str] = WARM_UP) -> dict[str, Any]:
    """Import or call each name.

    Returns
    -------
    dict
        ``seconds`` per name, ``missing`` (name to one line) and the facts of :func:`probe`.
    """
    seconds: dict[str, float] = {}
    missing: dict[str, str] = {}
    for name in names:
        begun = time.perf_counter()
        try:
            _load(name)
        except (Exception, SystemExit) as error:  # a broken package is a fact to record
            missing[name] = one_line(f"{type(error).__name__}: {error}")
        seconds[name] = round(time.perf_counter() - begun, 3)
    return {"seconds": seconds, "missing": missing, **probe()}


def _load(name: str) -> None:
    module_name, _, function = name.partition(":")
    module = importlib.import_module(module_name)
    if function:
        getattr(module, function)()


def probe() -> dict[str, Any]:
    """Which device and precision jobs should use here, in about a second.

    bfloat16 is chosen where its matrix product is at least 1.3 times as fast as float32's; float16
    is never tried on a CPU. ``torch.optim`` is used once, because its first use loads a compiler stack
    that is broken in some installs.

    Returns
    -------
    dict
        ``device``, ``precision``, ``speedup_bf16``, ``threads``, ``optim`` (empty, or one line of why
        optimisers fail); ``device`` alone where torch is missing.
    """
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        return {"device": "cpu", "precision": "float32", "optim": one_line(error), "threads": 1}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    ratio = _speed(torch, device, torch.bfloat16) / _speed(torch, device, torch.float32)
    name = torch.cuda.get_device_name(0) if device == "cuda" else platform.machine()
    return {
        "device": device,
        "device_name": name,
        "precision": "bfloat16" if ratio >= 1.3 else "float32",
        "speedup_bf16": round(ratio, 2),
        "threads": max(1, (os.cpu_count() or 2) - 1),
        "optim": _optimiser_fault(torch),
    }


def _speed(torch: Any, device: str, dtype: Any) -> float:
    """Matrix products per second."""
    a = torch.ones((_PROBE_SIZE, _PROBE_SIZE), dtype=dtype, device=device)
    float((a @ a)[0, 0])  # the first call builds the kernel
    begun, n = time.perf_counter(), 0
    while time.perf_counter() - begun < _PROBE_SECONDS:
        float((a @ a)[0, 0])  # reading one value waits for the device
        n += 1
    return n / (time.perf_counter() - begun)


def _optimiser_fault(torch: Any) -> str:
    try:
        weight = torch.zeros(2, requires_grad=True)
        optimiser = torch.optim.Adam([weight])
        weight.sum().backward()
        optimiser.step()
    except Exception as error:  # whatever a broken install raises
        return one_line(f"{type(error).__name__}: {error}")
    return ""
