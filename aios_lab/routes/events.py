"""State changes of slices and runs as Jupyter events, for whoever listens on the server's event bus."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_events import EventLogger

from aios_lab.wire import Run, Slice

SCHEMAS = Path(__file__).parent.parent / "events"
SLICE_EVENT = "https://aios-lab.org/events/slice/v1"
RUN_EVENT = "https://aios-lab.org/events/run/v1"


def register(logger: EventLogger) -> None:
    for schema in sorted(SCHEMAS.glob("*.yaml")):
        logger.register_event_schema(schema)


class Transitions:
    """Compares what is with what was, and emits an event for each difference in state."""

    def __init__(self, emit: Callable[[str, dict[str, Any]], None]) -> None:
        self._emit = emit
        self._slices: dict[str, tuple[str, int]] = {}
        self._runs: dict[str, str] = {}

    def slice(self, slice_id: str, now: Slice | None) -> None:
        """A slice as it is now; None when it is gone. Its reason, which names what others run, goes to its
        owner alone and not on a bus that everybody hears."""
        state, workers = (now.state.value, now.workers) if now else ("released", 0)
        if self._slices.get(slice_id) == (state, workers):
            return
        if now:
            self._slices[slice_id] = (state, workers)
        elif not self._slices.pop(slice_id, None):
            return
        self._emit(SLICE_EVENT, {"slice_id": slice_id, "state": state, "workers": workers})

    def run(self, run: Run) -> None:
        if self._runs.get(run.id) != run.state.value:
            self._runs[run.id] = run.state.value
            self._emit(RUN_EVENT, {"run_id": run.id, "state": run.state.value})
