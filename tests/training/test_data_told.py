"""What is told of a run's data reaches its record, also where that is away for a moment."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client

from aios_lab.training import LocalTracker, TrackerUnavailable, train
from aios_lab.wire import RunOrder, RunUpdate
from training import datasets


class Away(LocalTracker):
    """A tracker that does not answer the first time that it is told of data."""

    missed = False

    def update(self, run_id: str, update: RunUpdate) -> RunOrder:
        if update.data and not self.missed:
            self.missed = True
            raise TrackerUnavailable("away")
        return super().update(run_id, update)


def size(ctx: Any) -> int:
    return len(ctx.data)


def test_a_record_that_was_away_has_the_data_all_the_same(client: Client, tmp_path: Path) -> None:
    tracker = Away(tmp_path)
    run = train(size, client=client, tracker=tracker, data=np.zeros((8, 2)), workers=1)
    assert run.result(60) == 8
    assert tracker.missed
    assert [one.rows for one in tracker.runs[run.id].data] == [8]


class Counting(LocalTracker):
    """A tracker that lets a part of the data be loaded once it has heard of its run for some time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "runs")
        self.folder, self.heard = folder, 0

    def update(self, run_id: str, update: RunUpdate) -> RunOrder:
        self.heard += (self.folder / "began").exists()
        if self.heard == 4:
            (self.folder / "go").touch()
        return super().update(run_id, update)


def slow(folder: str, n: int) -> Any:
    Path(folder, "began").touch()
    while not Path(folder, "go").exists():
        time.sleep(0.02)
    return np.zeros((2, 3))


def test_a_run_whose_data_takes_long_is_heard_of_all_the_time(client: Client, tmp_path: Path) -> None:
    """Who keeps its record takes one that is silent for dead."""
    tracker = Counting(tmp_path)
    data = datasets.delayed(partial(slow, str(tmp_path)), 1)
    assert train(size, client=client, tracker=tracker, data=data, workers=1).result(60) == 2
    assert tracker.heard >= 4
