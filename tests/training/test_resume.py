"""Runs that go on from another run's checkpoint, on any number of ranks, to the same result."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from aios_lab.training import CannotTrain, LocalTracker, TrainingFailed, train
from aios_lab.training.saving import checkpoints
from training import functions
from training.helpers import Train


def broken_off(start: Train, at: int, **options: Any) -> str:
    """A run that fails after step ``at``; its id."""
    run = start(functions.regression, fails_at=at, **options)
    with pytest.raises(TrainingFailed, match="broken off"):
        run.wait(90)
    return run.id


@pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_another_world_goes_on_to_the_same_weights(
    start: Train, tmp_path: Path, first: int, then: int, rule: str
) -> None:
    whole = start(functions.regression, workers=1, seed=3, rule=rule).result(90)
    begun = broken_off(start, 13, workers=first, seed=3, rule=rule, checkpoint_every=4)
    kept = checkpoints.listed(checkpoints.folder_of(tmp_path / begun))
    assert [checkpoints.verify(place).reported for place in kept] == [11, 7, 3]
    run = start(functions.regression, workers=then, seed=3, rule=rule, resume=begun)
    assert run.result(90) == pytest.approx(whole, abs=1e-5)
    lines = (tmp_path / run.id / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(12, 16))
    assert [json.loads(line)["epoch"] for line in lines] == [2, 2, 2, 2]


@pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2)])
def test_a_sharded_model_goes_on_in_another_world(start: Train, first: int, then: int) -> None:
    options: dict[str, Any] = {"seed": 3, "rule": "adam", "strategy": "fsdp"}
    whole = start(functions.regression, workers=1, seed=3, rule="adam").result(90)
    begun = broken_off(start, 13, workers=first, checkpoint_every=4, **options)
    run = start(functions.regression, workers=then, resume=begun, **options)
    assert run.result(90) == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_one_checkpoint_is_read_by_worlds_of_any_size(
    start: Train, four: Client, tmp_path: Path, strategy: str
) -> None:
    """Written by three ranks and by one, read by one to four; batches of 15 divide by 1 and 3 alone."""
    whole = start(functions.regression, workers=1, seed=3, rule="adam").result(90)
    options: dict[str, Any] = {"seed": 3, "rule": "adam", "strategy": strategy}
    begin = partial(train, client=four, tracker=LocalTracker(tmp_path))
    for first, others in ((3, (1, 2, 4)), (1, (4,))):
        begun = broken_off(begin, 13, workers=first, checkpoint_every=4, **options)
        for then in others:
            found = begin(functions.regression, workers=then, resume=begun, **options).result(90)
            assert found == pytest.approx(whole, abs=1e-4), (first, then)


def emptied(place: Path) -> None:
    next(place.glob("*.distcp")).write_bytes(b"nothing")


def test_a_damaged_checkpoint_gives_way_to_the_one_before_and_that_is_said(
    start: Train, tmp_path: Path
) -> None:
    begun = broken_off(start, 13, workers=1, seed=3, checkpoint_every=4)
    emptied(checkpoints.listed(checkpoints.folder_of(tmp_path / begun))[0])
    run = start(functions.regression, workers=1, seed=3, resume=begun)
    run.wait(90)
    steps = [step for step, _ in run.metrics()["loss"]]
    assert steps == list(range(8, 16))
    assert "The checkpoint at step 11 is damaged" in run.logs(0)


def test_without_one_good_checkpoint_nothing_begins(start: Train, tmp_path: Path) -> None:
    begun = broken_off(start, 13, workers=1, checkpoint_every=4)
    folder = checkpoints.folder_of(tmp_path / begun)
    for place in checkpoints.listed(folder):
        emptied(place)
    with pytest.raises(CannotTrain, match="is damaged"):
        start(functions.regression, workers=1, resume=begun)
    shutil.rmtree(folder)
    with pytest.raises(CannotTrain, match="has no checkpoint"):
        start(functions.regression, workers=1, resume=begun)
    assert len(list(tmp_path.glob("r-*"))) == 1


def test_code_that_keeps_its_own_state_gets_it_back(start: Train) -> None:
    def fn(ctx: Any, fail: bool) -> list[int]:
        state = ctx.resume() or {"done": [], "next": 0}
        for number in range(state["next"], 6):
            state["done"].append(number)
            ctx.checkpoint(done=state["done"], next=number + 1)
            if fail and number == 3:
                raise RuntimeError("broken off")
        return list(state["done"])

    run = start(fn, fail=True)
    with pytest.raises(TrainingFailed, match="broken off"):
        run.wait(90)
    assert start(fn, fail=False, resume=run.id).result(90) == list(range(6))


@pytest.mark.parametrize(("first", "then"), [(1, 2), (2, 1)])
def test_code_that_counts_its_steps_takes_so_many_in_all_worlds(start: Train, first: int, then: int) -> None:
    def fn(ctx: Any, fails_at: int = 0) -> tuple[int, int, int]:
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        def endless(batches: Any) -> Any:
            while True:
                yield from batches

        model: Any = torch.nn.Linear(1, 1)
        loader: Any = DataLoader(TensorDataset(torch.ones(16, 1)), batch_size=4)
        optimizer: Any = torch.optim.SGD(model.parameters(), lr=0.1)
        model, optimizer, loader = ctx.prepare(model, optimizer, loader)
        begun, batches = ctx.step, endless(loader)
        while ctx.step < 14:
            (x,) = next(batches)
            model(x).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            if ctx.step == fails_at:
                ctx.finish()
                raise RuntimeError("broken off")
        return begun, ctx._pace.stepped, loader.epoch

    run = start(fn, workers=first, checkpoint_every=4, fails_at=11)
    with pytest.raises(TrainingFailed, match="broken off"):
        run.wait(90)
    again = start(fn, workers=then, resume=run.id)
    assert again.result(90) == (7, 7, 3)
    assert "This run goes on after 7 optimizer steps" in again.logs(0)
    assert "ctx.step" in again.logs(0)


def test_a_model_of_another_shape_is_refused_in_words(start: Train) -> None:
    begun = broken_off(start, 13, workers=1, checkpoint_every=4)

    def fn(ctx: Any) -> None:
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        model = torch.nn.Linear(7, 1)
        loader: Any = DataLoader(
            TensorDataset(torch.ones(64, 7)), batch_size=15, shuffle=True
        )  # in its order
        ctx.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1), loader)

    with pytest.raises(TrainingFailed, match="does not fit what"):
        start(fn, workers=1, resume=begun).wait(90)


def test_code_that_stumbles_over_epochs_that_are_done_is_told_how_to_skip_them(start: Train) -> None:
    begun = broken_off(start, 13, workers=1, checkpoint_every=4)
    run = start(functions.regression, workers=1, resume=begun, needs_every_epoch=True)
    with pytest.raises(TrainingFailed, match=r"for epoch in ctx.epochs\(n\)"):
        run.wait(90)


@pytest.mark.parametrize("rule", ["linear", "sqrt", "adascale"])
def test_learning_rates_follow_a_batch_that_follows_the_ranks(start: Train, rule: str) -> None:
    """The batch of 16 was for the two ranks that it began with; one has half of it."""
    begun = start(functions.rated, workers=2, batch_growth=rule, checkpoint_every=1, fails_at=3)
    with pytest.raises(TrainingFailed, match="broken off"):
        begun.wait(90)
    assert [value for _, value in begun.metrics()["rate"]] == [0.1] * 3
    run = start(functions.rated, workers=1, batch_growth=rule, resume=begun.id)
    rates, sizes, stepped = run.result(90)
    assert sizes == [8] * ((96 - 2 * 16) // 8)
    assert stepped == len(sizes)  # not what torch steps to restore an optimizer
    if rule == "adascale":
        assert all(0.05 < rate < 0.1 for rate in rates), rates
    else:
        assert rates == pytest.approx([0.1 * {"linear": 0.5, "sqrt": 0.5**0.5}[rule]] * len(sizes))


def test_the_order_of_samples_is_the_checkpoints_or_the_run_says_why_not(start: Train) -> None:
    whole = start(functions.regression, workers=1, seed=3).result(90)
    begun = broken_off(start, 13, workers=1, seed=3, checkpoint_every=4)
    assert start(functions.regression, workers=1, resume=begun).result(90) == pytest.approx(whole, abs=1e-5)
    with pytest.raises(TrainingFailed, match=r"had the seed 3, this one has the seed 4.*after 15 samples"):
        start(functions.regression, workers=1, resume=begun, seed=4).wait(90)
    run = start(functions.regression, workers=1, resume=begun, batch=5)
    run.wait(90)
    assert "had batches of 15, this one has batches of 5" in run.logs()
    assert len(run.metrics()["loss"]) == 10  # the 49 samples that are left
