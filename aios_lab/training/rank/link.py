"""A rank's line to its supervisor: orders come in, reports go out, and neither holds up the training."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from aios_lab.training import numbers
from aios_lab.training.errors import Stopped
from aios_lab.training.frames import FrameReader, FrameWriter
from aios_lab.training.rank.boundaries import SHORTEST_PART, Boundaries, Store, Why

FLUSH_INTERVAL = 0.1  # seconds between batches of metrics
QUEUE_LIMIT = 20_000  # reports kept between two batches; beyond it the oldest are dropped
INTERRUPT_AFTER = SHORTEST_PART  # seconds that a function with a context has to reach its next report

Metric = tuple[int, float, int | None, dict[str, Any]]


class Link:
    """Two pipes and two threads. ``stopping`` is set by a stop order; ``raised`` once the function knows."""

    def __init__(self, messages: int, control: int) -> None:
        self._writer = FrameWriter(messages)
        self._control = control
        self._queue: deque[Metric] = deque(maxlen=QUEUE_LIMIT)
        self._news = threading.Event()
        self._closing = threading.Event()
        self._flushing = threading.Lock()
        self._counting = threading.Lock()
        self._go = threading.Event()
        self.environment: dict[str, str] = {}
        self.boundaries: Boundaries | None = None
        self.meeting: Callable[[], Store | None] = lambda: None  # connects to the ranks' store
        self._busy = 0
        self.stopping = threading.Event()
        self.raised = False
        self.together = False  # all ranks stopped at one place, and can still do something together
        self.interrupts = False  # true while user code runs that may be interrupted by a signal
        self.at_once = True  # interrupt plain code at once; code with a context at its next report
        threading.Thread(target=self._listen, name="aios-control", daemon=True).start()
        threading.Thread(target=self._flush_often, name="aios-report", daemon=True).start()

    def send(self, kind: str, body: Any = None) -> None:
        """Send a message now, after the metrics that were reported before it."""
        self._flush()
        self._writer.send((kind, body))

    def report(self, step: int, when: float, epoch: int | None, values: dict[str, Any]) -> None:
        self._queue.append((step, when, epoch, values))
        self._news.set()

    def await_go(self) -> bool:
        """Block until all ranks are ready; False when the run is to stop instead."""
        self._go.wait()
        return not self.stopping.is_set()

    @property
    def parting(self) -> bool:
        """Whether the function is to go on for now: a stop takes effect where all ranks can save together."""
        return self.boundaries is not None and self.boundaries.parting

    def halt(self, text: str) -> NoReturn:
        """Tell the function that the run is to stop, where every rank is told."""
        self.raised = self.together = True
        self._stay(even_here=True)
        raise Stopped(text)

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """Have a stop wait for what is saved or gathered: no signal, and no kill after STOP_GRACE."""
        with self.uninterrupted():
            self._wait_for_it(1)
            try:
                yield
            finally:
                self._wait_for_it(-1)

    def _wait_for_it(self, more: int) -> None:
        with self._counting:
            before, self._busy = self._busy, self._busy + more
            if bool(before) != bool(self._busy):
                self.send("saving", bool(self._busy))

    @contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """Hold back the signal of a stop, as while a model is written."""
        before, self.interrupts = self.interrupts, False
        try:
            yield
        finally:
            self.interrupts = before
            if self.stopping.is_set() and not self.parting:
                self._interrupt_later()

    def close(self) -> None:
        """Send what is left; nothing is sent afterwards."""
        self._stay(even_here=True)
        self._closing.set()
        self._flush()

    def _flush(self) -> None:
        with self._flushing:
            batch = []
            while self._queue:
                step, when, epoch, values = self._queue.popleft()
                batch.append(
                    (step, when, epoch, {name: numbers.read(value) for name, value in values.items()})
                )
            if batch:
                self._writer.send(("metrics", batch))

    def _flush_often(self) -> None:
        while not self._closing.is_set():
            self._news.wait()
            self._news.clear()
            try:
                self._flush()
            except OSError:
                return  # the supervisor is gone, and _listen ends this process
            self._closing.wait(FLUSH_INTERVAL)

    def _listen(self) -> None:
        reader = FrameReader()
        while data := os.read(self._control, 65536):
            for order, values in reader.feed(data):
                if order == "go":
                    self.environment = values
                    self._go.set()
                elif order == "stop":
                    self._stop()
                elif order in ("hold", "settle"):
                    self._hold(order, **values)
        os._exit(1)  # the supervisor is gone: nobody would hear the result

    def _hold(self, order: str, number: int, why: Why) -> None:
        if self.boundaries is None:  # a run that is not resumable is not asked to
            return
        if order == "settle":
            self.boundaries.settle(number)
        else:
            self.boundaries.hold(number, why)
            self.send("held", number)

    def _stop(self) -> None:
        patience = 0.0 if self.boundaries is None or self.at_once else self.boundaries.patience
        if self.boundaries is not None and patience and not self._part(self.boundaries):
            patience = 0.0
        self.stopping.set()
        self._go.set()
        if self.at_once:
            self._interrupt()
        else:
            self._interrupt_later(patience)

    def _part(self, boundaries: Boundaries) -> bool:
        """Have all ranks save together before they stop; False where they cannot agree on it any more."""
        self._wait_for_it(1)
        try:
            boundaries.part(self.meeting())
        except (RuntimeError, OSError):  # the store's host is gone
            self._wait_for_it(-1)
            return False
        return True

    def _stay(self, even_here: bool = False) -> bool:
        """Wait no longer for a step where all ranks can save; whether that was waited for."""
        stays = self.boundaries is not None and self.boundaries.stay(even_here)
        if stays:
            self._wait_for_it(-1)
        return stays

    def _interrupt_later(self, patience: float = 0.0) -> None:
        def interrupt() -> None:
            if self._stay() or not patience:
                self._interrupt()

        timer = threading.Timer(patience or INTERRUPT_AFTER, interrupt)
        timer.daemon = True
        timer.start()

    def _interrupt(self) -> None:
        main = threading.main_thread().ident
        if self.interrupts and not self.raised and main is not None:
            signal.pthread_kill(main, signal.SIGINT)
