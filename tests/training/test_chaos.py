"""A run under random kills and resizes ends as if nothing had happened, and leaves nothing behind.

With AIOS_SOAK set, as by `make soak`, it goes on for five minutes.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from aios_lab.training import LocalTracker, Run, train
from aios_lab.training.spec import SLICE
from aios_lab.wire import RunState
from training import functions
from training.helpers import counts_once, ranks_left

EPOCHS, SAMPLES = 40, 96  # 480 steps of eight samples
MOST = 3
PATIENCE = 120.0  # seconds for the run to train again after a blow, on a busy machine


@pytest.fixture
def arena() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
        yield cluster


class Blows:
    """What may happen to a run; each returns once it is done, not once the run has got over it."""

    def __init__(self, cluster: Any, client: Any, run: Run, dice: random.Random) -> None:
        self._cluster, self._client, self._run, self._dice = cluster, client, run, dice
        self.resized = self.killed = 0

    def strike(self) -> None:
        self._dice.choice((self.kill_worker, self.kill_rank, self.shrink, self.grow))()

    def workers(self) -> list[str]:
        return sorted(self._client.scheduler_info(n_workers=-1)["workers"])

    def kill_worker(self) -> None:
        """Its nanny starts another in its place."""
        pids = self._client.run(os.getpid, on_error="ignore")
        if pids:
            os.kill(self._dice.choice(sorted(pids.values())), signal.SIGKILL)
            self.killed += 1

    def kill_rank(self) -> None:
        pids = [rank.pid for rank in self._run.view().ranks if rank.state == "running" and rank.pid]
        with suppress(ProcessLookupError):
            os.kill(self._dice.choice(pids), signal.SIGKILL)
            self.killed += 1

    def shrink(self) -> None:
        """As a slice does: those that leave are named, and gone a moment later."""
        workers = self.workers()
        if len(workers) < 2:
            return
        leaving = self._dice.choice(workers)
        self._client.log_event(SLICE, {"event": "resize", "kind": "shrinking", "leaving": [leaving]})
        time.sleep(self._dice.uniform(0.0, 2.0))  # the grace, which may be too short
        self._client.retire_workers([leaving], close_workers=True)
        self.resized += 1

    def grow(self) -> None:
        if len(self.workers()) < MOST:
            self._cluster.scale(len(self._cluster.workers) + 1)
            self.resized += 1


def begun(client: Client, folder: Path, **options: Any) -> tuple[Run, Path]:
    seen = folder / "seen"
    seen.mkdir(parents=True)
    run = train(
        functions.counted,
        client=client,
        tracker=LocalTracker(folder / "runs"),
        seed=3,
        epochs=EPOCHS,
        samples=SAMPLES,
        seen=str(seen),
        **options,
    )
    return run, seen


def trains(run: Run, more: int) -> None:
    """Wait until it has done some steps more, or is done."""
    changed = threading.Event()
    forget = run.live.on_change(changed.set)
    goal, deadline = run.view().step + more, time.monotonic() + PATIENCE
    try:
        while not run.done and not (run.view().state is RunState.RUNNING and run.view().step >= goal):
            assert time.monotonic() < deadline, run.view()
            changed.wait(1.0)
            changed.clear()
    finally:
        forget()


def curve(run: Run) -> dict[int, float]:
    """The loss over all samples before each step, as it counts: the last one reported for it."""
    return dict(run.metrics()["loss"])


def same(run: Run, seen: Path, alone: Run) -> None:
    """It went along the loss curve of a run that nothing happened to, each sample counted once an epoch."""
    assert counts_once(seen, EPOCHS, SAMPLES)
    assert curve(run) == pytest.approx(curve(alone), abs=1e-3)
    assert run.result() == pytest.approx(alone.result(), abs=1e-3)


def test_a_run_resized_five_times_and_killed_twice_ends_on_the_same_curve(
    arena: LocalCluster, tmp_path: Path
) -> None:
    with Client(arena) as client:
        alone, _ = begun(client, tmp_path / "alone", workers=1, pause=0.0)
        alone.wait(120)
        run, seen = begun(client, tmp_path / "elastic", checkpoint_every=5, pause=0.3)
        blows = Blows(arena, client, run, random.Random(5))
        acts: list[Callable[[], None]] = [
            blows.shrink,
            blows.grow,
            blows.kill_rank,
            blows.grow,
            blows.shrink,
            blows.kill_worker,
            blows.grow,
        ]
        trains(run, 3)
        for act in acts:
            attempt = run.view().attempt
            act()
            deadline = time.monotonic() + PATIENCE
            while run.view().attempt == attempt and not run.done:
                assert time.monotonic() < deadline, run.view()
                time.sleep(0.05)
            trains(run, 3)
        assert not run.done
        (seen.parent / "fast").touch()
        run.wait(180)
        same(run, seen, alone)
        view = run.view()
        assert blows.resized == 5
        assert blows.killed == 2
        assert len(view.resizes) >= 7
        assert curve(run)[EPOCHS * SAMPLES // 8] < 0.01 * curve(run)[1]
    assert ranks_left() == []


@pytest.mark.soak
def test_random_kills_and_resizes(arena: LocalCluster, tmp_path: Path) -> None:
    seconds = 300.0 if os.environ.get("AIOS_SOAK") else 20.0
    dice = random.Random(int(seconds))
    with Client(arena) as client:
        alone, _ = begun(client, tmp_path / "alone", workers=1, pause=0.0)
        alone.wait(120)
        run, seen = begun(client, tmp_path / "chaos", checkpoint_every=3, pause=seconds / 60)
        blows = Blows(arena, client, run, dice)
        end = time.monotonic() + seconds
        trains(run, 4)  # so that a checkpoint stands
        while time.monotonic() < end and not run.done:
            blows.strike()
            if not blows.workers():
                blows.grow()
            trains(run, 4)
        (seen.parent / "fast").touch()
        run.wait(300)
        same(run, seen, alone)
        assert blows.resized + blows.killed
    assert ranks_left() == []
