"""A run that another kernel began, as this one holds it: its record is read as it grows."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from aios_lab.notebook.errors import AIOSError
from aios_lab.training.errors import TrainingFailed
from aios_lab.training.kernel.live import LiveRun
from aios_lab.training.kernel.run import Run
from aios_lab.training.record.files import RunFolder
from aios_lab.training.spec import RESULT, End
from aios_lab.wire import Run as RunView
from aios_lab.wire import RunMetric, RunState

if TYPE_CHECKING:
    from aios_lab.notebook.server import Server

log = logging.getLogger("aios_lab.notebook")

PERIOD = 0.5  # seconds between two looks at the record


def attach(server: Server, wanted: str | None) -> Run:
    """A handle on a run of this user's: by its id or its name, or without either the newest that goes on.

    Raises:
        AIOSError: there is none.
    """
    view = server.call("GET", f"runs/{_find(server, wanted)}", RunView)
    folder = Path(os.environ["AIOS_RUNS"]) / view.id
    run = Run(LiveRun(view), folder, (folder / RESULT).read_bytes)
    following = Following(run, server, view)
    following.look()
    following.start()
    return run


def _find(server: Server, wanted: str | None) -> str:
    _, listed = server.send("GET", "runs")
    runs = [RunView.model_validate(one) for one in listed]
    living = [one for one in runs if not one.state.ended]
    if wanted is None and living:
        return living[0].id
    for one in (*living, *runs):
        if wanted in (one.id, one.name):
            return one.id
    if wanted is not None and wanted.startswith("r-"):
        return wanted  # the server says what is wrong with it
    there = ", ".join(f"{one.name} ({one.id})" for one in runs[:5]) or "none"
    raise AIOSError(
        "No run goes on." if wanted is None else f"There is no run {wanted!r} to attach to.",
        "unknown_run",
        f"Runs of this notebook, and detached ones of other notebooks of yours: {there}.",
    )


class Following(threading.Thread):
    """Looks at the record until the run has ended, and passes on what its user wants of it."""

    def __init__(self, run: Run, server: Server, view: RunView) -> None:
        super().__init__(name=f"aios-attach-{view.id}", daemon=True)
        self._run = run
        self._server = server
        self._view = view
        self._path = f"runs/{view.id}"
        self._folder = RunFolder(run.folder)
        self._offset = 0
        self._stopped = False

    def run(self) -> None:
        while not self._run.done:
            try:
                self._follow()
            except Exception as error:  # whatever broke this look, wait() lives by those to come
                self._say_once(f"The run cannot be followed now: {type(error).__name__}: {error}")

    def _follow(self) -> None:
        try:
            _, order = self._run.inbox.get(timeout=PERIOD)
        except queue.Empty:
            self._ask()
        else:
            self._pass_on(order["order"])

    def _say_once(self, trouble: str) -> None:
        """Until a look at the record has taken its place."""
        if trouble not in self._run.live.tail():
            log.warning("run %s: %s", self._view.id, trouble, exc_info=True)
            self._run.live.say(trouble)

    def _pass_on(self, order: str) -> None:
        kill = order == "kill" or self._stopped
        self._stopped = True
        try:
            self._server.call("POST", f"{self._path}/stop?kill={int(kill)}", RunView)
        except AIOSError as error:  # the next look says more
            self._run.live.say(f"The order could not be passed on: {error.message}")

    def _ask(self) -> None:
        try:
            self._view = self._server.call("GET", self._path, RunView)
        except AIOSError as error:
            if error.status not in (403, 404):  # the server is away for now; the run need not be
                return
            now = time.time()
            update = {"state": RunState.FAILED, "ended": now, "error": error.message}
            self._view = self._view.model_copy(update=update)
        self.look()

    def look(self) -> None:
        """Take in what the record has, and its end."""
        ended = self._view.state.ended
        self._run.live.follow(self._view, self._new_metrics())
        if ended:
            has_result = os.path.exists(self._run.folder / RESULT)
            end = End(0, "", "ok", self._view.ended or time.time(), has_result=has_result)
            failed = self._view.state is RunState.FAILED
            self._run.end([end], TrainingFailed.told(self._view.error) if failed else None)

    def _new_metrics(self) -> list[RunMetric]:
        """Those since the last look. What cannot be read now may be with the next one: the run's end, which
        somebody waits for, is known all the same."""
        try:
            metrics, self._offset = self._folder.metrics(self._offset)
        except (OSError, ValueError) as error:  # pydantic's are ValueErrors
            log.info("the metrics of run %s cannot be read: %s", self._view.id, error)
            return []
        return metrics
