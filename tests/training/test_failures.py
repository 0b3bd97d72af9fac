"""Runs that go wrong or are stopped: the right word about it, within bounds, and nothing left."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from aios_lab.training import LocalTracker, Run, TrainingFailed, train
from aios_lab.training.spec import STOP_GRACE
from aios_lab.wire import RunState
from training import functions
from training.helpers import Train, ranks_left


def until(run: Run, text: str, times: int = 2) -> None:
    """Wait until the run's output has ``text``, from both ranks."""
    changing(run, lambda: run.logs().count(text) >= times)


def changing(run: Run, holds: Callable[[], object]) -> None:
    """Wait for a change of the run after which this holds."""
    changed = threading.Event()
    forget = run.live.on_change(changed.set)
    try:
        while not holds():
            assert not run.done
            assert changed.wait(60)
            changed.clear()
    finally:
        forget()


def stopped_in(run: Run) -> float:
    begin = time.monotonic()
    run.cancel()
    run.wait(20)
    assert run.state is RunState.STOPPED
    return time.monotonic() - begin


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("raise", "ValueError: rank one is unhappy"),
        ("exit", r"sys.exit\(3\)"),
        ("hard", "exit code 4"),
        ("crash", "SIGSEGV"),
    ],
)
def test_the_rank_that_failed_first_is_the_error(start: Train, how: str, says: str) -> None:
    run = start(functions.fails_on_one, how=how)
    with pytest.raises(TrainingFailed, match=says) as caught:
        run.wait(60)
    assert caught.value.rank == 1
    assert [f.rank for f in caught.value.followed] == [0]
    assert run.state is RunState.FAILED
    assert "Rank 1 on 127.0.0.1 failed" in run.view().error
    if how == "raise":
        assert 'raise ValueError("rank one is unhappy")' in caught.value.traceback
        assert "aios_lab" not in caught.value.traceback


def test_a_stop_gives_the_partial_result(start: Train) -> None:
    run = start(functions.until_stopped)
    changing(run, run.metrics)
    stopped_in(run)
    assert run.result() >= 1


@pytest.mark.parametrize("by_itself", [True, False], ids=["as it ends", "by its function"])
def test_a_stop_waits_for_the_model_that_is_being_saved(start: Train, by_itself: bool) -> None:
    def fn(ctx: Any) -> str:
        import torch

        from aios_lab.models import bundle

        save = bundle.save

        def slowly(*args: Any, **options: Any) -> Any:
            print("saving", flush=True)
            time.sleep(2 * STOP_GRACE)
            return save(*args, **options)

        bundle.save = slowly
        model = ctx.prepare(torch.nn.Linear(2, 2))
        if not by_itself:
            ctx.save_model(model)
            return "done"
        print("saving", flush=True)
        while True:
            ctx.report(value=1)
            time.sleep(0.01)

    run = start(fn)
    until(run, "saving", times=1)
    run.cancel()
    run.wait(30)
    assert run.state is RunState.STOPPED
    assert run.view().has_model
    assert run.result() == (None if by_itself else "done")


def test_a_rank_whose_peer_stopped_first_still_keeps_the_model(start: Train) -> None:
    def waits_for_its_peer(ctx: Any) -> None:
        import torch
        import torch.distributed as dist

        ctx.prepare(torch.nn.Linear(2, 2))
        print("in step", flush=True)
        while ctx.rank == 1:  # hears of the stop here, and leaves rank 0 alone in its collective
            ctx.report(value=1)
            time.sleep(0.01)
        dist.all_reduce(torch.ones(1))

    run = start(waits_for_its_peer)
    until(run, "in step")
    stopped_in(run)
    assert run.view().has_model, run.logs()


def test_a_kill_does_not_wait_for_the_model_and_says_so(start: Train) -> None:
    def fn(ctx: Any) -> None:
        import torch

        from aios_lab.models import bundle

        def for_ever(*args: Any, **options: Any) -> None:
            print("saving", flush=True)
            time.sleep(3600)

        bundle.save = for_ever
        ctx.save_model(torch.nn.Linear(2, 2))

    run = start(fn)
    until(run, "saving", times=1)
    run.cancel()
    stopped_in(run)
    assert "its model was not saved" in run.logs()
    assert not run.view().has_model


def test_plain_code_is_interrupted(start: Train) -> None:
    def fn() -> str:
        print("sleeping", flush=True)
        try:
            time.sleep(3600)
        except KeyboardInterrupt:
            return "partial"
        return "whole"

    run = start(fn)
    until(run, "sleeping")
    stopped_in(run)
    assert run.result() == "partial"


@pytest.mark.parametrize(("fn", "sign"), [(functions.deaf, "deaf"), (functions.in_a_collective, "waiting")])
def test_ranks_that_do_not_listen_are_killed(start: Train, fn: object, sign: str) -> None:
    run = start(fn)
    until(run, sign)
    stopped_in(run)
    assert ranks_left(0.5) == []


def test_a_second_cancel_kills_and_the_cluster_stays_whole(start: Train) -> None:
    run = start(functions.deaf)
    until(run, "deaf")
    run.cancel()
    stopped_in(run)
    assert start(functions.plain_ddp).result(60) == 3.0


def test_an_interrupt_of_wait_stops_the_run(start: Train) -> None:
    run = start(functions.until_stopped)
    changing(run, run.metrics)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert run.wait(60) is run
    assert run.state is RunState.STOPPED
    assert run.result() >= 1


def test_what_a_rank_leaves_behind_ends_with_it(start: Train) -> None:
    assert start(functions.with_children).result(60) == 7


def test_a_client_that_closes_fails_the_run_and_ends_its_ranks(cluster: LocalCluster, tmp_path: Path) -> None:
    with Client(cluster) as client:
        run = train(functions.until_stopped, client=client, tracker=LocalTracker(tmp_path))
        changing(run, run.metrics)
    with pytest.raises(TrainingFailed, match="connection to the slice's scheduler was lost"):
        run.wait(20)
    assert ranks_left() == []


def test_a_lost_worker_fails_the_run_and_the_next_one_runs(start: Train, client: Client) -> None:
    run = start(functions.until_stopped)
    changing(run, run.metrics)
    os.kill(min(client.run(os.getpid).values()), signal.SIGKILL)
    with pytest.raises(TrainingFailed, match=r"worker .* was lost"):
        run.wait(20)
    assert ranks_left() == []
    client.wait_for_workers(2, timeout=60)
    assert start(functions.plain_ddp).result(90) == 3.0
