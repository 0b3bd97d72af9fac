"""Tells the tracker what happens in a run, on its own thread, so that a slow server never holds up a stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from aios_lab.training.tracker import Tracker, TrackerUnavailable
from aios_lab.wire import RunMetric, RunUpdate

log = logging.getLogger("aios_lab.training")

INTERVAL = 0.5  # seconds between updates; each is also how the tracker's orders are heard
FINAL_WAIT = 5.0  # seconds to tell the end to a tracker that does not answer
BACKLOG = 100_000  # metrics, and a hundredth of it lines, kept for a tracker that is away


class Reporter(threading.Thread):
    """Merges news until the next update. ``on_order`` hears a changed order: 'stop' or 'kill'."""

    def __init__(self, tracker: Tracker, run_id: str, on_order: Callable[[str], None]) -> None:
        super().__init__(name=f"aios-report-{run_id}", daemon=True)
        self._tracker = tracker
        self._run_id = run_id
        self._on_order = on_order
        self._lock = threading.Lock()
        self._fields: dict[str, Any] = {}
        self._metrics: list[RunMetric] = []
        self._lines: list[str] = []
        self._finished = threading.Event()
        self._order = "go"

    def tell(self, **fields: Any) -> None:
        """Fields of the next update, as in wire.RunUpdate; the newest value of each counts."""
        with self._lock:
            self._fields.update({name: value for name, value in fields.items() if value is not None})

    def add(self, metrics: list[RunMetric], lines: list[str]) -> None:
        with self._lock:
            self._metrics = (self._metrics + metrics)[-BACKLOG:]
            self._lines = (self._lines + lines)[-BACKLOG // 100 :]

    def finish(self) -> None:
        """Tell what is left and end; waits at most FINAL_WAIT seconds."""
        self._finished.set()
        if self.ident is None:  # its thread could not be started: nobody else tells the end
            self._tell_end()
        else:
            self.join(FINAL_WAIT)

    def run(self) -> None:
        while not self._finished.wait(INTERVAL):
            self._update()
        self._tell_end()

    def _tell_end(self) -> None:
        for _ in range(3):
            if self._update():
                return

    def _update(self) -> bool:
        """One update, also without news: it is the run's heartbeat. False when it should come again."""
        try:
            return self._exchange()
        except Exception:  # news that nobody can take must not silence the run
            log.exception("some news of run %s was lost", self._run_id)
            return False

    def _exchange(self) -> bool:
        with self._lock:
            fields, self._fields = self._fields, {}
            metrics, self._metrics = self._metrics, []
            lines, self._lines = self._lines, []
        try:
            answer = self._tracker.update(self._run_id, _message(fields, metrics, lines))
        except (TrackerUnavailable, OSError):
            with self._lock:
                self._fields = {**fields, **self._fields}
                self._metrics = (metrics + self._metrics)[-BACKLOG:]
                self._lines = (lines + self._lines)[-BACKLOG // 100 :]
            return False
        except Exception:
            with self._lock:  # what else there was may be the cause; the run's state must be told
                kept = {name: value for name, value in fields.items() if name in ("state", "error")}
                self._fields = {**kept, **self._fields}
            raise
        if answer.order not in ("go", self._order):
            self._order = answer.order
            self._on_order(answer.order)
        return True


def _message(fields: dict[str, Any], metrics: list[RunMetric], lines: list[str]) -> RunUpdate:
    """The update, without those fields that the wire does not take."""
    try:
        return RunUpdate(**fields, metrics=metrics, logs=lines)
    except ValidationError as error:
        log.warning("run news that cannot be told: %s", error)
        wrong = {str(one["loc"][0]) for one in error.errors()}
        rest = {**fields, "metrics": metrics, "logs": lines}
        return RunUpdate(**{name: value for name, value in rest.items() if name not in wrong})
