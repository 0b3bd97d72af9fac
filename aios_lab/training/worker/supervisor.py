"""Beside one rank: spawns its process, hears it out, passes orders on and ends it."""

from __future__ import annotations

import os
import pickle
import selectors
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from aios_lab.engines.spawn import Child, spawn
from aios_lab.training import whole
from aios_lab.training.environment import error_file, rank_environment
from aios_lab.training.failures import died, recorded
from aios_lab.training.frames import FrameReader, FrameWriter
from aios_lab.training.spec import RESULT, SAVE_GRACE, STOP_GRACE, End, OrderName, Outcome, RankSpec
from aios_lab.training.worker.logs import Output
from aios_lab.training.worker.pipes import INCOMING, Pipes
from aios_lab.training.worker.usage import Meter

TICK = 0.1  # seconds between batches of events


def read_result(folder: str) -> bytes:
    """What rank 0 returned, pickled, on its own host."""
    return (Path(folder) / RESULT).read_bytes()


class Supervisor:
    """One rank's life. ``run`` is called in a thread of the worker, ``order`` on its event loop."""

    def __init__(
        self,
        spec: RankSpec,
        work: bytes,
        publish: Callable[[str, Any], None],
        wanted: Callable[[], bool],
        meet: Callable[[], int],
    ) -> None:
        """``publish`` takes the kind and what is said; ``wanted`` is false once the rank is to end; ``meet``
        opens the place where the ranks meet, and gives its port."""
        self._meet = meet
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
        self.killed = False
        self._port = 0
        self._metrics: list[Any] = []
        self._held = 0  # the number of the last hold
        self._said: dict[str, Any] | None = None
        self._meter: Meter | None = None

    def order(self, order: OrderName, values: dict[str, Any]) -> None:
        """Pass on an order; a rank that is not gone STOP_GRACE after a stop is killed, one that saves its
        model after SAVE_GRACE. Orders are repeated until they are heard, and a hold counts once."""
        with self._lock:
            if order == "kill":
                self._kill()
                return
            if order == "hold":
                if values["number"] <= self._held:
                    return
                self._held = values["number"]
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
        try:
            self._end(self._lived())
        except Exception as error:  # whatever broke here, the leader must hear that there is no rank
            begun = "could not be started" if self._child is None else "was ended, for it could not be served"
            text = f"the rank's process {begun}: {error}"
            self._end(End(*self._place(), outcome="failed", time=time.time(), error=text))

    def _lived(self) -> End:
        if self.killed:
            return End(*self._place(), outcome="killed", time=time.time())
        if self._spec.rank == 0:
            self._port = self._meet()
        with Pipes() as pipes:
            return self._ending(self._live(pipes))

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
            if self.killed:
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
        self.killed = True
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
        if self.killed:
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
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            whole.write(path, self._said["result"])
        except OSError as error:
            return replace(end, has_result=False, error=f"The result could not be kept: {error}.")
        return end
