"""The child process that holds the scheduler, so that the app imports none of it.

It reads one JSON object per line from its standard input and writes one per line to its standard output.
The first line is the configuration; then ``submit``, ``cancel``, ``close``. When its input ends, the app is
gone or done: it stops its jobs at a checkpoint, hands over those that shall go on, and ends with its worker.

Why not in the app: while distributed was imported beside a 5 ms timer, that timer was up to 24 ms late
on an idle machine and 78 ms at load 4, and scheduler and client held 40-64 MiB.
Through this process the app imports nothing and grows by less than 1 MiB
(``benchmarks/lateness_jobs.py``, with and without ``--in-process``).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import uuid
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import dask
from distributed import Client, KilledWorker, Nanny, SpecCluster
from distributed.security import Security

from napari_seedlab.core import (
    JobCancelled,
    JobError,
    JobRequest,
    SeedlabError,
    WorkerLost,
    one_line,
)
from napari_seedlab.jobs import folder as job_folder
from napari_seedlab.jobs import worker as job_worker
from napari_seedlab.jobs.detached import adopt, run_detached

if TYPE_CHECKING:
    from collections.abc import Coroutine

_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
_GRACE = 1.0  # seconds that a job has to reach its next step when the app closes
_FINISH_GRACE = 20.0  # seconds for one that shall go on in the background
_TEARDOWN = 2.5  # seconds for the cluster to end in order, before it is simply left
_WORKER_KILL = 0.4  # seconds for an idle worker to leave by itself
_PARENT_POLL = 0.5
_RETRIES = 3  # of a job that had not begun when its worker died

_CONFIG: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-ttl": None,  # a laptop that slept has lost no worker
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.worker.daemon": False,  # job functions may start processes
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,  # spilling would write user data to disk
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,  # a paused worker looks like a hung lane
    "distributed.worker.memory.terminate": 0.95,
    "distributed.admin.tick.interval": "500ms",  # the default of 20 ms costs an idle app its sleep
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.system-monitor.gil.enabled": False,
}


@dataclass
class _Task:
    """One submission of a job."""

    id: str
    folder: Path
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    future: Any = None
    has_begun: bool = False
    is_cancelled: bool = False
    is_prepared: asyncio.Event = field(default_factory=asyncio.Event)


class Host:
    """Scheduler, worker and client in one event loop.

    A lane hands its jobs to the scheduler one by one: a worker of dask looks at the first waiting task
    only, so a second background job waiting there would hold up every live job behind it.

    Parameters
    ----------
    config : dict
        ``scheduler`` (address, empty for an own one), ``memory_limit`` in bytes, ``warm_up`` names.
    out : binary stream
        Where messages to the app go.
    """

    def __init__(self, config: dict[str, Any], out: IO[bytes]) -> None:
        self._config, self._out = config, out
        self._topic = f"seedlab-{uuid.uuid4().hex}"
        self._tasks: dict[str, _Task] = {}  # by token
        self._lanes: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._ready = asyncio.Event()
        self._fault: JobError | None = None
        self._cluster: Any = None
        self._client: Any = None
        self._running: set[asyncio.Task[None]] = set()
        self._temporary = Path(tempfile.mkdtemp(prefix=f"seedlab-jobs-{os.getpid()}-"))

    async def run(self, commands: asyncio.Queue[dict[str, Any]]) -> None:
        """Serve until told to close, or until the app is gone."""
        self._spawn(self._start())
        while (command := await commands.get())["op"] != "close":
            self._obey(command)
        await self._close(set(command.get("finish", ())))

    def _obey(self, command: dict[str, Any]) -> None:
        if command["op"] == "submit":
            task = _Task(command["request"]["id"], Path(command["folder"]))
            self._tasks[task.token] = task
            self._spawn(self._compute(task, JobRequest.from_json(command["request"])))
        elif command["op"] == "cancel":
            for task in [t for t in self._tasks.values() if t.id == command["id"]]:
                self._spawn(self._cancel(task))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        running = asyncio.ensure_future(coroutine)
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    def _send(self, message: dict[str, Any]) -> None:
        with suppress(BrokenPipeError, ValueError):  # the app is gone: the input's end says so as well
            self._out.write(json.dumps(message).encode() + b"\n")
            self._out.flush()

    # ---- the cluster

    async def _start(self) -> None:
        try:
            if self._config["scheduler"]:
                await self._connect()
            else:
                await self._embed()
        except Exception as error:  # whatever sockets, TLS or a full process table raise
            self._fault = self._no_cluster(error)
            self._send({"op": "fault", "error": job_folder.failure_json(self._fault)})
        else:
            self._client.subscribe_topic(self._topic, self._on_event)
            self._send({"op": "ready"})
            if not self._config["scheduler"]:
                await self._client.register_plugin(job_worker.WarmUp(self._config["warm_up"], self._topic))
        self._ready.set()

    def _no_cluster(self, error: Exception) -> JobError:
        cause = one_line(f"{type(error).__name__}: {error}")[:110]
        if self._config["scheduler"]:
            address = self._config["scheduler"]
            return JobError(f"scheduler {address}", f"cannot be reached ({cause})", "Check its address")
        return JobError("the worker process", f"cannot be started ({cause})", "Run seedlab doctor")

    async def _embed(self) -> None:
        security = Security.temporary()
        common = {"host": "127.0.0.1", "protocol": "tls://", "security": security}
        scheduler = {"cls": job_worker.SilentScheduler, "options": {**common, "dashboard": False}}
        worker = {
            "nthreads": 3,
            "resources": {"live": 1, "background": 1, "export": 1},
            "memory_limit": self._config["memory_limit"],
            "local_directory": str(self._temporary),
            "worker_class": job_worker.SilentWorker,
            "silence_logs": logging.WARNING,
            **common,
        }
        self._cluster = await SpecCluster(
            scheduler=scheduler,
            workers={0: {"cls": Nanny, "options": worker}},
            asynchronous=True,
            security=security,
            silence_logs=logging.WARNING,
        )
        self._client = await Client(self._cluster, asynchronous=True, set_as_default=False)

    async def _connect(self) -> None:
        self._client = await Client(
            self._config["scheduler"], asynchronous=True, set_as_default=False, timeout=10
        )

    def _resources(self, lane: str) -> dict[str, int]:
        """What the job asks for: its lane, or a GPU, as far as some worker offers it."""
        if not self._config["scheduler"]:
            return {lane: 1}
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        offers = {name for w in workers for name in w.get("resources", {})}
        if lane in offers:
            return {lane: 1}
        return {"GPU": 1} if lane == "background" and "GPU" in offers else {}

    # ---- one job

    async def _compute(self, task: _Task, request: JobRequest) -> None:
        lane = self._lanes[request.lane]
        turn = asyncio.ensure_future(lane.acquire())  # in the order of the commands
        try:
            try:
                await asyncio.to_thread(job_folder.prepare, request, task.folder)
            finally:
                task.is_prepared.set()
            await turn
            outcome = await self._take_turn(task, request)
        except JobError as error:
            outcome = {"op": "failed", "error": job_folder.failure_json(error)}
        except Exception as error:  # no fault of one job may end the host
            line = str(error) if isinstance(error, SeedlabError) else f"{type(error).__name__}: {error}"
            lost = JobError(f"job {task.id}", one_line(line), "Check the project's drive")
            outcome = {"op": "failed", "error": job_folder.failure_json(lost)}
        await turn
        lane.release()
        self._end(task, outcome)

    async def _take_turn(self, task: _Task, request: JobRequest) -> dict[str, Any]:
        await self._ready.wait()
        if self._fault is not None:
            raise self._fault
        await self._check_shared(task.folder)
        outcome = await self._outcome(task, request.lane)
        if outcome["op"] == "completed":
            await asyncio.to_thread(job_folder.read_result, task.folder)
        return outcome

    async def _outcome(self, task: _Task, lane: str) -> dict[str, Any]:
        for _ in range(_RETRIES):
            if task.is_cancelled:
                raise _was_cancelled(task)
            task.future = self._client.submit(
                job_worker.run_job,
                str(task.folder),
                task.token,
                self._topic,
                key=f"{task.id}-{uuid.uuid4().hex}",
                resources=self._resources(lane),
                pure=False,
            )
            try:
                outcome: dict[str, Any] = await task.future
                return outcome
            except KilledWorker:
                if task.has_begun:
                    raise self._lost(task) from None
            except asyncio.CancelledError:  # by _cancel, which has told the app already
                raise _was_cancelled(task) from None
        raise self._lost(task)  # no worker lived long enough to begin

    def _lost(self, task: _Task) -> WorkerLost:
        limit = self._config["memory_limit"] / 1e9
        cause = f"its worker process ended (memory limit {limit:.1f} GB)"
        return WorkerLost(f"job {task.id}", cause, "Start it again: it goes on from its last checkpoint")

    async def _check_shared(self, folder: Path) -> None:
        """Refuse a folder that a remote worker cannot read, by letting each one read it."""
        address = self._config["scheduler"]
        if not address or address.split("://")[-1].rsplit(":", 1)[0] in _LOOPBACK:
            return
        name, content = f".shared-{uuid.uuid4().hex}", uuid.uuid4().hex
        (folder / name).write_text(content)
        try:
            answers = await self._client.run(job_worker.sees, str(folder), name, content, on_error="return")
        finally:
            (folder / name).unlink(missing_ok=True)
        if not answers:
            raise JobError(f"scheduler {address}", "has no worker", "Start a worker there")
        if not all(a is True for a in answers.values()):
            cause = f"is not on a path that the workers of {address} share"
            raise JobError(folder.parent.parent, cause, "Move the project to a shared drive")

    def _on_event(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]
        task = self._tasks.get(message.get("token", ""))
        if message["op"] == "warm":
            self._send(message)
        elif task is not None:
            task.has_begun = True
            self._send({**message, "id": task.id})

    async def _cancel(self, task: _Task) -> None:
        task.is_cancelled = True
        await task.is_prepared.wait()  # which clears old marks, and makes the folder that may be dropped now
        await asyncio.to_thread(job_folder.request_cancel, task.folder)
        if not task.has_begun:
            self._end(task, {"op": "failed", "error": _cancelled(task)})
            if task.future is not None:
                await task.future.cancel(asynchronous=True)
        await self._stop([task])

    async def _stop(self, tasks: list[_Task]) -> None:
        tokens = [t.token for t in tasks if t.future is not None]
        if tokens and self._client is not None:
            await self._client.run(job_worker.stop, tokens, on_error="ignore")

    def _end(self, task: _Task, outcome: dict[str, Any]) -> None:
        if self._tasks.pop(task.token, None) is not None:
            self._send({**outcome, "id": task.id})

    # ---- the end

    async def _close(self, finish: set[str]) -> None:
        tasks = list(self._tasks.values())
        kept = [t for t in tasks if t.id in finish and not t.is_cancelled]
        for task in tasks:
            task.is_cancelled = True
        with suppress(Exception):  # a worker that is gone cannot be asked; it is stopped below
            await asyncio.wait_for(self._stop(tasks), _GRACE)
        await self._until_ended(kept, _FINISH_GRACE)
        await self._until_ended(tasks, _GRACE)
        left = [t for t in kept if not await asyncio.to_thread(_continue, t.folder)]
        with suppress(Exception):
            await asyncio.wait_for(self._leave(), _TEARDOWN)
        for task in left:  # its worker held the folder until it was ended
            await asyncio.to_thread(_continue, task.folder)
        shutil.rmtree(self._temporary, ignore_errors=True)

    async def _until_ended(self, tasks: list[_Task], seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while any(t.token in self._tasks and t.has_begun for t in tasks):
            if asyncio.get_running_loop().time() > deadline:
                return
            await asyncio.sleep(0.01)

    async def _leave(self) -> None:
        if self._cluster is not None:
            for nanny in self._cluster.workers.values():
                await nanny.close(timeout=_WORKER_KILL, reason="app-closed")
        if self._client is not None:
            await self._client.close()
        if self._cluster is not None:
            await self._cluster.close()


def _was_cancelled(task: _Task) -> JobCancelled:
    return JobCancelled(f"job {task.id}", "was cancelled")


def _cancelled(task: _Task) -> dict[str, str]:
    return job_folder.failure_json(JobCancelled(f"job {task.id}", "was cancelled"))


def _continue(folder: Path) -> bool:
    """Hand a stopped job to a process of its own, unless it came to an end after all.

    Returns False while another process holds the folder.
    """
    try:
        if not adopt(folder).state.is_final:
            run_detached(folder)
    except (SeedlabError, OSError):
        return False
    return True


def _sweep() -> None:
    """Remove what hosts that were killed have left in the temporary folder."""
    if os.name != "posix":  # there, a file in use cannot be removed, and pids cannot be asked
        return
    for path in Path(tempfile.gettempdir()).glob("seedlab-jobs-*-*"):
        with suppress(OSError, ValueError):
            if path.stat().st_uid == os.getuid() and not _is_alive(int(path.name.split("-")[2])):
                shutil.rmtree(path, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _listen(stream: IO[bytes], put: Any) -> None:
    with suppress(ValueError):  # a line cut by the app's end
        for line in stream:
            put(json.loads(line))
    put({"op": "close"})


async def _watch_parent(put: Any) -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(_PARENT_POLL)
    put({"op": "close"})


async def _serve(stream: IO[bytes], out: IO[bytes]) -> None:
    config = json.loads(stream.readline())
    commands: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def put(command: dict[str, Any]) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(commands.put_nowait, command)

    threading.Thread(target=_listen, args=(stream, put), daemon=True).start()
    watch = asyncio.ensure_future(_watch_parent(put))
    with dask.config.set(_CONFIG):
        await Host(config, out).run(commands)
    watch.cancel()


def main() -> None:
    """Run the host on the process's own pipes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the app's business
    out = os.fdopen(os.dup(1), "wb")
    stream = os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)  # whatever a library prints is no message
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _sweep()
    asyncio.run(_serve(stream, out))
    out.close()
    sys.stderr.flush()
    os._exit(0)  # nothing of value is left, and no thread of a library may hold the process
