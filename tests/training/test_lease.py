"""A run's hold on a worker: what comes late is for its own lease, and nothing is kept that is of no use."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client

from aios_lab.training.frames import FrameReader, FrameWriter
from aios_lab.training.kernel import payload
from aios_lab.training.leader import leases
from aios_lab.training.spec import RANKS, RankSpec
from aios_lab.training.strategies.base import StrategyOptions
from aios_lab.training.worker import lease
from aios_lab.training.worker.supervisor import Supervisor
from live import until
from training import functions
from training.helpers import ranks_left

RUN = "r-leases"


class Worker:
    """One worker of a cluster, and what its ranks say."""

    def __init__(self, client: Any, folder: Path) -> None:
        self._client, self._folder = client, folder
        self.address = min(client.scheduler_info(n_workers=-1)["workers"])
        self.work = payload.pack(payload.function_work(functions.until_stopped, (), {}))
        self._before = len(client.get_events(RANKS))

    def hold(self, key: str, attempt: int) -> Any:
        """Begin a lease with this attempt."""
        spec = self.spec(attempt)
        return self._client.submit(
            lease.supervise, spec, self.work, key=key, workers=[self.address], pure=False
        )

    def run(self, function: Any, *args: Any) -> Any:
        (answer,) = self._client.run(function, *args, workers=[self.address]).values()
        return answer

    def said(self, kind: str) -> dict[int, Any]:
        """By attempt."""
        told = [message for _, message in self._client.get_events(RANKS)[self._before :]]
        return {message["attempt"]: message["body"] for message in told if message["kind"] == kind}

    def await_ready(self, attempt: int) -> None:
        until(f"rank of attempt {attempt} is there", lambda: attempt in self.said("ready"), 60)

    def kill(self, attempt: int) -> None:
        self.run(lease.deliver, RUN, attempt, "kill", {}, None)
        until(f"rank of attempt {attempt} is gone", lambda: attempt in self.said("ended"), 60)

    def spec(self, attempt: int) -> RankSpec:
        return spec_of(self._folder, attempt)


def spec_of(folder: Path, attempt: int) -> RankSpec:
    return RankSpec(
        run_id=RUN,
        rank=0,
        world_size=1,
        local_rank=0,
        local_world_size=1,
        node_rank=0,
        nodes=1,
        host="127.0.0.1",
        strategy=StrategyOptions(),
        folder=str(folder),
        cwd=os.getcwd(),
        path=payload.import_path(),
        sources={},
        seed=None,
        attempt=attempt,
    )


def test_what_comes_late_is_for_its_own_lease(client: Client, tmp_path: Path) -> None:
    worker = Worker(client, tmp_path)
    first = worker.hold("aios-first", 0)
    worker.await_ready(0)
    worker.kill(0)
    worker.run(lease.release, "aios-first")
    first.result(60)
    worker.run(lease.begin, "aios-first", worker.spec(1))
    second = worker.hold("aios-second", 2)
    worker.await_ready(2)
    worker.run(lease.release, "aios-first")
    worker.kill(2)
    worker.run(lease.begin, "aios-second", worker.spec(3))
    worker.await_ready(3)
    worker.kill(3)
    worker.run(lease.release, "aios-second")
    second.result(60)
    assert sorted(worker.said("ready")) == [0, 2, 3]
    assert ranks_left() == []


class Lossy:
    """The leader's client, whose connections to workers break as often as it is told."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.losses = 0

    async def run(self, function: Any, *args: Any, **options: Any) -> Any:
        if self.losses:
            self.losses -= 1
            raise OSError("the connection broke")
        return await self._client.run(function, *args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def keys(dask_scheduler: Any) -> list[str]:
    return [str(key) for key in dask_scheduler.tasks if RUN in str(key)]


async def told(worker: Worker, kind: str, attempt: int) -> None:
    await asyncio.to_thread(until, f"{kind} of {attempt}", lambda: attempt in worker.said(kind), 60)


def test_orders_are_given_until_they_are_heard(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(client, tmp_path)
    asyncio.run(_insist(worker, client, monkeypatch))
    assert ranks_left() == []


async def _insist(worker: Worker, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "DEAF", 1.0)
    broken: list[tuple[str, str]] = []
    make: Any = Client
    async with make(client.scheduler.address, asynchronous=True, set_as_default=False) as own:
        lossy = Lossy(own)
        held = leases.Leases(RUN, worker.work, lossy, lambda *what: broken.append(what))
        there = [worker.address]
        held.begin([(worker.address, worker.spec(10))], lambda: True)
        await told(worker, "ready", 10)
        lossy.losses = 2
        held.deliver(there, 10, "kill", {}, None, lambda _: True)
        await told(worker, "ended", 10)
        held.deliver(there, 11, "go", {}, None, lambda _: False)  # it has ended by itself
        await held.finish(60)
        assert (broken, [*held.addresses]) == ([], there)
        held.deliver(there, 11, "go", {}, None, lambda _: True)
        await held.finish(60)
        assert broken == [(worker.address, "its worker did not hear the order 'go'")]
        assert held.addresses == frozenset()


def test_the_task_of_a_worker_that_is_gone_does_not_wait_for_another(client: Client, tmp_path: Path) -> None:
    worker = Worker(client, tmp_path)
    asyncio.run(_forget(worker, client))
    until("its rank is gone", lambda: ranks_left() == [], 60)


async def _forget(worker: Worker, client: Any) -> None:
    make: Any = Client
    async with make(client.scheduler.address, asynchronous=True, set_as_default=False) as own:
        held = leases.Leases(RUN, worker.work, own, lambda *_: None)
        held.begin([(worker.address, worker.spec(20))], lambda: True)
        await told(worker, "ready", 20)
        held.forget(worker.address)
        await held.finish(60)
        await asyncio.to_thread(until, "no task is left", lambda: client.run_on_scheduler(keys) == [], 60)


def test_a_hold_that_is_repeated_counts_once(tmp_path: Path) -> None:
    supervisor = Supervisor(spec_of(tmp_path, 0), b"", lambda *_: None, lambda: True, lambda: 0)
    reading, writing = os.pipe()
    supervisor._control = FrameWriter(writing)
    for number in (1, 1, 2, 1):
        supervisor.order("hold", {"number": number, "why": "save"})
    heard = list(FrameReader().feed(os.read(reading, 1 << 16)))
    assert [values["number"] for _, values in heard] == [1, 2]
    os.close(reading)
    os.close(writing)


def listeners() -> int:
    """Ports that this process listens on: its own, and those where ranks meet."""
    return sum(one.status == psutil.CONN_LISTEN for one in psutil.Process().net_connections("tcp"))


def test_ranks_that_have_gone_leave_no_meeting_place(client: Client, tmp_path: Path) -> None:
    worker = Worker(client, tmp_path)
    own = worker.run(listeners)
    worker.run(lease.begin, "aios-third", worker.spec(5))  # before its lease, as when a worker is busy
    third = worker.hold("aios-third", 4)
    worker.await_ready(4)
    worker.await_ready(5)
    assert worker.run(listeners) == own + 2
    worker.run(lease.deliver, RUN, 4, "stop", {}, None)
    until("it has stopped", lambda: 4 in worker.said("ended"), 60)
    assert worker.run(listeners) == own + 2, "ranks elsewhere may still need it"
    port = str(worker.said("ready")[5]["port"])
    worker.run(lease.deliver, RUN, 5, "go", {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}, None)
    assert worker.run(listeners) == own + 1
    worker.kill(5)
    until("its meeting place is gone", lambda: worker.run(listeners) == own)
    worker.run(lease.release, "aios-third")
    third.result(60)
    assert ranks_left() == []
