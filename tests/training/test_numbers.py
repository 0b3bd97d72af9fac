"""What users report as numbers, and news that the wire does not take."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aios_lab.training.kernel.reporter import Reporter
from aios_lab.training.kernel.tracker import LocalTracker
from aios_lab.training.numbers import metric, whole
from aios_lab.wire import RunOrder, RunRequest, RunState, RunUpdate
from training.helpers import Train

WHOLE = [3, 3.0, np.int64(3), np.float32(3), np.array([3]), torch.tensor(3), torch.tensor([3.0])]


@pytest.mark.parametrize("given", WHOLE, ids=repr)
def test_whole_numbers_come_in_many_types(given: Any) -> None:
    value = whole("ctx.report", "step", given)
    assert (type(value), value) == (int, 3)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (2.5, ValueError),
        (math.nan, ValueError),
        (math.inf, ValueError),
        (np.float64(0.5), ValueError),
        (torch.tensor([1, 2]), ValueError),
        (10**20, ValueError),
        (True, TypeError),
        ("3", TypeError),
        ([3], TypeError),
        (3 + 0j, TypeError),
    ],
    ids=repr,
)
def test_what_is_no_whole_number_is_named(given: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"ctx\.report\(step=") as caught:
        whole("ctx.report", "step", given)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "given", [0.5, np.float32(0.5), np.array([[0.5]]), torch.tensor([0.5], requires_grad=True)], ids=repr
)
def test_metrics_are_floats(given: Any) -> None:
    value = metric("ctx.report", "loss", given)
    assert (type(value), value) == (float, 0.5)


@pytest.mark.parametrize(
    "given", ["0.5", None, {}, 1j, torch.ones(2), np.ones(2), 10**400], ids=lambda x: str(x)[:9]
)
def test_what_is_no_metric_is_named(given: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"ctx\.report\(loss="):
        metric("ctx.report", "loss", given)


class Told(LocalTracker):
    """Keeps runs as ever, and says what it was told."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.updates: list[RunUpdate] = []
        self.broken = 0
        self.heard = threading.Semaphore(0)

    def update(self, run_id: str, update: RunUpdate) -> RunOrder:
        self.heard.release()
        if self.broken:
            self.broken -= 1
            raise ArithmeticError("a tracker with a mistake")
        self.updates.append(update)
        return super().update(run_id, update)


def told(folder: Path) -> tuple[Told, Reporter]:
    tracker = Told(folder)
    run = tracker.begin(RunRequest(name="x", strategy="ddp", world_size=1))
    return tracker, Reporter(tracker, run.id, lambda _order: None)


def test_news_that_cannot_be_told_do_not_silence_the_run(tmp_path: Path) -> None:
    tracker, reporter = told(tmp_path)
    tracker.broken = 1
    reporter.start()
    assert tracker.heard.acquire(timeout=5), "a heartbeat comes without news"
    reporter.tell(total_steps=2.5, total_epochs=4)
    assert tracker.heard.acquire(timeout=5), "a tracker's mistake ends no reporter"
    tracker.broken = 1
    reporter.tell(state=RunState.FINISHED, total_steps="many")
    reporter.finish()
    assert not reporter.is_alive()
    assert 4 in [update.total_epochs for update in tracker.updates]
    assert tracker.updates[-1].state is RunState.FINISHED


def test_a_reporter_that_never_started_still_tells_the_end(tmp_path: Path) -> None:
    tracker, reporter = told(tmp_path)
    reporter.tell(state=RunState.FAILED)
    reporter.finish()
    assert [update.state for update in tracker.updates] == [RunState.FAILED]


def odd_numbers(ctx: Any) -> None:
    ctx.progress(total_steps=np.float64(4.0), total_epochs=2.0)
    ctx.report(step=np.int64(3), epoch=torch.tensor(1), loss=np.float32(0.5))


def no_number(ctx: Any, **wrong: Any) -> None:
    ctx.report(**wrong)


def no_total(ctx: Any) -> None:
    ctx.progress(total_steps=10 / 4)


def test_scalars_of_other_libraries_reach_the_run(start: Train) -> None:
    run = start(odd_numbers, workers=1).wait(60)
    view = run.view()
    assert (view.step, view.epoch, view.total_steps, view.total_epochs) == (3, 1, 4, 2)
    assert view.metrics == {"loss": 0.5}


def test_a_wrong_number_fails_at_the_users_line(start: Train) -> None:
    from aios_lab.training import CannotTrain, TrainingFailed

    with pytest.raises(
        TrainingFailed, match=r"ctx\.report\(epoch=0\.5\): epoch must be a whole number"
    ) as seen:
        start(no_number, workers=1, epoch=0.5).wait(60)
    assert "ctx.report(**wrong)" in seen.value.traceback
    with pytest.raises(TrainingFailed, match=r"ctx\.progress\(total_steps=2\.5\)"):
        start(no_total, workers=1).wait(60)
    with pytest.raises(CannotTrain, match=r"train\(total_steps=2\.5\)"):
        start(no_total, total_steps=2.5)
