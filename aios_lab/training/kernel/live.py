"""What is known of a run right now, for displays: written by whoever hears of it, read by anyone."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable

from aios_lab.training.progress import Progress, take
from aios_lab.wire import Run, RunMetric, RunState, RunUpdate

log = logging.getLogger("aios_lab.training")

DERIVED = frozenset({"metrics", "series", "log_tail"})  # fields that follow from what was told
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

    def take(self, update: RunUpdate) -> None:
        """Take in what is new."""
        with self._lock:
            run = self._run
            take(run, update)
            self._add_metrics(update.metrics)
            self._tail.extend(update.logs)
            for name in ("state", "started", "ended", "error"):
                if (value := getattr(update, name)) is not None:
                    setattr(run, name, value)
            run.has_model = run.has_model or update.model is not None
            if run.state.ended:
                run.eta = None
        self._tell()

    def follow(self, run: Run, metrics: Iterable[RunMetric]) -> None:
        """Be as the record has it, with the metrics that are new there."""
        with self._lock:
            self._add_metrics(metrics)
            for name in Run.model_fields.keys() - DERIVED:
                setattr(self._run, name, getattr(run, name))
            self._tail = deque(run.log_tail, maxlen=LOG_TAIL)
        self._tell()

    def say(self, line: str) -> None:
        """A line for the log that is shown."""
        with self._lock:
            self._tail.append(line)
        self._tell()

    def _add_metrics(self, metrics: Iterable[RunMetric]) -> None:
        for metric in metrics:
            self._tail.extend(self._progress.add(metric))
            for name, value in metric.values.items():
                self._values.setdefault(name, deque(maxlen=KEPT)).append((metric.step, value))

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
        """Call back after each change, on the thread that hears of it; the answer ends it."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback) if callback in self._callbacks else None

    def _tell(self) -> None:
        for callback in list(self._callbacks):
            try:
                callback()
            except Exception:  # a display's own error must not end the run that it shows
                log.exception("a display of run %s failed", self._run.id)
