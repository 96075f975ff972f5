"""The process that looks into foreign files: little memory, little time, nothing to lose.

It reads one JSON request per line from its standard input, and answers with frames: four bytes of
length, then JSON; planes follow their frame as raw bytes. It imports NumPy, tifffile and Pillow, and ends
when its input ends, when a request takes too long (an alarm that no codec can hold back), or when
it runs out of the memory that it was given.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import queue
import signal
import struct
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from napari_seedlab.core import InputError, Modality
from napari_seedlab.io.facts import facts_to_json
from napari_seedlab.io.formats import MODULES, format_of
from napari_seedlab.io.gate import shown_name


def main() -> None:
    """Serve until the input ends; the arguments are the bytes that may be allocated and seconds."""
    extra, seconds = int(sys.argv[1]), float(sys.argv[2])
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # a library that prints must not speak on our line
    _limit_memory(extra)
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_watch, args=(requests,), daemon=True).start()
    _send(out, {"ready": os.getpid()})
    while True:
        request = requests.get()
        _alarm(seconds)
        serve(request, out, seconds)
        _alarm(0)


def serve(request: dict[str, Any], out: BinaryIO, seconds: float) -> None:
    """Answer one request with frames on `out`."""
    path = Path(request["path"])
    modality = Modality(request["modality"]) if request["modality"] else None
    try:
        if request["op"] == "describe":
            facts, source = format_of(path).describe(path, modality)
            _send(out, {"facts": facts_to_json(facts), "source": source.to_json()})
            return
        for plane in format_of(path).planes(path, modality, request["start"], request["stop"]):
            _alarm(seconds)
            _send(out, {"plane": list(plane.shape), "dtype": plane.dtype.str, "bytes": plane.nbytes})
            _write(out, plane.reshape(-1).view("u1").data)
        _send(out, {"done": True})
    except InputError as error:
        _send(out, {"error": [error.subject, error.cause, error.remedy]})
    except MemoryError:
        cause = "needs more memory than a reader may take"
        _send(out, {"error": [shown_name(path), cause, "Save it without compression"]})
    except OSError as error:
        cause = f"cannot be read ({error.strerror or error})"
        _send(out, {"error": [shown_name(path), cause, "Check the drive"]})
    except Exception as error:  # the edge to foreign bytes: whatever went wrong is one line
        cause = f"cannot be read ({type(error).__name__}: {str(error)[:60]})"
        answer = [shown_name(path), cause, "Write the file again"]
        _send(out, {"error": answer, "detail": traceback.format_exc()[-4000:]})


def _send(out: BinaryIO, message: dict[str, Any]) -> None:
    text = json.dumps(message).encode()
    _write(out, memoryview(struct.pack("<I", len(text)) + text))


def _write(out: BinaryIO, data: memoryview) -> None:
    done = 0
    while done < len(data):
        done += out.write(data[done : done + 2**20]) or 0


def _watch(requests: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin.buffer:
        requests.put(json.loads(line))
    os._exit(0)  # the app is gone


def _alarm(seconds: float) -> None:
    """End this process after `seconds`, even inside a codec that never returns; 0 = no alarm."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _rehearse() -> None:
    """Load every reader and read a tiny packed TIFF, so that the first real file finds all of it warm."""
    import tifffile

    for module in MODULES:
        importlib.import_module(module)
    stream = io.BytesIO()
    plane = np.zeros((2, 8, 8), np.uint16)
    tifffile.imwrite(stream, plane, photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(io.BytesIO(stream.getvalue())) as tif:
        tif.series[0].pages[0].asarray(maxworkers=1)


def _limit_memory(extra: int) -> None:
    """Allow `extra` bytes of address space beyond what the imports took."""
    _rehearse()
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):  # no such limit on this system; the deadlines remain
        return
    limit = pages * os.sysconf("SC_PAGE_SIZE") + extra
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
