"""The Dask task that holds a rank's place on its worker: it spawns the rank, hears it out and ends it.

It runs in a thread of the worker; orders reach it through ``deliver``, which ``Client.run`` calls on the
worker's event loop, so that a stop works however busy the worker's threads are.
"""

from __future__ import annotations

import os
import pickle
import selectors
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from aios_lab.engines.spawn import Child, SpawnError, spawn
from aios_lab.training.environment import error_file, open_store, rank_environment
from aios_lab.training.failures import died, recorded
from aios_lab.training.frames import FrameReader, FrameWriter
from aios_lab.training.spec import RANKS, RESULT, SAVE_GRACE, STOP_GRACE, End, OrderName, Outcome, RankSpec
from aios_lab.training.worker.logs import Output
from aios_lab.training.worker.pipes import INCOMING, Pipes
from aios_lab.training.worker.usage import Meter

TICK = 0.1  # seconds between batches of events

Publish = Callable[[str, int, int, Any], None]  # kind, attempt, rank, body

_running: dict[tuple[str, int, int], Supervisor] = {}  # by run, attempt and rank
_leases: dict[str, Lease] = {}
_early: dict[str, list[RankSpec]] = {}  # ranks of runs whose lease has not begun
_over: OrderedDict[tuple[str, int], None] = OrderedDict()  # attempts stopped before their rank began here


def supervise(spec: RankSpec, work: bytes) -> None:
    """Hold this worker for the run, and run its rank, and those of later attempts, until it is let go. What
    rank 0 returned lies in the run's folder then."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())

    def wanted() -> bool:
        """False once the leader is gone or let go of the run: the scheduler then cancels the task."""
        return task is None or task.state not in ("cancelled", "released", "forgotten")

    def publish(kind: str, attempt: int, rank: int, body: Any) -> None:
        told = {"run": spec.run_id, "attempt": attempt, "rank": rank, "kind": kind, "body": body}
        worker.log_event(RANKS, told)

    lease = _leases[spec.run_id] = Lease(work, publish, wanted, max(1, worker.state.nthreads))
    try:
        lease.run(spec)
    finally:
        if _leases.get(spec.run_id) is lease:
            del _leases[spec.run_id]


def begin(spec: RankSpec) -> None:
    """Begin the rank of another attempt on a worker that the run holds, or is about to."""
    lease = _leases.get(spec.run_id)
    if lease is None:
        _early.setdefault(spec.run_id, []).append(spec)
    else:
        lease.begin(spec)


def deliver(run_id: str, attempt: int, order: OrderName, values: Mapping[str, Any], rank: int | None) -> int:
    """Give an order to an attempt's ranks on this worker, or to one of them; how many heard it."""
    if order in ("stop", "kill"):
        _over[run_id, attempt] = None
        while len(_over) > 1000:
            _over.popitem(last=False)
    heard = [
        supervisor
        for (run, number, one), supervisor in list(_running.items())
        if (run, number) == (run_id, attempt) and rank in (None, one)
    ]
    for supervisor in heard:
        supervisor.order(order, dict(values))
    return len(heard)


def read_result(folder: str) -> bytes:
    """What rank 0 returned, pickled, on its own host."""
    return (Path(folder) / RESULT).read_bytes()


def release(run_id: str) -> None:
    """The run has left this worker: let go of it once its ranks here are gone."""
    lease = _leases.get(run_id)
    if lease is not None:
        lease.release()


class Lease:
    """A run's hold on a worker: the task that keeps others away, through all of the run's attempts there.

    The ranks of two attempts may be there at once: the next one gets ready while the present one trains.
    """

    def __init__(self, work: bytes, publish: Publish, wanted: Callable[[], bool], threads: int) -> None:
        self._work, self._publish, self._wanted, self._threads = work, publish, wanted, threads
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._ranks: list[threading.Thread] = []
        self.stores: list[Any] = []  # where the ranks of an attempt meet, which outlives its rank 0

    def run(self, spec: RankSpec) -> None:
        for one in [spec, *_early.pop(spec.run_id, [])]:
            self.begin(one)
        while self._wanted() and not self._released.wait(TICK):
            pass
        for thread in self._ranks:
            thread.join()

    def release(self) -> None:
        self._released.set()

    def begin(self, spec: RankSpec) -> None:
        ours = replace(spec, threads=self._threads)

        def publish(kind: str, body: Any) -> None:
            self._publish(kind, spec.attempt, spec.rank, body)

        supervisor = Supervisor(ours, self._work, publish, self._wanted, self.stores)
        thread = threading.Thread(target=supervisor.run, name=f"aios-rank-{spec.rank}", daemon=True)
        with self._lock:
            self._ranks.append(thread)
        thread.start()


class Supervisor:
    """One rank's life. ``run`` is called in a thread of the worker, ``order`` on its event loop."""

    def __init__(
        self,
        spec: RankSpec,
        work: bytes,
        publish: Callable[[str, Any], None],
        wanted: Callable[[], bool],
        stores: list[Any],
    ) -> None:
        self._stores = stores
        self._spec = spec
        self._work = work
        self._publish = publish
        self._wanted = wanted
        self._output = Output(Path(spec.folder) / f"rank{spec.rank}.log")
        self._frames = FrameReader()
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._control: FrameWriter | None = None
        self._stop_by: float | None = None
        self._saving = False
        self._killed = False
        self._port = 0
        self._metrics: list[Any] = []
        self._said: dict[str, Any] | None = None
        self._meter: Meter | None = None

    def order(self, order: OrderName, values: dict[str, Any]) -> None:
        """Pass on a go or a stop; a rank that is not gone STOP_GRACE after a stop is killed, one that saves
        its model after SAVE_GRACE."""
        with self._lock:
            if order == "kill":
                self._kill()
                return
            if order == "stop" and self._stop_by is None:
                self._stop_by = self._patience()
            if self._control is not None:
                try:
                    self._control.send((order, values))
                except OSError:  # the rank has just ended
                    return

    def _patience(self) -> float:
        return time.monotonic() + (SAVE_GRACE if self._saving else STOP_GRACE)

    def run(self) -> None:
        """Spawn the rank, serve it until it and all that it started are gone, and publish how it ended."""
        key = (self._spec.run_id, self._spec.attempt, self._spec.rank)
        _running[key] = self
        try:
            if key[:2] in _over:
                self._end(End(*self._place(), outcome="killed", time=time.time()))
                return
            if self._spec.rank == 0:
                store, self._port = open_store(self._spec.host)
                self._stores.append(store)
            with Pipes() as pipes:
                code = self._live(pipes)
            self._end(self._ending(code))
        except (OSError, RuntimeError, SpawnError) as error:
            text = f"the rank's process could not be started: {error}"
            self._end(End(*self._place(), outcome="failed", time=time.time(), error=text))
        finally:
            _running.pop(key, None)

    def _live(self, pipes: Pipes) -> int:
        payload = pickle.dumps((self._spec, self._work))
        folder = self._spec.cwd if os.path.isdir(self._spec.cwd) else None
        child = spawn(
            "aios_lab.training.rank.process:main",
            payload,
            pipes.theirs,
            env=rank_environment(self._spec),
            cwd=folder,
            ready=True,
        )
        pipes.close_theirs()
        with self._lock:
            self._child = child
            self._control = FrameWriter(pipes.ours["control"])
            if self._killed:
                child.kill()
            elif self._stop_by is not None:
                self._control.send(("stop", {}))
        try:
            self._meter = Meter(child.pid, self._spec.local_rank)
            return self._serve(child, pipes)
        finally:
            with self._lock:
                self._control = None
            child.kill()

    def _serve(self, child: Child, pipes: Pipes) -> int:
        """Read everything until the rank is gone; its exit code."""
        with selectors.DefaultSelector() as selector:
            selector.register(child, selectors.EVENT_READ)
            for name in INCOMING:
                selector.register(pipes.ours[name], selectors.EVENT_READ, name)
            tick = time.monotonic()
            while (code := child.poll()) is None:
                for key, _ in selector.select(TICK):
                    if key.data is not None:
                        data = pipes.read(key.data)
                        if data is None:
                            selector.unregister(key.fileobj)
                        else:
                            self._hear(key.data, data)
                if time.monotonic() - tick >= TICK:
                    tick = time.monotonic()
                    self._tick()
        for name in INCOMING:
            for data in pipes.drain(name):
                self._hear(name, data)
        return code

    def _hear(self, name: str, data: bytes) -> None:
        if name != "messages":
            self._output.feed(name, data)
            return
        for kind, body in self._frames.feed(data):
            if kind == "metrics":
                self._metrics += body
            elif kind == "outcome":
                self._said = body
            elif kind == "ready":
                self._publish("ready", {**body, "port": self._port})
            else:
                if kind == "saving":
                    self._saves(body)
                self._publish(kind, body)

    def _saves(self, saving: bool) -> None:
        with self._lock:
            self._saving = saving
            if self._stop_by is not None:
                self._stop_by = self._patience()

    def _tick(self) -> None:
        self._publish_batches(self._output.take())
        if self._meter is not None and self._meter.due():
            self._publish("usage", self._meter.measure())
        late = self._stop_by is not None and time.monotonic() >= self._stop_by
        if late or not self._wanted():
            with self._lock:
                self._kill()

    def _publish_batches(self, lines: list[str]) -> None:
        if self._metrics:
            self._publish("metrics", self._metrics)
            self._metrics = []
        if lines:
            self._publish("log", lines)

    def _kill(self) -> None:
        self._killed = True
        if self._child is not None:
            self._child.kill()

    def _place(self) -> tuple[int, str]:
        return self._spec.rank, self._spec.host

    def _ending(self, code: int) -> End:
        now = time.time()
        if self._said is not None:
            said = self._said
            error = said.get("error", said.get("problem", ""))
            outcome: Outcome = said["outcome"]
            return End(*self._place(), outcome, now, code, error, said.get("traceback", ""), "result" in said)
        if self._killed:
            return End(*self._place(), "killed", now, code)
        if code == 0:  # os._exit(0): as torchrun sees it, the rank is done
            return End(*self._place(), "ok", now, code)
        return End(
            *self._place(),
            "failed",
            now,
            code,
            recorded(error_file(self._spec)) or died(code, self._output.last_words),
        )

    def _end(self, end: End) -> None:
        self._publish_batches(self._output.finish())
        if end.has_result:
            end = self._keep_result(end)
        self._publish("ended", asdict(end))

    def _keep_result(self, end: End) -> End:
        """Write the result where it outlives this worker; the end then, with the reason where it was not."""
        assert self._said is not None
        path = Path(self._spec.folder) / RESULT
        draft = path.with_suffix(".draft")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(self._said["result"])
            draft.replace(path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            return replace(end, has_result=False, error=f"The result could not be kept: {error}.")
        return end
