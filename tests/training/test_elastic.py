"""Runs whose workers come, leave and die: they go on to the same result, and say what it cost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import pytest
from distributed import Client, LocalCluster

from aios_lab.training import LocalTracker, Run, TrainingFailed, train
from aios_lab.training.leader import holds
from aios_lab.training.spec import RANKS, SLICE
from aios_lab.wire import RunState
from live import until
from training import functions, pacers
from training.helpers import Train, counts_once, ranks_left
from training.test_failures import changing

EPOCHS, SAMPLES = 3, 96


@pytest.fixture
def elastic() -> Iterator[LocalCluster]:
    """A cluster of its own: its size changes."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
        yield cluster


@pytest.fixture
def own(elastic: LocalCluster) -> Iterator[Client]:
    with Client(elastic) as client:
        yield client


@pytest.fixture
def begin(own: Client, tmp_path: Path) -> Iterator[Train]:
    yield partial(train, client=own, tracker=LocalTracker(tmp_path / "runs"), seed=3)
    assert ranks_left() == []


@pytest.fixture(scope="module")
def expected(client: Client, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """What one rank learns without anything happening."""
    folder = tmp_path_factory.mktemp("alone")
    run = train(
        functions.counted,
        client=client,
        tracker=LocalTracker(folder / "runs"),
        seed=3,
        workers=1,
        epochs=EPOCHS,
        samples=SAMPLES,
        seen=str(folder),
        pause=0.0,
    )
    result: list[float] = run.result(90)
    return result


def world(run: Run, size: int, after: int = -1) -> None:
    """Wait until it trains on ``size`` ranks, in an attempt later than ``after``."""

    def trains() -> bool:
        view = run.view()
        return view.world_size == size and view.attempt > after and view.state is RunState.RUNNING

    changing(run, trains)


def steps(run: Run, more: int) -> None:
    """Wait until it has reported so many steps more."""
    goal = run.view().step + more
    changing(run, lambda: run.view().step >= goal)


def leave(client: Client, count: int) -> None:
    """Workers leave as those of a slice do: it is said first, then they retire."""
    workers = sorted(client.scheduler_info(n_workers=-1)["workers"])[:count]
    client.log_event(SLICE, {"event": "resize", "kind": "shrinking", "leaving": workers})


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_run_shrinks_and_grows_at_a_step_boundary(
    begin: Train, own: Client, elastic: LocalCluster, tmp_path: Path, expected: list[float], strategy: str
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    options: dict[str, Any] = {"epochs": EPOCHS, "samples": SAMPLES, "seen": str(seen), "pause": 1.0}
    run = begin(functions.counted, strategy=strategy, **options)
    steps(run, 3)
    leave(own, 1)
    world(run, 1, after=0)
    elastic.scale(3)
    world(run, 2, after=1)
    (tmp_path / "fast").touch()
    assert run.result(120) == pytest.approx(expected, abs=1e-4)
    assert counts_once(seen, EPOCHS, SAMPLES)
    view = run.view()
    assert [(resize.before, resize.after) for resize in view.resizes][:2] == [(2, 1), (1, 2)]
    assert view.lost.steps == 0
    assert view.resumable
    assert view.checkpoints


def test_ranks_wait_for_rank_0_that_is_long_over_a_large_checkpoint(
    begin: Train, own: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "PAUSE_LAG", 4.0)  # the scheduler is in this process

    def slow(ctx: Any, **options: Any) -> list[float]:
        from aios_lab.training.saving import checkpoints

        digest = checkpoints._digest

        def long(path: Path) -> str:
            time.sleep(3.0)
            return digest(path)

        if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            checkpoints._digest = long
        return functions.counted(ctx, **options)

    seen = tmp_path / "seen"
    seen.mkdir()
    run = begin(slow, epochs=EPOCHS, samples=SAMPLES, seen=str(seen), pause=0.3)
    steps(run, 3)
    leave(own, 1)
    world(run, 1, after=0)
    (tmp_path / "fast").touch()
    run.result(120)
    assert counts_once(seen, EPOCHS, SAMPLES)
    (resize,) = run.view().resizes
    assert (resize.before, resize.after, resize.why) == (2, 1, "Workers leave.")
    assert run.view().lost.steps == 0


@pytest.mark.parametrize("given", [False, True], ids=["its own data", "data that workers computed"])
def test_a_killed_worker_costs_what_was_not_saved(
    begin: Train, own: Client, tmp_path: Path, expected: list[float], given: bool
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    options: dict[str, Any] = {"epochs": EPOCHS, "samples": SAMPLES, "seen": str(seen), "pause": 0.4}
    if given:
        arrays = [part.numpy() for part in functions.problem(SAMPLES)]
        data = tuple(da.from_array(array, chunks=(20, *array.shape[1:])) for array in arrays)
        options |= {"given": True, "data": data}
    run = begin(functions.counted, checkpoint_every=4, **options)
    changing(run, lambda: len(run.view().checkpoints) > 1)
    os.kill(max(own.run(os.getpid).values()), signal.SIGKILL)
    changing(run, lambda: bool(run.view().resizes))
    (tmp_path / "fast").touch()
    assert run.result(120) == pytest.approx(expected, abs=1e-4)
    assert counts_once(seen, EPOCHS, SAMPLES)
    view = run.view()
    assert 0 <= view.lost.steps <= 4 + 2
    assert view.lost.seconds > 0
    assert view.resizes[0].why == "A rank was lost."


@pytest.mark.parametrize(
    ("harm", "says"),
    [("half written", "at step 8 was not written to its end"), ("corrupt", "at step 7 is damaged")],
)
def test_a_crash_that_costs_the_newest_checkpoint_too_goes_on_from_the_one_before(
    start: Train, tmp_path: Path, expected: list[float], harm: str, says: str
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    options: dict[str, Any] = {"epochs": EPOCHS, "samples": SAMPLES, "seen": str(seen), "pause": 0.05}
    run = start(functions.spoils_its_second_checkpoint, seed=3, harm=harm, checkpoint_every=4, **options)
    assert run.result(120) == pytest.approx(expected, abs=1e-4)
    assert counts_once(seen, EPOCHS, SAMPLES)
    assert says in run.logs(0)
    assert [resize.why for resize in run.view().resizes] == ["A rank was lost."]
    assert run.view().attempt == 1


def test_ranks_whose_last_checkpoint_cannot_be_written_go_on_and_change_later(
    begin: Train, elastic: LocalCluster, tmp_path: Path, expected: list[float]
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    run = begin(functions.counted, epochs=EPOCHS, samples=SAMPLES, seen=str(seen), pause=2.0)
    steps(run, 2)
    folder = Path(run.folder) / "checkpoints"
    folder.touch()  # a file in its place
    elastic.scale(3)
    changing(run, lambda: "could not be written" in run.logs())
    steps(run, 2)
    assert run.view().attempt == 0
    folder.unlink()
    world(run, 3, after=0)
    (tmp_path / "fast").touch()
    assert run.result(120) == pytest.approx(expected, abs=1e-4)
    assert counts_once(seen, EPOCHS, SAMPLES)
    assert run.view().lost.steps == 0


def test_a_run_without_workers_waits_and_goes_on_by_itself(
    begin: Train, own: Client, elastic: LocalCluster, tmp_path: Path, expected: list[float]
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    run = begin(functions.counted, epochs=EPOCHS, samples=SAMPLES, seen=str(seen), pause=1.0)
    steps(run, 5)
    leave(own, 2)
    elastic.scale(0)
    changing(run, lambda: run.view().state is RunState.WAITING)
    (tmp_path / "fast").touch()
    elastic.scale(1)
    assert run.result(120) == pytest.approx(expected, abs=1e-4)
    assert counts_once(seen, EPOCHS, SAMPLES)


def test_a_run_that_waits_can_be_stopped(begin: Train, elastic: LocalCluster, tmp_path: Path) -> None:
    run = begin(functions.counted, seen=str(tmp_path), pause=1.0)
    steps(run, 2)
    elastic.scale(0)
    changing(run, lambda: run.view().state is RunState.WAITING)
    run.cancel()
    run.wait(20)
    assert run.state is RunState.STOPPED


def test_what_the_function_raises_is_not_tried_again(start: Train) -> None:
    run = start(functions.regression, fails_at=7, checkpoint_every=2)
    with pytest.raises(TrainingFailed, match="broken off"):
        run.wait(120)
    assert run.view().attempt == 0


def test_a_rank_that_is_killed_again_and_again_is_given_up(start: Train) -> None:
    run = start(functions.dies_at_step, at=3)
    with pytest.raises(TrainingFailed, match="SIGKILL"):
        run.wait(120)
    assert run.view().attempt == 3


def test_large_work_comes_again_to_new_workers_where_the_old_ones_took_it_along(
    begin: Train, own: Client, elastic: LocalCluster, tmp_path: Path, expected: list[float]
) -> None:
    ballast = os.urandom(2 << 20)

    def heavy(ctx: Any, **options: Any) -> list[float]:
        assert len(ballast) == 2 << 20
        return functions.counted(ctx, **options)

    seen = tmp_path / "seen"
    seen.mkdir()
    run = begin(heavy, epochs=EPOCHS, samples=SAMPLES, seen=str(seen), pause=1.0)
    steps(run, 5)
    leave(own, 2)
    elastic.scale(0)
    changing(run, lambda: run.view().state is RunState.WAITING)
    (tmp_path / "fast").touch()
    elastic.scale(1)
    assert run.result(120) == pytest.approx(expected, abs=1e-4)
    assert counts_once(seen, EPOCHS, SAMPLES)
    assert [resize.why for resize in run.view().resizes] == ["Workers were taken away."]


def test_what_an_earlier_world_says_late_is_not_heard(begin: Train, own: Client, tmp_path: Path) -> None:
    def say(kind: str, attempt: int, body: Any) -> None:
        own.log_event(RANKS, {"run": run.id, "attempt": attempt, "rank": 0, "kind": kind, "body": body})

    seen = tmp_path / "seen"
    seen.mkdir()
    run = begin(functions.counted, epochs=EPOCHS, samples=SAMPLES, seen=str(seen), pause=0.5)
    steps(run, 2)
    leave(own, 1)
    world(run, 1, after=0)
    say("metrics", 0, [(10_000, time.time(), None, {"loss": 9.0})])
    say("checkpoint", 0, {"step": 10_000, "time": time.time(), "bytes": 1})
    say("progress", 0, {"total_steps": 10_000})
    say("log", 0, ["from another time"])
    say("log", run.view().attempt, ["from this one"])
    changing(run, lambda: "from this one" in run.logs())
    view = run.view()
    assert "from another time" not in run.logs()
    assert view.step < 1_000
    assert view.total_steps == EPOCHS * SAMPLES // 8
    assert all(one.step < 1_000 for one in view.checkpoints)
    run.kill()
    run.wait(30)


def cut(client: Any) -> None:
    """The connection to the scheduler breaks, and Dask makes another."""
    before = client.scheduler_comm

    async def abort() -> None:
        before.comm.abort()

    client.sync(abort)
    until("it is there again", lambda: client.scheduler_comm not in (None, before), 30)


def test_a_detached_run_is_heard_again_after_the_connection_was_cut(
    begin: Train, own: Client, tmp_path: Path, expected: list[float]
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    run = begin(functions.counted, detach=True, epochs=EPOCHS, samples=SAMPLES, seen=str(seen), pause=1.0)
    steps(run, 2)
    cut(own)
    steps(run, 2)
    cut(own)
    (tmp_path / "fast").touch()
    assert run.result(120) == pytest.approx(expected, abs=1e-4)
    assert [step for step, _ in run.metrics()["loss"]] == list(range(1, EPOCHS * SAMPLES // 8 + 1))


def test_a_run_that_ends_with_its_kernels_connection_says_so(
    begin: Train, own: Client, tmp_path: Path
) -> None:
    run = begin(functions.counted, seen=str(tmp_path), pause=1.0)
    steps(run, 2)
    cut(own)
    with pytest.raises(TrainingFailed, match="connection to the slice's scheduler was lost"):
        run.wait(60)


@pytest.mark.parametrize(
    ("growth", "then"),
    [("", (1, 4, 2, 12, 0.1)), ("sqrt", (1, 4, 1, 24, round(0.1 * 0.5**0.5, 6)))],
    ids=["the batch stays", "the batch goes with the ranks"],
)
def test_batches_and_rates_go_by_the_ranks_that_it_began_with(
    begin: Train, own: Client, growth: str, then: tuple[float, ...]
) -> None:
    run = begin(pacers.paces, batch_growth=growth)
    steps(run, 3)
    leave(own, 1)
    world(run, 1, after=0)
    steps(run, 3)
    run.cancel()
    run.wait(60)
    assert pacers.shown(run) == {(2, 4, 1, 12, 0.1), then}
    again = begin(pacers.paces, workers=1, batch_growth=growth, resume=run.id)
    steps(again, 3)
    again.cancel()
    again.wait(60)
    assert pacers.shown(again) == {then}, "so does a run that resumes it"
