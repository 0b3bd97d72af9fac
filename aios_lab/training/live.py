"""What is known of a run right now, for displays: written by its controller, read by anyone."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from aios_lab.training.store_files import Series
from aios_lab.wire import Point, Run, RunMetric, RunState

log = logging.getLogger("aios_lab.training")

ENDED = frozenset({RunState.FINISHED, RunState.STOPPED, RunState.FAILED})
LOG_TAIL = 200  # lines
KEPT = 1_000_000  # values of each metric that ``metrics`` gives back
RATE_WINDOW = 10.0  # seconds over which the throughput is taken


class LiveRun:
    """Live state of one run. Every method is safe to call from any thread."""

    def __init__(self, run: Run) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._version = 0
        self._callbacks: list[Callable[[], None]] = []
        self._run = run
        self._thinned: dict[str, Series] = {}
        self._values: dict[str, deque[tuple[int, float]]] = {}
        self._tail: deque[str] = deque(maxlen=LOG_TAIL)
        self._recent: deque[tuple[float, int]] = deque()

    @property
    def state(self) -> RunState:
        return self._run.state

    def set(self, **fields: object) -> None:
        """Set fields of the run by their wire names; None leaves a field as it is."""
        news = {name: value for name, value in fields.items() if value is not None}
        if not news:
            return
        with self._lock:
            self._run = self._run.model_copy(update=news)
        self._tell()

    def add_metrics(self, metrics: Iterable[RunMetric]) -> None:
        with self._lock:
            for metric in metrics:
                self._add(metric)
        self._tell()

    def add_lines(self, lines: Iterable[str]) -> None:
        with self._lock:
            self._tail.extend(lines)
        self._tell()

    def view(self) -> Run:
        """The run as the wire has it, complete for display: each series has at most 500 points."""
        with self._lock:
            rate = self._rate()
            return self._run.model_copy(
                update={
                    "metrics": dict(self._run.metrics),
                    "series": {name: series.points() for name, series in self._thinned.items()},
                    "log_tail": list(self._tail),
                    "throughput": rate,
                    "eta": self._eta(rate),
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

    def wait_change(self, seen: int, timeout: float | None) -> int:
        """Block until something is newer than ``seen``, at most ``timeout`` seconds; what is newest then."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != seen, timeout)
            return self._version

    def _tell(self) -> None:
        with self._changed:
            self._version += 1
            self._changed.notify_all()
        for callback in list(self._callbacks):
            try:
                callback()
            except Exception:  # a display's own error must not end the run that it shows
                log.exception("a display of run %s failed", self._run.id)

    def _add(self, metric: RunMetric) -> None:
        run = self._run
        run.step = max(run.step, metric.step)
        run.epoch = run.epoch if metric.epoch is None else metric.epoch
        for name, value in metric.values.items():
            if math.isfinite(value):  # JSON has no other numbers, and a plot no place for them
                run.metrics[name] = value
                self._thinned.setdefault(name, Series()).add(
                    Point(step=metric.step, time=metric.time, value=value)
                )
            self._values.setdefault(name, deque(maxlen=KEPT)).append((metric.step, value))
        self._recent.append((metric.time, metric.step))
        while metric.time - self._recent[0][0] > RATE_WINDOW:
            self._recent.popleft()

    def _rate(self) -> float | None:
        if len(self._recent) < 2:
            return None
        (begin, first), (end, last) = self._recent[0], self._recent[-1]
        return (last - first) / (end - begin) if end > begin and last > first else None

    def _eta(self, rate: float | None) -> float | None:
        """Seconds left: by steps where their number is known, else by finished epochs."""
        run = self._run
        if run.state in ENDED or run.started is None:
            return None
        if run.total_steps and rate:
            return max(0.0, (run.total_steps - run.step) / rate)
        if run.total_epochs and run.epoch:
            passed = time.time() - run.started
            return max(0.0, passed / run.epoch * (run.total_epochs - run.epoch))
        return None
