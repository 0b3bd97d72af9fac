"""What a run's metrics amount to."""

from __future__ import annotations

import math

import pytest

from aios_lab.training.progress import SERIES_LIMIT, Progress, Series
from aios_lab.wire import Resumed, Run, RunMetric, RunState


def progress(**fields: object) -> Progress:
    run = Run(
        id="r-1",
        name="digits",
        slice_id="s-1",
        user="ada",
        mine=True,
        state=RunState.RUNNING,
        strategy="ddp",
        world_size=2,
        created=0,
    )
    return Progress(run.model_copy(update=fields))


def add(of: Progress, *steps: int, per_second: float, epoch: int | None = None, start: float = 0) -> None:
    for step in steps:
        of.add(RunMetric(step=step, time=start + step / per_second, values={"loss": 1.0}, epoch=epoch))


@pytest.mark.parametrize("per_second", [0.5, 10, 2000])
def test_the_throughput_is_that_of_the_last_seconds(per_second: float) -> None:
    of = progress(total_steps=100_000)
    add(of, *range(10_000), per_second=per_second * 5)
    add(of, *range(10_000, 10_000 + int(per_second * 12) + 8), per_second=per_second, start=1e6)
    assert of.run.throughput == pytest.approx(per_second, rel=0.02)
    assert of.run.eta == pytest.approx((100_000 - of.run.step) / per_second, rel=0.02)


def test_without_a_number_of_steps_the_epochs_tell_what_is_left() -> None:
    of = progress(total_epochs=4, started=0.0)
    add(of, *range(11), per_second=1, epoch=0)
    assert of.run.eta is None
    add(of, *range(11, 21), per_second=1, epoch=1)
    assert of.run.eta == pytest.approx(60)


def test_the_epochs_of_the_run_that_was_resumed_took_none_of_this_ones_time() -> None:
    of = progress(total_epochs=90, started=1000.0, resumed=Resumed(run_id="r-0", step=750))
    add(of, 751, per_second=1, epoch=75, start=1000.0)
    assert of.run.eta is None
    add(of, 760, 770, per_second=1, epoch=77, start=1000.0)
    assert of.run.eta == pytest.approx((90 - 77) * 19 / 2)


def test_a_return_to_a_checkpoint_starts_the_throughput_anew() -> None:
    of = progress()
    add(of, *range(100), per_second=10)
    add(of, *range(50, 60), per_second=2, start=10)
    assert of.run.throughput == pytest.approx(2)
    assert of.run.step == 99


def test_a_value_that_is_no_number_is_told_and_the_one_before_it_not_shown() -> None:
    of = progress()
    add(of, 1, per_second=1)
    odd = of.add(RunMetric(step=2, time=2, values={"loss": math.inf, "accuracy": 0.5}))
    assert odd == ["step 2: loss is inf"]
    assert of.run.metrics == {"accuracy": 0.5}
    assert [point.step for point in of.points()["loss"]] == [1]


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 12_345])
def test_a_series_keeps_first_and_last_in_500_points(count: int) -> None:
    series = Series()
    for step in range(count):
        series.put(step, step, step)
    steps = [point.step for point in series.points()]
    assert len(steps) <= SERIES_LIMIT == 500
    assert steps == sorted(set(steps))
    assert not count or (steps[0], steps[-1]) == (0, count - 1)
    assert count < 500 or len(steps) >= 250
