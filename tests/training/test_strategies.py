"""Ranks learn together what one process learns alone, however they share the model and compute."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client

from aios_lab.training import CannotTrain, LocalTracker, TrainingFailed, train
from aios_lab.training.strategies.base import StrategyOptions
from aios_lab.wire import RunState
from training import learners
from training.helpers import Train, ranks_left
from training.learners import STEPS

TIGHT = 2e-6  # float32: batches are summed up in another order
HALF = {"bf16": 0.01, "fp16": 0.001}
AFTER = 94  # steps after the first ones: twelve epochs in all


@pytest.fixture
def begin(four: Client, tmp_path: Path) -> Iterator[Train]:
    yield partial(train, client=four, tracker=LocalTracker(tmp_path))
    assert ranks_left() == []


def by_itself(after: int) -> dict[str, Any]:
    """The reference: this process, plain PyTorch, no context of ours."""
    plain = SimpleNamespace(prepare=learners.plainly, report=lambda **_: None, unwrap=lambda m: m)
    return learners.classifier(plain, after)


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    found = by_itself(0)
    assert found["losses"][-1] < 0.3 * found["losses"][0]
    return found


@pytest.fixture(scope="module")
def to_the_end(alone: dict[str, Any]) -> dict[str, Any]:
    found = by_itself(AFTER)
    assert found["losses"] == alone["losses"]
    assert found["accuracy"] > alone["accuracy"]
    return found


def close(found: dict[str, Any], expected: dict[str, Any], tolerance: float) -> None:
    assert len(found["losses"]) == STEPS
    assert found["losses"] == pytest.approx(expected["losses"], abs=tolerance)
    assert abs(found["accuracy"] - expected["accuracy"]) <= 0.01
    assert found["type"] == "Net"


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_any_number_of_ranks_learns_the_same(
    begin: Train, to_the_end: dict[str, Any], strategy: str, workers: int
) -> None:
    """Batches of 22 divide by 1 and 2 alone, and the last one of an epoch has 11."""
    found = begin(learners.classifier, strategy=strategy, workers=workers, after=AFTER).result(240)
    close(found, to_the_end, TIGHT)
    assert found["weights"] == pytest.approx(to_the_end["weights"], abs=20 * TIGHT)


@pytest.mark.parametrize(
    "how",
    [
        {"precision": "bf16"},
        {"precision": "bf16", "strategy": "fsdp"},
        {"precision": "fp16"},
        {"precision": "fp16", "strategy": "fsdp"},
        {"gradients": "bf16"},
        {"gradients": "fp16", "precision": "bf16"},
        {"checkpoint_activations": True},
        {"checkpoint_activations": True, "strategy": "fsdp", "precision": "bf16"},
        {"cpu_offload": True, "strategy": "fsdp"},
        {"accumulate": 2},
        {"accumulate": 3, "strategy": "fsdp"},
        {"accumulate": 2, "precision": "fp16"},
    ],
    ids=lambda how: "-".join(f"{key}={value}" for key, value in how.items()),
)
def test_options_keep_the_result(begin: Train, alone: dict[str, Any], how: dict[str, Any]) -> None:
    found = begin(learners.classifier, workers=2, **how).result(240)
    half = [HALF[how[key]] for key in ("precision", "gradients") if key in how]
    close(found, alone, max([*half, TIGHT]))
    if half:  # it was computed in fewer bits indeed
        assert found["losses"] != pytest.approx(alone["losses"], abs=TIGHT)


@pytest.mark.skipif("AIOS_SOAK" not in os.environ, reason="compiling takes over a minute")
@pytest.mark.soak
def test_a_compiled_model_learns_the_same(begin: Train, alone: dict[str, Any]) -> None:
    found = begin(learners.classifier, workers=2, compile=True).result(600)
    close(found, alone, TIGHT)


def test_a_whole_model_comes_out_of_sharded_ones(begin: Train) -> None:
    def fn(ctx: Any) -> Any:
        import torch

        torch.manual_seed(ctx.rank)  # the model is rank 0's
        model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 2))
        prepared = ctx.prepare(model)
        parts = sum(p.to_local().numel() for p in prepared.parameters())
        ctx.save_model(prepared, example=torch.randn(2, 3))
        whole = sum(p.numel() for p in ctx.unwrap(prepared).parameters())
        print("parts", parts, "of", whole)
        return prepared if ctx.rank == 0 else None

    import torch

    run = begin(fn, strategy="fsdp", workers=2)
    model = run.result(240)
    torch.manual_seed(0)
    first = torch.nn.Linear(3, 5)
    assert torch.equal(model[0].weight, first.weight)
    assert "parts 24 of 42" in run.logs(0), run.logs()
    assert run.view().has_model


def test_what_only_rank_0_asks_of_a_sharded_model_is_told(
    begin: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fn(ctx: Any) -> None:
        from datetime import timedelta

        import torch

        from aios_lab.training.strategies import meeting

        meeting.PATIENCE = timedelta(seconds=1)
        model = ctx.prepare(torch.nn.Linear(2, 2))
        if ctx.rank == 0:
            ctx.save_model(model)
        model(torch.ones(1, 2))

    with pytest.raises(TrainingFailed, match="a call that all 2 ranks make together: 1 did not"):
        begin(fn, strategy="fsdp", workers=2).wait(120)


def test_losses_that_overflow_in_half_precision_cost_a_step_and_no_more(begin: Train) -> None:
    def fn(ctx: Any) -> tuple[float, float, int]:
        import torch

        model = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.ones_(model.weight)
        optimizer: Any = torch.optim.SGD(model.parameters(), lr=2.0**-10)
        model, optimizer = ctx.prepare(model, optimizer)
        seen, taken = [], 0
        for _ in range(12):
            before = float(ctx.unwrap(model).weight)
            optimizer.zero_grad()
            (model(torch.ones(1, 1)) * 2.0**10).sum().backward()
            seen.append(float(ctx.unwrap(model).weight.grad))
            optimizer.step()
            taken += float(ctx.unwrap(model).weight) != before
        return seen[0], seen[-1], taken

    first, last, taken = begin(fn, precision="fp16", workers=2).result(120)
    assert first in (float("inf"), float("nan")) or first != last
    assert last == 2.0**10  # what a function sees is not scaled
    assert 0 < taken < 12


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_penalties_on_parameters_count_in_full(begin: Train, precision: str) -> None:
    def fn(ctx: Any) -> float:
        import torch

        model = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.ones_(model.weight)
        optimizer: Any = torch.optim.SGD(model.parameters(), lr=1.0)
        model, optimizer = ctx.prepare(model, optimizer)
        loss = model(torch.ones(1, 1)).sum() + 0.5 * sum(p.square().sum() for p in model.parameters())
        loss.backward()
        return float(ctx.unwrap(model).weight.grad)

    assert begin(fn, precision=precision, workers=2).result(120) == 2.0


def test_an_optimizer_that_was_not_prepared_is_refused_in_fp16(begin: Train) -> None:
    def fn(ctx: Any) -> None:
        import torch

        ctx.prepare(torch.nn.Linear(1, 1))
        other = torch.nn.Linear(1, 1)
        optimizer = torch.optim.SGD(other.parameters(), lr=1.0)
        other(torch.ones(1, 1)).sum().backward()
        optimizer.step()

    with pytest.raises(TrainingFailed, match="prepare their model too"):
        begin(fn, precision="fp16", workers=1).wait(120)


def fn(ctx: Any) -> None: ...


def bare() -> None: ...


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ({"strategy": "fdsp"}, "no strategy 'fdsp'. Did you mean 'fsdp'. Use one of: ddp, fsdp"),
        ({"precision": "fp8"}, "no precision 'fp8'.* Use one of: fp32, bf16, fp16"),
        ({"gradients": "int8"}, "no gradients 'int8'"),
        ({"accumulate": 0}, "accumulate=0 is no number of pieces"),
        ({"accumulate": True}, "accumulate=True is no number of pieces"),
        ({"compile": "yes"}, "compile='yes' is neither True nor False"),
        ({"cpu_offload": True}, "goes with strategy='fsdp'"),
        ({"gradients": "bf16", "strategy": "fsdp"}, "goes with strategy='ddp'"),
        ({"fn": bare, "precision": "bf16"}, r"what ctx.prepare does, and bare\(\) has no ctx"),
        ({"fn": None, "script": "print(1)", "strategy": "fsdp"}, "ctx.prepare does, and A script has no ctx"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    begin: Train, tmp_path: Path, what: dict[str, Any], says: str
) -> None:
    with pytest.raises(CannotTrain, match=says):
        begin(**{"fn": fn, **what})
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_was_asked_is_recorded(begin: Train, tmp_path: Path) -> None:
    run = begin(learners.classifier, workers=1, precision="bf16", accumulate=2).wait(120)
    assert run.state is RunState.FINISHED
    record = (tmp_path / run.id / "run.json").read_text()
    assert '"precision"' in record
    assert '"accumulate"' in record
    assert dataclasses.asdict(StrategyOptions())["precision"] == "fp32"


def test_a_stop_keeps_the_whole_of_a_sharded_model(begin: Train) -> None:
    def fn(ctx: Any) -> None:
        import torch

        model = torch.nn.Linear(2, 2)
        optimizer: Any = torch.optim.SGD(model.parameters(), lr=0.1)
        model, optimizer = ctx.prepare(model, optimizer)
        while True:
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
            ctx.report(value=1)

    run = begin(fn, strategy="fsdp", workers=2)
    changed = threading.Event()
    run.live.on_change(changed.set)
    while not run.metrics():
        assert changed.wait(120)
        changed.clear()
    run.cancel()
    run.wait(120)
    assert run.state is RunState.STOPPED
    assert run.view().has_model, run.logs()
