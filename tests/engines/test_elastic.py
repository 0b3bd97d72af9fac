"""Shrinking with grace, fencing, parking and coming back, with real Dask workers."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import psutil
from distributed import Client

from aios_lab.allocation.types import Resources
from engines.running import Running
from live import until

cloudpickle.register_pickle_by_value(sys.modules[__name__])

PATIENT = 100.0  # seconds of grace that no test is to use up


def work_until(flag: str, started: str) -> int:
    """A task that says that it runs, and runs until it is told to end."""
    Path(started).touch()
    while not os.path.exists(flag):
        time.sleep(0.02)
    return os.getpid()


def forever(started: str) -> None:
    Path(started).touch()
    while True:
        time.sleep(0.05)


def addresses(client: Client) -> list[str]:
    return sorted(client.scheduler_info()["workers"])


def resizes(client: Client) -> list[dict[str, Any]]:
    events = [event for _, event in client.get_events("aios") if event["event"] == "resize"]
    return [{name: value for name, value in event.items() if name != "event"} for event in events]


def kinds(client: Client) -> list[str]:
    return [event["kind"] for event in resizes(client)]


def test_a_running_task_is_waited_for_and_new_ones_go_elsewhere(engine: Running, tmp_path: Path):
    flag = tmp_path / "flag"
    with engine.slice(2) as (slice_id, client):
        started = [tmp_path / f"started-{n}" for n in range(2)]
        running = [
            client.submit(work_until, str(flag), str(one), workers=[address], key=one.name)
            for one, address in zip(started, addresses(client), strict=True)
        ]
        until("both run", lambda: all(one.exists() for one in started))
        # Behind them on each worker, and no longer bound to it once it gives way.
        behind = [
            client.submit(abs, -n, workers=[address], allow_other_workers=True, key=f"behind-{n}")
            for n, address in enumerate(addresses(client))
        ]
        shrink = threading.Thread(
            target=engine.scale, args=(slice_id, 1), kwargs={"grace": PATIENT, "why": "ben"}
        )
        before = time.time()
        shrink.start()
        until("it is told", lambda: kinds(client) == ["shrinking"])
        (told,) = resizes(client)
        assert (told["before"], told["after"], told["reason"]) == (2, 1, "ben")
        assert before + PATIENT <= told["deadline"] <= time.time() + PATIENT
        with ThreadPoolExecutor(2) as background:
            looks = [
                background.submit(lambda: engine.call(engine.engine.dashboard(slice_id))) for _ in range(2)
            ]
            assert all(look.result().is_socket() for look in looks), "who looks does not wait for it"
        assert shrink.is_alive()
        flag.touch()
        shrink.join(60)
        assert len({future.result(60) for future in running}) == 2, "each ran once, where it was"
        assert [future.result(60) for future in behind] == [0, 1]
        assert kinds(client) == ["shrinking", "shrunk"]
        assert engine.info(slice_id).workers == 1
    assert slice_id not in engine.heard.fences


def test_what_does_not_yield_is_fenced_and_runs_again(engine: Running, tmp_path: Path):
    with engine.slice(2) as (slice_id, client):
        one, other = addresses(client)
        kept = client.scatter(np.arange(1000), workers=[one])
        # The worker with less work goes; both have a task that never ends, the other one more data.
        stays = client.submit(forever, str(tmp_path / "stays"), workers=[other], key="stays")
        heavy = client.submit(np.ones, 100_000, workers=[other], key="heavy")
        goes = client.submit(
            forever, str(tmp_path / "goes"), workers=[one], allow_other_workers=True, key="goes", retries=0
        )
        until("both run", lambda: (tmp_path / "stays").exists() and (tmp_path / "goes").exists())
        victim = next(pid for address, pid in client.run(os.getpid).items() if address == one)
        engine.scale(slice_id, 1, grace=0.5)
        assert engine.heard.fences[slice_id] == (1, 1)
        assert not psutil.pid_exists(victim)
        assert goes.status == "pending", "it is not blamed for the end of its worker"
        np.testing.assert_array_equal(kept.result(60), np.arange(1000))
        client.cancel([stays, goes, heavy], force=True)


def test_a_worker_that_hangs_is_fenced(engine: Running):
    with engine.slice(2) as (slice_id, client):
        one, _ = addresses(client)
        pids = client.run(os.getpid)
        stays = client.submit(np.ones, 100_000, workers=[other for other in pids if other != one])
        goes = client.submit(np.ones, 10, workers=[one], allow_other_workers=True)
        assert len(stays.result(60)) + len(goes.result(60)) == 100_010
        os.kill(pids[one], signal.SIGSTOP)
        engine.scale(slice_id, 1, grace=0.5)
        assert engine.heard.fences[slice_id] == (1, 0)
        assert not psutil.pid_exists(pids[one])
        assert "did not move within" not in engine.engine.log.read_text(), "nothing waits for its data"
        assert client.submit(sum, [1, 2]).result(60) == 3
        assert len(goes.result(60)) == 10, "it is computed again"


def test_closing_does_not_wait_for_the_grace(engine: Running, tmp_path: Path):
    slice_id = engine.new_id()
    info = engine.scale(slice_id, 2)
    with engine.client(info) as client:
        tasks = [client.submit(forever, str(tmp_path / str(n)), key=f"t{n}") for n in range(2)]
        until("both run", lambda: all((tmp_path / str(n)).exists() for n in range(2)))

        def shrink() -> None:
            try:
                engine.scale(slice_id, 1, grace=PATIENT)
            except Exception as error:
                failed.append(str(error))

        failed: list[str] = []
        shrinking = threading.Thread(target=shrink)
        shrinking.start()
        until("it is told", lambda: kinds(client) == ["shrinking"])
        began = time.monotonic()
        engine.close(slice_id)
        assert time.monotonic() - began < PATIENT / 2
        shrinking.join(60)
        assert not any(psutil.pid_exists(pid) for pid in info.pids)
        assert "ended before it had done what was asked" in failed[0]
        del tasks


def test_a_parked_slice_keeps_its_data_and_comes_back(engine: Running):
    with engine.slice(2) as (slice_id, client):
        scattered = client.scatter([np.arange(10_000), np.arange(20_000)], broadcast=False)
        result = client.submit(np.full, 30_000, 7)
        result.result(60)
        before = set(client.run(os.getpid).values())
        info = engine.scale(slice_id, 0, why="lent to ben")
        assert info.workers == 0
        assert engine.heard.workers[slice_id] == 0
        (keeper,) = before & set(info.pids)
        assert client.run(lambda dask_worker: len(dask_worker.data.fast)) == dict.fromkeys(
            addresses(client), 0
        )
        assert len(result.result(60)) == 30_000, "results are read while it is parked"
        waiting = client.submit(os.getpid, key="waiting")
        until("a task is told of", lambda: slice_id in engine.heard.began)
        assert engine.info(slice_id).quiet_since is None
        time.sleep(1)  # longer than Dask takes to resume a worker that it paused itself
        assert waiting.status == "pending"
        info = engine.scale(slice_id, 2)
        assert info.workers == 2
        assert keeper in info.pids
        assert waiting.result(60) in info.pids
        assert [len(future.result(60)) for future in scattered] == [10_000, 20_000]
        assert len(result.result(60)) == 30_000
        assert kinds(client) == ["shrinking", "parked", "growing", "resumed"]
        until("it is quiet again", lambda: engine.info(slice_id).quiet_since)


def test_workers_of_another_shape_are_told_of_though_there_are_as_many(engine: Running):
    with engine.slice(1) as (slice_id, client):
        before = addresses(client)
        engine.scale(slice_id, 1, Resources(cpu=1000, memory=1536), grace=PATIENT)
        assert addresses(client) != before
        first, last = resizes(client)
        assert (first["kind"], first["leaving"]) == ("growing", before)
        assert first["deadline"] > time.time()
        assert (last["kind"], last["before"], last["after"]) == ("grown", 1, 1)


def test_without_data_nothing_stays_but_the_scheduler(engine: Running):
    with engine.slice(2) as (slice_id, client):
        assert len(engine.scale(slice_id, 0).pids) == 1
        assert client.scheduler_info()["workers"] == {}
        assert engine.scale(slice_id, 1).workers == 1
        assert client.submit(sum, [1, 2]).result(60) == 3


def test_a_killed_keeper_costs_the_data_and_not_the_slice(engine: Running):
    with engine.slice(1) as (slice_id, client):
        result = client.submit(np.full, 1000, 7)
        result.result(60)
        (pid,) = client.run(os.getpid).values()
        assert pid in engine.scale(slice_id, 0).pids
        os.kill(pid, signal.SIGKILL)
        until("it is gone", lambda: pid not in engine.pids(slice_id))
        assert engine.info(slice_id).workers == 0
        assert engine.scale(slice_id, 2).workers == 2
        assert len(result.result(60)) == 1000, "it was computed again"


def test_a_kernel_that_restarts_while_parked_has_a_clean_slice(engine: Running):
    with engine.slice(1) as (slice_id, client):
        client.submit(np.full, 1000, 7).result(60)
        kept = client.scatter([1])
        assert len(engine.scale(slice_id, 0).pids) == 2
        engine.call(engine.engine.restart(slice_id))
        assert len(engine.pids(slice_id)) == 1
        assert engine.scale(slice_id, 1).workers == 1
        del kept
