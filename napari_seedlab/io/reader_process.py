"""One warm child process that parses foreign files, so that none of them can hurt the app."""

from __future__ import annotations

import atexit
import json
import logging
import os
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_seedlab.core import InputError, Modality, ScanFacts
from napari_seedlab.files.source import ArraySource
from napari_seedlab.io.facts import facts_from_json
from napari_seedlab.io.gate import MAX_PLANE_BYTES, n_bytes, shown_name

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
logger = logging.getLogger(__name__)

MAX_FRAME = 64 * 2**20  # bytes of one JSON answer
START = "import napari_seedlab.io.reader_child as child; child.main()"
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "MALLOC_ARENA_MAX"), "1"
)


class ReaderLost(Exception):
    """The child died or fell silent."""


class ReaderDied(ReaderLost):
    """The child ended by itself or by a signal."""


class ReaderProcess:
    """A child process with a memory limit and deadlines; started at first use, restarted after a fault.

    Parameters
    ----------
    memory_bytes : int
        Address space beyond the child's baseline.
    seconds : float
        Time to describe a file, and between two planes.
    start_seconds : float
        Time for the child to come up.

    Notes
    -----
    Safe to use from several threads; requests wait for each other.
    """

    def __init__(
        self, memory_bytes: int = 2**30 - 2**27, seconds: float = 4.5, start_seconds: float = 60.0
    ) -> None:
        self._memory, self._seconds, self._start_seconds = memory_bytes, seconds, start_seconds
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the running child."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def warm(self) -> threading.Thread:
        """Start the child in a thread, so that the first file need not wait for it."""
        thread = threading.Thread(target=self._warm, name="seedlab-reader", daemon=True)
        thread.start()
        return thread

    def _warm(self) -> None:
        with self._lock:
            try:
                self._running()
            except ReaderLost as error:
                logger.warning("the reader process did not start: %s", error)

    def describe(
        self, path: str | os.PathLike[str], modality: Modality | None = None
    ) -> tuple[ScanFacts, ArraySource]:
        """Facts and source of the file `path`.

        Raises
        ------
        InputError
            It cannot be used, or the child died or hung over it.
        """
        name = shown_name(path)
        with self._lock:
            answer = self._guarded(name, lambda: self._ask("describe", path, modality))
        try:
            facts, source = facts_from_json(answer["facts"]), ArraySource.from_json(answer["source"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(name, "was answered by nonsense from the reader", "Try again") from error
        if facts.modality is Modality.IMAGE and not facts.has_bands and facts.shape[0] > 1:
            raise InputError(name, f"is a stack of {facts.shape[0]} planes, no image", "Open it as ct")
        return facts, source

    def planes(
        self, path: str | os.PathLike[str], facts: ScanFacts, start: int, stop: int
    ) -> np.ndarray[Any, Any]:
        """Decoded planes `start` to `stop` as (n, y, x), in native byte order.

        Raises
        ------
        InputError
            A plane cannot be decoded, or is not what was described.
        """
        name, shape, dtype = shown_name(path), facts.shape[1:], np.dtype(facts.dtype)
        n = stop - start
        out = np.empty((n, *shape), dtype)
        if n and out.nbytes // n > MAX_PLANE_BYTES:
            raise InputError(name, f"one plane has {n_bytes(out.nbytes // n)}", "Save it without compression")
        with self._lock:
            self._guarded(name, lambda: self._receive(path, facts, (start, stop), out))
        return out

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def _guarded(self, name: str, ask: Callable[[], T]) -> T:
        """Ask; a warm child that died is replaced once, since something else may have ended it."""
        try:
            was_warm = self._child is not None
            self._running()
            try:
                return ask()
            except ReaderDied:
                if not was_warm:
                    raise
                self._end()
                self._running()
                return ask()
        except ReaderLost as error:
            self._end()
            raise InputError(name, f"stopped its reader: {error}", "Write the file again") from error
        except BaseException as error:
            if not isinstance(error, InputError):
                self._end()  # the conversation is cut: what the child still sends belongs to nobody
            raise

    def _ask(
        self, op: str, path: str | os.PathLike[str], modality: Modality | None, **more: int
    ) -> dict[str, Any]:
        request = {"op": op, "path": os.path.abspath(os.fspath(path)), "modality": modality and str(modality)}
        child = self._running()
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps({**request, **more}).encode() + b"\n")
            child.stdin.flush()
        except OSError as error:
            raise ReaderDied(f"it ended ({error.strerror})") from error
        return self._answer(self._seconds)

    def _receive(
        self, path: str | os.PathLike[str], facts: ScanFacts, span: tuple[int, int], out: np.ndarray[Any, Any]
    ) -> None:
        answer = self._ask("planes", path, facts.modality, start=span[0], stop=span[1])
        for row in out:
            if answer.get("plane") != list(row.shape) or answer.get("dtype") != row.dtype.str:
                raise ReaderLost("a plane is not what was described")
            self._fill(memoryview(row.reshape(-1).view(np.uint8).data), time.monotonic() + self._seconds)
            answer = self._answer(self._seconds)
        if not answer.get("done"):
            raise ReaderLost("it sent more planes than asked")

    def _answer(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        head = bytearray(4)
        self._fill(memoryview(head), deadline)
        (length,) = struct.unpack("<I", head)
        if length > MAX_FRAME:
            raise ReaderLost(f"it announced an answer of {n_bytes(length)}")
        text = bytearray(length)
        self._fill(memoryview(text), deadline)
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ReaderLost("its answer is not JSON") from error
        if not isinstance(answer, dict):
            raise ReaderLost("its answer is not an object")
        if "error" in answer:
            logger.info("reader: %s", answer.get("detail", answer["error"]))
            subject, cause, remedy = (str(part) for part in answer["error"])
            raise InputError(subject, cause, remedy)
        return answer

    def _fill(self, view: memoryview, deadline: float) -> None:
        """Receive exactly as many bytes as `view` holds, or raise ReaderLost."""
        child = self._child
        assert child is not None and child.stdout is not None
        descriptor, done = child.stdout.fileno(), 0
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while done < len(view):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise ReaderLost("no answer in time")
                got = os.readv(descriptor, [view[done:]])
                if got == 0:
                    raise _end_of(child)
                done += got

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is None:
            return self._child
        self._end()
        root = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH", "")) if p)
        # Not multiprocessing: spawn would import the program that runs us, such as napari. -P keeps
        # the current folder off the import path. PR_SET_PDEATHSIG is no use here: it fires when the
        # *thread* that started the child ends; the end of the pipe and an alarm do the work.
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-c", START, str(self._memory), str(self._seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": paths},
        )
        self._answer(self._start_seconds)
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # unsent bytes to a dead child
                    logger.debug("the reader's pipe was broken")


def _end_of(child: subprocess.Popen[bytes]) -> ReaderLost:
    """What a closed line means."""
    try:
        code = child.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return ReaderDied("it closed its line")
    if code == -signal.SIGALRM:
        return ReaderLost("no answer in time")
    return ReaderDied(f"it was ended by signal {-code}" if code < 0 else f"it ended with code {code}")


_reader: ReaderProcess | None = None
_reader_lock = threading.Lock()


def reader() -> ReaderProcess:
    """The reader process of this process; made at first use, ended at exit."""
    global _reader
    with _reader_lock:
        if _reader is None:
            _reader = ReaderProcess()
            atexit.register(_reader.close)
        return _reader


def describe(
    path: str | os.PathLike[str], modality: Modality | str | None = None
) -> tuple[ScanFacts, ArraySource]:
    """Facts of the scan in a foreign file, and where its voxels lie.

    Parameters
    ----------
    path : path-like
        A file with one of the suffixes of :mod:`napari_seedlab.io.formats`.
    modality : Modality or str, optional
        Overrides the guess: cubes are ``hsi``, stacks ``ct``, single planes ``image``.

    Returns
    -------
    facts : ScanFacts
    source : ArraySource
        Layout ``encoded`` where :func:`napari_seedlab.io.import_file` must decode it first.

    Raises
    ------
    InputError
        It cannot be used; one line says why.
    """
    return reader().describe(path, None if modality is None else Modality(modality))
