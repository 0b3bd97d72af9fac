"""What a notebook hears of its slice's size: a line in its output, and callbacks."""

from __future__ import annotations

import inspect
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, fields
from html import escape
from queue import SimpleQueue
from typing import Any, Literal

from aios_lab.notebook.display import Output

TOPIC = "aios"  # of the events of a slice's scheduler

Kind = Literal["shrinking", "shrunk", "growing", "grown", "parked", "resumed"]


@dataclass(frozen=True, slots=True)
class ResizeEvent:
    """The slice goes, or went, from ``before`` to ``after`` workers, for this ``reason``.

    "shrinking" comes first, with the ``deadline`` (seconds since the epoch) at which workers that still run
    tasks are ended; then "shrunk", or "parked" where none is left. "growing" is followed by "grown", or by
    "resumed" when the slice was parked; it is also said where as many workers of another shape take their
    place.
    """

    kind: Kind
    before: int
    after: int
    deadline: float | None
    reason: str


Callback = Callable[[ResizeEvent], object]


class Notices:
    """Shows that workers go or come back, in one line for each time, and calls back."""

    def __init__(self) -> None:
        self._callbacks: list[Callback] = []
        self._hearers: list[SimpleQueue[ResizeEvent]] = []
        self._output: Output | None = None

    def call_back(self, callback: Callback) -> Callable[[], None]:
        """Returns what forgets the callback; it may be called more than once.

        Raises:
            TypeError: it cannot be called, or would have to be awaited.
        """
        if not callable(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError(
                f"aios.on_resize() takes a function that is called with a ResizeEvent, not {callback!r}."
            )
        self._callbacks.append(callback)

        def forget() -> None:
            self._callbacks[:] = [one for one in self._callbacks if one is not callback]

        return forget

    def hear(self, event: Any) -> None:
        """An event of the scheduler, with its time. Dask's own thread must not wait for anybody."""
        _, told = event
        if told.get("event") != "resize":
            return
        if not self._hearers:  # a callback that takes long holds up the next, and no line
            self._hearers = [_hearer(self._show), _hearer(self._call_back)]
        one = ResizeEvent(**{field.name: told[field.name] for field in fields(ResizeEvent)})
        for hearer in self._hearers:
            hearer.put(one)

    def _call_back(self, event: ResizeEvent) -> None:
        for callback in list(self._callbacks):
            try:
                callback(event)
            except Exception:
                name = getattr(callback, "__name__", "a callback")
                print(f"aios.on_resize: {name} failed.", file=sys.stderr)
                traceback.print_exc()

    def _show(self, event: ResizeEvent) -> None:
        text = words(event)
        if not text:
            return
        if self._output is None or event.kind == "shrinking":
            self._output = Output()
        self._output.show(text, {"text/html": f'<div class="aios-Notice">{escape(text)}</div>'})


def _hearer(hear: Callable[[ResizeEvent], None]) -> SimpleQueue[ResizeEvent]:
    """A thread that hears one event after another."""
    events: SimpleQueue[ResizeEvent] = SimpleQueue()

    def run() -> None:
        while True:
            hear(events.get())

    threading.Thread(target=run, name="aios resizes", daemon=True).start()
    return events


def words(event: ResizeEvent) -> str:
    """One line; empty for growth that its owner asked for."""
    sizes = f"from {event.before} to {event.after} {'worker' if event.after == 1 else 'workers'}"
    why = f": {event.reason}" if event.reason else "."
    match event.kind:
        case "shrinking":
            clock = time.strftime("%H:%M:%S", time.localtime(event.deadline))
            return f"This slice shrinks {sizes} by {clock}{why}"
        case "shrunk":
            return f"This slice has shrunk {sizes}{why}"
        case "parked":
            return f"This slice has no workers for now; what it computed is kept{why}"
        case "resumed":
            return f"This slice has {event.after} {'worker' if event.after == 1 else 'workers'} again."
    return ""


notices = Notices()
