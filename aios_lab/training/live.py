"""What is known of a run right now, for displays: written by its controller, read by anyone."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable

from aios_lab.training.progress import Progress
from aios_lab.wire import Run, RunMetric, RunState

log = logging.getLogger("aios_lab.training")

ENDED = frozenset({RunState.FINISHED, RunState.STOPPED, RunState.FAILED})
LOG_TAIL = 200  # lines
KEPT = 1_000_000  # values of each metric that ``metrics`` gives back


class LiveRun:
    """Live state of one run. Every method is safe to call from any thread."""

    def __init__(self, run: Run) -> None:
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self._progress = Progress(run)
        self._values: dict[str, deque[tuple[int, float]]] = {}
        self._tail: deque[str] = deque(maxlen=LOG_TAIL)

    @property
    def _run(self) -> Run:
        return self._progress.run

    @property
    def state(self) -> RunState:
        return self._run.state

    def set(self, **fields: object) -> None:
        """Set fields of the run by their wire names; None leaves a field as it is."""
        news = {name: value for name, value in fields.items() if value is not None}
        if not news:
            return
        with self._lock:
            for name, value in news.items():
                setattr(self._run, name, value)
            if self._run.state in ENDED:
                self._run.eta = None
        self._tell()

    def add_metrics(self, metrics: Iterable[RunMetric]) -> None:
        with self._lock:
            for metric in metrics:
                self._tail.extend(self._progress.add(metric))
                for name, value in metric.values.items():
                    self._values.setdefault(name, deque(maxlen=KEPT)).append((metric.step, value))
        self._tell()

    def add_lines(self, lines: Iterable[str]) -> None:
        with self._lock:
            self._tail.extend(lines)
        self._tell()

    def view(self) -> Run:
        """The run as the wire has it, complete for display: each series has at most 500 points."""
        with self._lock:
            return self._run.model_copy(
                update={
                    "metrics": dict(self._run.metrics),
                    "series": self._progress.points(),
                    "log_tail": list(self._tail),
                }
            )

    def metrics(self) -> dict[str, list[tuple[int, float]]]:
        """Every reported value as (step, value), by metric."""
        with self._lock:
            return {name: list(values) for name, values in self._values.items()}

    def tail(self) -> list[str]:
        with self._lock:
            return list(self._tail)

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after each change, on the controller's thread; the answer ends it."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback) if callback in self._callbacks else None

    def _tell(self) -> None:
        for callback in list(self._callbacks):
            try:
                callback()
            except Exception:  # a display's own error must not end the run that it shows
                log.exception("a display of run %s failed", self._run.id)
