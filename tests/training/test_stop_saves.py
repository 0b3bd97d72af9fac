"""A first stop of a run that can go on: all ranks end at one step, which is saved, with what they have."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from aios_lab.training import Run
from aios_lab.training.saving import checkpoints
from aios_lab.training.saving.checkpoints import Manifest
from aios_lab.wire import RunState
from training import functions
from training.helpers import Train, ranks_left, samples_by_step
from training.test_failures import changing, stopped_in, until

SAMPLES = 96


def kept(run: Run) -> list[Manifest]:
    """Its checkpoints, the newest first."""
    return [checkpoints.verify(place) for place in checkpoints.listed(checkpoints.folder_of(run.folder))]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_saves_the_step_that_the_partial_result_is_of(
    start: Train, strategy: str, workers: int
) -> None:
    run = start(functions.until_told, strategy=strategy, workers=workers)
    changing(run, lambda: run.view().step >= 3)
    print(f"gone in {stopped_in(run):.2f} s")
    assert ranks_left(0.5) == []
    weight, steps = run.result()
    assert weight == steps > 3  # a step adds one
    assert [(one.reported, one.world_size) for one in kept(run)] == [(steps, workers)]
    assert [one.step for one in run.view().checkpoints] == [steps]
    assert run.view().step == steps


def test_a_stop_that_the_function_does_not_catch_saves_checkpoint_and_model(start: Train) -> None:
    run = start(functions.until_told, workers=2, catches=False)
    changing(run, lambda: run.view().step >= 3)
    stopped_in(run)
    assert len(kept(run)) == 1
    assert run.view().has_model


def test_a_stop_waits_for_steps_that_take_longer_than_an_interrupt(start: Train) -> None:
    run = start(functions.until_told, workers=2, pause=0.7)
    changing(run, lambda: run.view().step >= 3)
    stopped_in(run)
    assert [one.reported for one in kept(run)] == [run.result()[1]]


def test_a_step_that_does_not_end_is_interrupted_all_the_same(start: Train) -> None:
    run = start(functions.until_told, workers=2, hangs_at=5)
    until(run, "hangs")
    stopped_in(run)
    assert run.result()[1] == 5
    assert kept(run) == []


def test_code_that_keeps_its_own_state_is_stopped_where_it_keeps_it(start: Train) -> None:
    def fn(ctx: Any) -> int:
        from aios_lab.training import Stopped

        number = 0
        try:
            while True:
                number += 1
                ctx.checkpoint(number=number)
                ctx.report(value=number)
                time.sleep(0.02)
        except Stopped:
            return number

    run = start(fn, workers=2)
    changing(run, lambda: run.view().step >= 3)
    stopped_in(run)
    last = run.result()

    def again(ctx: Any) -> int:
        return int(ctx.resume()["number"])

    assert start(again, workers=1, resume=run.id).result(60) == last


def test_a_second_stop_does_not_wait_for_the_checkpoint(start: Train) -> None:
    run = start(functions.until_told, workers=2, never_saves=True)
    changing(run, lambda: run.view().step >= 3)
    run.cancel()
    until(run, "saving", times=1)
    stopped_in(run)
    assert ranks_left(0.5) == []
    assert kept(run) == []


@pytest.mark.parametrize("then", [1, 2])
def test_what_was_stopped_goes_on_with_its_data_and_takes_the_rest(
    start: Train, tmp_path: Path, then: int
) -> None:
    data = tuple(part.numpy() for part in functions.problem(SAMPLES))
    folders = [tmp_path / name / "seen" for name in ("whole", "first", "second")]
    for folder in folders:
        folder.mkdir(parents=True)
    whole, first, second = map(str, folders)
    options: dict[str, Any] = {"samples": SAMPLES, "given": True, "data": data}
    expected = start(functions.counted, workers=1, seed=3, seen=whole, pause=0.0, **options).result(90)
    run = start(functions.counted, workers=2, seed=3, seen=first, pause=0.2, **options)
    changing(run, lambda: run.view().step >= 15)
    stopped_in(run)
    again = start(functions.counted, workers=then, seen=second, pause=0.0, resume=run.id, **options)
    assert again.result(90) == pytest.approx(expected, abs=1e-4)
    taken = [
        Counter((epoch, sample) for epoch, some in samples_by_step(folder).values() for sample in some)
        for folder in folders
    ]
    assert taken[1] + taken[2] == taken[0]


def test_a_sharded_model_is_gathered_however_long_that_takes(start: Train) -> None:
    run = start(functions.until_told, workers=2, strategy="fsdp", slow_to_gather=True)
    changing(run, lambda: run.view().step >= 3)
    stopped_in(run)
    assert run.result()[0] == run.result()[1] > 3
    assert run.state is RunState.STOPPED
