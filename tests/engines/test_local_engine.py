"""Slices of the local engine, with a real Dask client: opened, resized, broken and closed."""

from __future__ import annotations

import os
import signal
import ssl
import sys
from typing import Any

import cloudpickle
import numpy as np
import pytest
from distributed import Client, get_worker

from aios_lab.allocation.types import Resources
from aios_lab.engines.base import Credentials, EngineError, SliceInfo
from aios_lab.engines.local import tls
from aios_lab.engines.local.nodes import security
from aios_lab.engines.processes import start_time
from engines.running import Running
from live import until

# Tasks are functions within tests; what they use of this module travels with them.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def alive(pids: Any) -> list[int]:
    return [pid for pid in pids if start_time(pid) is not None]


def on_each(client: Client, function: Any, *args: Any) -> list[Any]:
    """Run a task on every worker."""
    addresses = list(client.scheduler_info()["workers"])
    futures = [client.submit(function, *args, workers=[address], pure=False) for address in addresses]
    return list(client.gather(futures))


def worker_pids(client: Client) -> set[int]:
    return set(client.run(os.getpid).values())


def test_two_workers_compute(engine: Running):
    def add_on_torch(number: int) -> tuple[float, int]:
        import torch

        return float((torch.ones(3) * number).sum()), os.getpid()

    with engine.slice(2) as (slice_id, client):
        info = engine.info(slice_id)
        assert info is not None
        assert info.workers == 2
        assert info.address.startswith("tls://127.0.0.1:")
        results = on_each(client, add_on_torch, 2)
        assert [value for value, _ in results] == [6.0, 6.0]
        assert {pid for _, pid in results} < set(info.pids)
        pids = info.pids
        assert len(alive(pids)) == 3
    assert alive(pids) == []
    assert engine.info(slice_id) is None
    assert slice_id not in engine.heard.gone


def test_a_worker_sees_its_slice_its_threads_and_no_device(engine: Running):
    def see() -> dict[str, Any]:
        import torch

        names = ("AIOS_SLICE", "OMP_NUM_THREADS", "CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES")
        return {name: os.environ.get(name) for name in names} | {
            "torch": torch.get_num_threads(),
            "nthreads": get_worker().state.nthreads,
            "limit": get_worker().memory_manager.memory_limit,
        }

    with engine.slice(1, Resources(cpu=1500, memory=600)) as (slice_id, client):
        assert client.submit(see).result(30) == {
            "AIOS_SLICE": slice_id,
            "OMP_NUM_THREADS": "2",
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": "",
            "torch": 2,
            "nthreads": 2,
            "limit": 600 << 20,
        }


def test_another_slices_credentials_are_refused(engine: Running):
    with engine.slice(1) as (slice_id, client), engine.slice(1) as (other_id, _):
        info, other = engine.info(slice_id), engine.info(other_id)
        assert info is not None
        assert other is not None
        for intruder in (other.credentials, tls.issue(slice_id)):
            with pytest.raises((OSError, TimeoutError)) as caught:
                Client(info.address, security=_trusting(info, intruder), timeout=2)
            assert _has_tls_error(caught.value), caught.getrepr(chain=True)
        with pytest.raises((OSError, TimeoutError, ValueError)):
            Client(info.address.replace("tls://", "tcp://"), timeout=2)
        assert client.submit(sum, [1, 2]).result(30) == 3


def _trusting(info: SliceInfo, intruder: Credentials) -> Any:
    """Credentials of an intruder who trusts the scheduler, so that it is the scheduler which refuses."""
    return security(Credentials(ca=info.credentials.ca, cert=intruder.cert, key=intruder.key))


def _has_tls_error(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError) or "TLS" in str(error) or "SSL" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def test_only_tls_ports_are_open(engine: Running):
    import psutil

    with engine.slice(2) as (slice_id, client):
        ports = {
            connection.laddr.port
            for pid in engine.pids(slice_id)
            for connection in psutil.Process(pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        info = client.scheduler_info()
        known = {info["address"], *info["workers"]}
        assert ports == {int(address.rpartition(":")[2]) for address in known}


def test_growing_and_shrinking_keep_data(engine: Running):
    with engine.slice(1) as (slice_id, client):
        arrays = [np.full(10_000, number) for number in range(6)]
        first = client.scatter(arrays[:3])
        engine.scale(slice_id, 3)
        assert engine.heard.workers[slice_id] == 3
        second = client.scatter(arrays[3:], broadcast=False)
        before = worker_pids(client)
        info = engine.scale(slice_id, 1)
        assert info.workers == 1
        assert engine.heard.workers[slice_id] == 1
        gone = before - set(info.pids)
        assert len(gone) == 2
        assert alive(gone) == []
        for future, array in zip([*first, *second], arrays, strict=True):
            np.testing.assert_array_equal(future.result(30), array)


def test_no_workers_keep_the_scheduler(engine: Running):
    with engine.slice(1) as (slice_id, client):
        address = engine.scale(slice_id, 0).address
        future = client.submit(sum, [1, 2])
        assert engine.scale(slice_id, 1).address == address
        assert future.result(30) == 3


def test_another_unit_replaces_the_workers_and_keeps_their_data(engine: Running):
    with engine.slice(2) as (slice_id, client):
        futures = client.scatter([np.arange(10), np.arange(20)], broadcast=False)
        before = worker_pids(client)
        info = engine.scale(slice_id, 1, Resources(cpu=2000, memory=2048))
        assert info.workers == 1
        assert not before & set(info.pids)
        assert [len(future.result(30)) for future in futures] == [10, 20]
        assert list(client.nthreads().values()) == [2]


def test_a_killed_worker_is_replaced_and_its_task_runs_again(engine: Running):
    with engine.slice(2) as (slice_id, client):
        before = worker_pids(client)
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        until("a new worker joins", lambda: len(_present(client) - {victim}) == 2)
        assert alive([victim]) == []
        assert engine.heard.workers[slice_id] == 2
        assert client.submit(sum, [1, 2]).result(30) == 3
        until("the report follows", lambda: victim not in engine.pids(slice_id))
    assert slice_id not in engine.heard.gone


def _present(client: Client) -> set[int]:
    try:
        return worker_pids(client)
    except OSError:  # one of them has just been killed
        return set()


def test_the_clients_own_restart_works(engine: Running):
    with engine.slice(2) as (_, client):
        future = client.scatter(1)
        before = worker_pids(client)
        client.restart(timeout=30)
        assert not before & worker_pids(client)
        assert future.status in ("cancelled", "lost")
        until("the old ones are gone", lambda: not alive(before))


def test_a_restarted_slice_has_new_workers_behind_the_same_address(engine: Running):
    with engine.slice(2) as (slice_id, client):
        info = engine.info(slice_id)
        assert info is not None
        before = worker_pids(client)
        engine.call(engine.engine.restart(slice_id))
        assert alive(before) == []
        after = engine.info(slice_id)
        assert after is not None
        assert (after.address, after.workers) == (info.address, 2)
        assert client.submit(sum, [1, 2]).result(30) == 3


def test_a_worker_over_its_memory_is_ended_and_only_it(engine: Running):
    def swallow() -> int:
        kept = np.ones(700 << 20, dtype=np.uint8)
        signal.pause()
        return int(kept.sum())

    with engine.slice(2, Resources(cpu=1000, memory=512)) as (slice_id, client):
        before = worker_pids(client)
        (bad, worker), (good, bystander) = client.run(os.getpid).items()
        result = client.submit(lambda: list(range(1000)), workers=[good], pure=False)
        result.result(30)
        future = client.submit(swallow, workers=[bad], retries=0)
        until("one worker is replaced", lambda: len(before - _present(client)) == 1, seconds=90)
        future.cancel()
        until("two workers are up", lambda: len(_present(client)) == 2, seconds=90)
        ((_, event),) = client.get_events("aios")
        assert event["event"] == "memory"
        assert event["used"] > event["limit"] == 512 << 20
        assert "of the 537 MB" in event["message"]
        assert engine.heard.troubles[slice_id] == event["message"]
        assert bystander in _present(client)
        assert worker not in _present(client)
        assert result.result(30) == list(range(1000))


def test_memory_that_a_worker_spawned_counts_and_is_ended_first(engine: Running):
    def breed() -> tuple[int, int]:
        from aios_lab.engines import spawn

        child = spawn.spawn("targets:hoard", str(700 << 20).encode(), env=_env())
        return os.getpid(), child.pid

    with engine.slice(1, Resources(cpu=1000, memory=512)) as (_, client):
        worker, child = client.submit(breed).result(30)
        until("the child is ended", lambda: not alive([child]), seconds=30)
        assert worker_pids(client) == {worker}
        ((_, event),) = client.get_events("aios")
        assert event["pid"] == child


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}


def test_spawned_processes_belong_to_the_slice_and_end_with_their_worker(engine: Running):
    def breed() -> int:
        from aios_lab.engines import spawn

        return spawn.spawn("targets:rest", env=_env()).pid

    with engine.slice(2) as (slice_id, client):
        children = on_each(client, breed)
        until("the engine knows them", lambda: set(children) <= set(engine.pids(slice_id)))
        engine.scale(slice_id, 1)
        assert len(alive(children)) == 1
    assert alive(children) == []


def test_a_daemon_of_a_task_does_not_outlive_the_slice(engine: Running):
    def litter() -> int:
        sys.path.insert(0, _env()["PYTHONPATH"])
        from targets import daemon

        return daemon()

    with engine.slice(1) as (_, client):
        pid = client.submit(litter).result(30)
        assert alive([pid]) == [pid]
    assert alive([pid]) == []


def test_a_killed_host_takes_its_slice_and_no_other(engine: Running):
    # No client of the slice that goes: Dask's may trip over its own reconnection when it is closed.
    with engine.slice(1) as (_, bystander):
        slice_id = engine.new_id()
        pids = engine.scale(slice_id, 2).pids
        os.kill(pids[0], signal.SIGKILL)
        until("the loss is told", lambda: slice_id in engine.heard.gone)
        assert "signal 9" in engine.heard.gone[slice_id]
        assert alive(pids) == []
        assert engine.info(slice_id) is None
        assert bystander.submit(sum, [1, 2]).result(30) == 3
        assert engine.scale(slice_id, 1).workers == 1
        engine.close(slice_id)


def test_an_order_that_fails_costs_neither_the_slice_nor_its_data(engine: Running):
    with engine.slice(1) as (slice_id, client):
        future = client.scatter(1)
        with pytest.raises(EngineError, match="could not do what was asked"):
            engine.call(engine.engine._slices[slice_id].order("scale", scale={}))
        assert engine.scale(slice_id, 2).workers == 2
        assert future.result(30) == 1
