"""Who keeps a run: the server in Lab, memory and files elsewhere."""

from __future__ import annotations

import getpass
import json
import os
import threading
import time
import uuid
from pathlib import Path
from typing import Protocol

from aios_lab.models.places import data_folder
from aios_lab.training.data import clear
from aios_lab.training.kernel.live import ENDED
from aios_lab.training.progress import take
from aios_lab.wire import Run, RunOrder, RunRequest, RunState, RunUpdate


class TrackerUnavailable(Exception):
    """The tracker cannot be reached now. The run goes on; what was not told is told with the next update."""


class Tracker(Protocol):
    """Told of a run's begin and of all that happens in it; may answer that it is to stop."""

    @property
    def runs_dir(self) -> Path:
        """The folder of runs: ``<runs_dir>/<run_id>/`` has logs and the model."""

    def begin(self, request: RunRequest) -> Run:
        """Open a run. Its errors are the caller's: without a run nothing starts."""

    def update(self, run_id: str, update: RunUpdate) -> RunOrder:
        """Take news, at least every half second while the run lives.

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
        run = Run(
            id=f"r-{uuid.uuid4().hex[:10]}",
            name=request.name,
            slice_id=os.environ.get("AIOS_SLICE", ""),
            user=getpass.getuser(),
            mine=True,
            state=RunState.PENDING,
            strategy=request.strategy,
            world_size=request.world_size,
            created=time.time(),
            total_steps=request.total_steps,
            total_epochs=request.total_epochs,
            options=request.options,
            parameters=request.parameters,
            detached=request.detached,
            resumed=request.resumed,
        )
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
            if run.state in ENDED:
                clear(self.runs_dir / run_id)
        return RunOrder()

    def _write(self, run: Run) -> None:
        path = self.runs_dir / run.id / "run.json"
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(run.model_dump(mode="json"), indent=1), encoding="utf-8")
        draft.replace(path)
