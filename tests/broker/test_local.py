"""The broker on the local engine: real schedulers, real workers, real deaths."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest

from aios_lab.broker import Broker, Ledger, Owner, Quotas
from aios_lab.engines.local.engine import LocalEngine
from aios_lab.wire import ClaimRequest, SliceState


def own_processes() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.fixture
def before() -> set[int]:
    return own_processes()


def test_two_kernels_share_and_nothing_is_left(tmp_path: Path, before: set[int]) -> None:
    """Grant, connect, shrink for another, growth when it ends, a killed host, the end."""

    async def main() -> None:
        engine = LocalEngine({"cpus": 2, "memory": "2GiB"}, runtime_dir=tmp_path / "run")
        default = ClaimRequest(workers=2, cpus=1, memory="512MiB")
        broker = Broker(engine, Ledger(tmp_path / "ledger.db"), Quotas(), default)
        changed = asyncio.Event()
        broker.subscribe(lambda _slice_id: changed.set())

        async def reach(slice_id: str, state: SliceState, workers: int) -> None:
            async with asyncio.timeout(60):
                while ((view := broker.view(slice_id)).state, view.workers) != (state, workers):
                    changed.clear()
                    await changed.wait()

        await broker.start()
        try:
            first = broker.file(ClaimRequest(), Owner("ada", name="a.ipynb"))
            second = broker.file(ClaimRequest(), Owner("bob", name="b.ipynb"))
            assert engine.info(first) is None
            broker.activate(first)
            connection = await broker.connection(first, 60)
            assert connection is not None
            assert connection.address.startswith("tls://127.0.0.1")
            await reach(first, SliceState.ACTIVE, 2)
            broker.activate(second)
            await reach(second, SliceState.ACTIVE, 1)
            await reach(first, SliceState.ACTIVE, 1)
            info = engine.info(second)
            assert info is not None
            broker.end(second, "The kernel was shut down.")
            await reach(first, SliceState.ACTIVE, 2)
            assert not any(psutil.pid_exists(pid) for pid in info.pids)
            info = engine.info(first)
            assert info is not None
            os.kill(info.pids[0], signal.SIGKILL)  # the slice host
            await reach(first, SliceState.REQUESTED, 0)
            assert "killed" in broker.view(first).problem
            assert broker.view(first).dormant
        finally:
            await broker.stop()

    asyncio.run(main())
    assert own_processes() <= before
