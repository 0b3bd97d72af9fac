"""Runs that go wrong or are stopped: the right word about it, within bounds, and nothing left."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from aios_lab.training import LocalTracker, Run, TrainingFailed, train
from aios_lab.wire import RunState
from training import functions
from training.helpers import Train, ranks_left


def until(run: Run, text: str) -> None:
    """Wait until the run's output has ``text`` for both ranks."""
    seen = 0
    end = time.monotonic() + 60
    while run.logs().count(text) < 2:
        assert time.monotonic() < end
        assert not run.done
        seen = run.live.wait_change(seen, 1)


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
    seen = 0
    while not run.metrics():
        seen = run.live.wait_change(seen, 60)
    stopped_in(run)
    assert run.result() >= 1


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
    seen = 0
    while not run.metrics():
        seen = run.live.wait_change(seen, 60)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert run.wait(60) is run
    assert run.state is RunState.STOPPED
    assert run.result() >= 1


def test_what_a_rank_leaves_behind_ends_with_it(start: Train) -> None:
    assert start(functions.with_children).result(60) == 7


def test_a_client_that_closes_fails_the_run_and_ends_its_ranks(cluster: LocalCluster, tmp_path: Path) -> None:
    with Client(cluster) as client:
        run = train(functions.until_stopped, client=client, tracker=LocalTracker(tmp_path))
        seen = 0
        while not run.metrics():
            seen = run.live.wait_change(seen, 60)
    with pytest.raises(TrainingFailed, match="connection to the slice's scheduler was lost"):
        run.wait(20)
    assert ranks_left() == []


def test_a_lost_worker_fails_the_run_and_the_next_one_runs(start: Train, client: Client) -> None:
    run = start(functions.until_stopped)
    seen = 0
    while not run.metrics():
        seen = run.live.wait_change(seen, 60)
    os.kill(min(client.run(os.getpid).values()), signal.SIGKILL)
    with pytest.raises(TrainingFailed, match=r"worker .* was lost"):
        run.wait(20)
    assert ranks_left() == []
    client.wait_for_workers(2, timeout=60)
    assert start(functions.plain_ddp).result(90) == 3.0
