"""Who keeps a run: the server in Lab, memory and files elsewhere."""

from __future__ import annotations

import getpass
import json
import os
import threading
from pathlib import Path
from typing import Protocol

from aios_lab.models.places import data_folder
from aios_lab.training import whole
from aios_lab.training.begun import begun, new_run_id
from aios_lab.training.data import clear
from aios_lab.training.progress import take
from aios_lab.wire import Run, RunOrder, RunRequest, RunUpdate


class TrackerUnavailable(Exception):
    """The tracker cannot be reached now. The run goes on; what was not told is told with the next update."""


class Tracker(Protocol):
    """Keeps a run: told of its begin, and of what happens in it where no leader keeps the record."""

    @property
    def runs_dir(self) -> Path:
        """The folder of runs: ``<runs_dir>/<run_id>/`` has logs and the model."""

    def begin(self, request: RunRequest) -> Run:
        """Open a run. Its errors are the caller's: without a run nothing starts."""

    def update(self, run_id: str, update: RunUpdate) -> RunOrder:
        """Take news, every half second or so while the run is led from here; where the leader itself keeps
        the record, only while the run begins. The answer says what is wanted of the run.

        Raises:
            TrackerUnavailable: try again later; the same news come again, merged with newer ones.
        """


class LocalTracker:
    """Keeps runs without a server: ``run.json`` and ``metrics.jsonl`` in each run's folder."""

    def __init__(self, runs_dir: str | os.PathLike[str] | None = None) -> None:
        default = os.environ.get("AIOS_RUNS") or data_folder() / "runs"
        self.runs_dir = Path(runs_dir or default).expanduser().resolve()
        self.runs: dict[str, Run] = {}
        self._lock = threading.Lock()

    def begin(self, request: RunRequest) -> Run:
        run = begun(request, new_run_id(), os.environ.get("AIOS_SLICE", ""), getpass.getuser())
        (self.runs_dir / run.id).mkdir(parents=True)
        self.runs[run.id] = run
        self._write(run)
        return run.model_copy(deep=True)  # what is told of it comes back by `update`

    def update(self, run_id: str, update: RunUpdate) -> RunOrder:
        with self._lock:
            run = self.runs[run_id]
            if update.metrics:
                with (self.runs_dir / run_id / "metrics.jsonl").open("a", encoding="utf-8") as file:
                    file.writelines(m.model_dump_json() + "\n" for m in update.metrics)
                run.step = update.metrics[-1].step
                for metric in update.metrics:
                    run.metrics.update(metric.values)
            take(run, update)
            run.state = update.state or run.state
            run.error = update.error or run.error
            run.has_model = run.has_model or update.model is not None
            if update.state is not None:
                self._write(run)
            if run.state.ended:
                clear(self.runs_dir / run_id)
        return RunOrder()

    def _write(self, run: Run) -> None:
        text = json.dumps(run.model_dump(mode="json"), indent=1)
        whole.write(self.runs_dir / run.id / "run.json", text)
