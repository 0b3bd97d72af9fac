"""A run as the kernel holds it."""

from __future__ import annotations

import pickle
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aios_lab.training.errors import TrainingFailed
from aios_lab.training.failures import root_cause
from aios_lab.training.kernel.live import LiveRun
from aios_lab.training.spec import SAVE_GRACE, End
from aios_lab.wire import Run as RunView
from aios_lab.wire import RunState

CANCEL_WAIT = SAVE_GRACE + 10  # seconds that an interrupted wait() gives the run to end and be told


class Run:
    """One training in progress or done, as :func:`aios_lab.training.train` gives it; safe in any thread."""

    def __init__(self, live: LiveRun, folder: Path, fetch: Callable[[], bytes]) -> None:
        """``fetch`` gets what rank 0 returned, pickled; it raises whatever is in the way."""
        self.live = live
        self.folder = folder
        self.inbox: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
        self._fetch = fetch
        self._done = threading.Event()
        self._ends: Sequence[End] = ()
        self._failure: TrainingFailed | None = None

    @property
    def id(self) -> str:
        return self.live.view().id

    @property
    def state(self) -> RunState:
        return self.live.state

    @property
    def done(self) -> bool:
        """True once it has ended, its processes are gone and the tracker knows."""
        return self._done.is_set()

    @property
    def failure(self) -> TrainingFailed | None:
        """Why it failed; None while it runs and when it did not."""
        return self._failure

    def wait(self, timeout: float | None = None) -> Run:
        """Block until it ends. An interrupt stops the run, whose partial result ``result()`` then gives.

        Raises:
            TrainingFailed: a rank failed.
            TimeoutError: it goes on after ``timeout`` seconds.
        """
        try:
            ended = self._done.wait(timeout)
        except KeyboardInterrupt:
            ended = self._cancel_and_wait()
        if not ended:
            raise TimeoutError(f"run {self.id} goes on after {timeout:g} s")
        if self._failure is not None:
            raise self._failure
        return self

    def result(self, timeout: float | None = None) -> Any:
        """What the function returned on rank 0, after waiting for it; of a stopped run, its partial result.

        Raises:
            TrainingFailed, TimeoutError: as ``wait``.
            RuntimeError: the result could not be sent back; the message says why.
        """
        self.wait(timeout)
        end = self._ends[0]
        if not end.has_result:
            if end.error and end.outcome in ("ok", "stopped"):
                raise RuntimeError(end.error)
            return None
        try:
            packed = self._fetch()
        except Exception as error:  # Dask raises whatever the transfer raised
            message = f"The result was lost on its way from {end.host}: {type(error).__name__}: {error}"
            raise RuntimeError(message) from error
        return pickle.loads(packed)

    def cancel(self) -> None:
        """Stop it; returns at once. Ranks have a second to end by themselves, and rank 0 the time to save its
        model; a second call kills them."""
        self._order("stop")

    def kill(self) -> None:
        """End all ranks now; returns at once."""
        self._order("kill")

    def obey(self, order: str) -> None:
        """For whoever keeps its record: an order from there, 'stop' or 'kill'."""
        self.inbox.put(("order", {"order": "order", "body": order}))

    def _order(self, order: str) -> None:
        self.inbox.put(("order", {"order": order}))

    def metrics(self) -> dict[str, list[tuple[int, float]]]:
        """Every value reported so far as (step, value), by metric."""
        return self.live.metrics()

    def logs(self, rank: int | None = None) -> str:
        """One rank's whole output, where its file can be read; without ``rank`` all ranks' last lines."""
        if rank is None:
            return "\n".join(self.live.tail())
        try:
            return (self.folder / f"rank{rank}.log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            prefix = f"[rank {rank}] "
            return "\n".join(
                line.removeprefix(prefix) for line in self.live.tail() if line.startswith(prefix)
            )

    def view(self) -> RunView:
        """Its state as the wire has it, for displays."""
        return self.live.view()

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back, on another thread, whenever something of it changed; calling the answer ends that."""
        return self.live.on_change(callback)

    def end(self, ends: Sequence[End], failure: TrainingFailed | None = None) -> None:
        """For whoever hears of it: nothing changes any more, and so its ranks ended, by their numbers.
        ``failure`` is theirs where it is not given."""
        self._ends = ends
        self._failure = failure
        if failure is None and self.state is RunState.FAILED:
            self._failure = root_cause(ends)
        self._done.set()

    def _cancel_and_wait(self) -> bool:
        """First interrupt: stop; a second one: kill."""
        end = time.monotonic() + CANCEL_WAIT
        while time.monotonic() < end:
            self.cancel()
            try:
                return self._done.wait(end - time.monotonic())
            except KeyboardInterrupt:
                continue
        return self._done.is_set()

    def __repr__(self) -> str:
        view = self.view()
        metrics = "".join(f", {name}={value:.4g}" for name, value in view.metrics.items())
        return f"<Run {view.id} {view.name!r}: {view.state}, step {view.step}{metrics}>"
