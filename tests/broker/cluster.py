"""A broker on an engine in memory, for tests that run on one loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aios_lab.broker import Broker, Ledger, Owner, Quotas, Windows
from aios_lab.wire import ClaimRequest, SliceState
from broker.memory_engine import MemoryEngine


class Cluster:
    def __init__(self, folder: Path, engine: MemoryEngine, quotas: Path | None = None) -> None:
        self.engine = engine
        self.ledger = Ledger(folder / "ledger.db")
        default = ClaimRequest(workers=1, cpus=1, memory="1GiB")
        self.broker = Broker(engine, self.ledger, Quotas(quotas), default, Windows(0, 0, 0))

    def file(self, user: str, workers: int | None = None, **fields: object) -> str:
        name = fields.pop("name", f"work/{user}.ipynb")
        request = ClaimRequest.model_validate({"workers": workers, **fields})
        owner = Owner(user=user, kernel_id=f"k-{user}", name=str(name))
        return self.broker.file(request, owner)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for a change after which this holds."""
        changed = asyncio.Event()

        def note(_slice_id: str) -> None:
            changed.set()

        self.broker.subscribe(note)
        try:
            async with asyncio.timeout(20):
                while not true():
                    changed.clear()
                    await changed.wait()
        finally:
            self.broker.unsubscribe(note)

    async def crash(self) -> None:
        """As with SIGKILL: what the broker was about to do it never does. The engine keeps what it has."""
        mine = [task for task in asyncio.all_tasks() if task.get_name().startswith("aios ")]
        for task in mine:
            task.cancel()
        if mine:  # it may have stopped before
            await asyncio.wait(mine)
        self.ledger.close()

    async def reach(self, slice_id: str, state: SliceState, workers: int) -> None:
        def there() -> bool:
            view = self.broker.view(slice_id)
            return view.state == state and view.workers == workers == view.target

        await self.until(there)

    async def active(self, slice_id: str, workers: int) -> None:
        await self.reach(slice_id, SliceState.ACTIVE, workers)


@asynccontextmanager
async def running(
    folder: Path, threads: int = 2, gpus: int = 0, quotas: Path | None = None
) -> AsyncIterator[Cluster]:
    cluster = Cluster(folder, MemoryEngine(threads, gpus), quotas)
    await cluster.broker.start()
    try:
        yield cluster
    finally:
        await cluster.broker.stop()


def run(folder: Path, story: Callable[[Cluster], Awaitable[None]], **options: object) -> None:
    async def main() -> None:
        async with running(folder, **options) as cluster:  # type: ignore[arg-type]
            await story(cluster)

    asyncio.run(main())
