"""The app's end of the pipe to the cluster host."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any

from napari_seedlab.jobs.detached import program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Message = dict[str, Any]
_TAIL = 2000  # bytes of the host's stderr that are read when it ends


class Link:
    """One host process, a thread that reads from it and a thread that writes to it.

    Nothing here waits for the process: writing is queued, so that a busy host never holds a caller.

    Parameters
    ----------
    config : mapping
        First message to the host.
    on_message : callable
        Receives each message, in the reading thread.
    on_end : callable
        Receives the last line that the host wrote to stderr, once the process has ended.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        on_message: Callable[[Message], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._on_message, self._on_end = on_message, on_end
        self._outgoing: SimpleQueue[Mapping[str, Any] | None] = SimpleQueue()
        self._outgoing.put(config)
        self._reader = threading.Thread(target=self._serve, name="seedlab-jobs", daemon=True)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the threads; the process follows in one of them."""
        self._reader.start()

    def send(self, message: Mapping[str, Any]) -> None:
        """Queue a message."""
        self._outgoing.put(message)

    def end(self) -> None:
        """Queue the end of the input, which makes the host close."""
        self._outgoing.put(None)

    def join(self, timeout: float) -> bool:
        """Wait for the process and the threads to end; False when they have not."""
        self._reader.join(timeout)
        return not self._reader.is_alive()

    def _serve(self) -> None:
        with tempfile.TemporaryFile(prefix="seedlab-") as errors:
            try:
                self.process = self._spawn(errors)
            except OSError as error:  # no memory, no processes left
                self._on_end(str(error))
                return
            writer = threading.Thread(target=self._write, name="seedlab-jobs-write", daemon=True)
            writer.start()
            self._read(self.process)
            self.end()
            writer.join()
            self._on_end(_last_line(errors))

    def _spawn(self, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        command = program("napari_seedlab.jobs.host")
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, close_fds=True)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                with suppress(json.JSONDecodeError):  # a line cut by the host's death
                    self._on_message(json.loads(line))
        process.wait()

    def _write(self) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        with suppress(OSError), self.process.stdin as stream:  # a host that is gone is seen by the reader
            while (message := self._outgoing.get()) is not None:
                stream.write(json.dumps(message).encode() + b"\n")
                stream.flush()


def _last_line(stream: IO[bytes]) -> str:
    stream.seek(0, 2)
    stream.seek(max(0, stream.tell() - _TAIL))
    lines = stream.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
