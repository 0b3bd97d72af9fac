"""A run's hold on its workers: begins ranks there, gives them orders, and lets the workers go."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from aios_lab.training.spec import OrderName, RankSpec
from aios_lab.training.worker import lease

SCATTER_ABOVE = 1 << 20  # bytes of packed work that go to the workers apart from the task
AGAIN = 0.5  # seconds until an order that was not heard is given again
DEAF = 30.0  # seconds after which a worker that hears none is let go of
RESTARTED = "its task was cancelled: the workers were restarted, or the slice has ended"
_GONE = (OSError, ValueError, RuntimeError, KeyError)  # what Dask raises where a worker has just gone


class Leases:
    """One pinned Dask task a worker, which supervises the run's ranks there one after another.

    Its methods return at once: a worker that hangs must not hold up others. They belong to the event loop of
    ``client``, which is the leader's own.
    """

    def __init__(self, run_id: str, work: bytes, client: Any, broken: Callable[[str, str], None]) -> None:
        """``broken`` is called with the address of a worker that was let go of by others, and why."""
        self._run_id = run_id
        self._work = work
        self._client = client
        self._broken = broken
        self._held: dict[str, Any] = {}  # futures of the tasks, by the address of the worker
        self._numbers = itertools.count()
        self._scattered: Any = None
        self._calls: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> frozenset[str]:
        """The workers that the run holds."""
        return frozenset(self._held)

    def begin(self, ranks: Sequence[tuple[str, RankSpec]], wanted: Callable[[], bool]) -> None:
        """Begin ranks at these addresses. Where the worker is not held yet and large work has to get there
        first, ``wanted`` is asked again then."""
        fresh = []
        for address, spec in ranks:
            if address in self._held:
                self._call(address, lease.begin, self._held[address].key, spec)
            elif len(self._work) > SCATTER_ABOVE:
                fresh.append((address, spec))
            else:
                self._hold(address, spec, self._work)
        if fresh:
            self._later(self._send_work(fresh, wanted))

    def deliver(
        self,
        addresses: Collection[str],
        attempt: int,
        order: OrderName,
        values: Mapping[str, Any],
        rank: int | None,
        awaited: Callable[[str], bool],
    ) -> None:
        """Give an order to an attempt's ranks there, or to one of them; but for a stop, until it is heard.
        ``awaited`` tells whether the attempt still has a rank at an address."""
        for address in [address for address in addresses if address in self._held]:
            give = partial(self._heard, address, attempt, order, values, rank)
            self._later(self._insist(address, self._held[address], order, give, awaited))

    def forget(self, address: str) -> None:
        """This worker is gone: its task is not to begin on another that gets its address."""
        future = self._held.pop(address, None)
        if future is not None:
            self._later(self._client.cancel([future]))

    async def finish(self, seconds: float) -> None:
        """Have what was ordered carried out, for as long as that takes within these seconds."""
        if self._calls:
            await asyncio.wait({*self._calls}, timeout=seconds)

    def leave(self, addresses: Collection[str]) -> None:
        """Give workers back. Supervisors whose task is cancelled end their rank by themselves."""
        futures = [self._held.pop(address) for address in addresses]
        for address, future in zip(addresses, futures, strict=True):
            self._call(address, lease.release, future.key)
        if futures:
            self._later(self._client.cancel(futures))

    async def _insist(
        self,
        address: str,
        future: Any,
        order: OrderName,
        give: Callable[[], Awaitable[int | None]],
        awaited: Callable[[str], bool],
    ) -> None:
        """A kill is heard also where there is no rank; other orders are for those that are there."""
        until = time.monotonic() + DEAF
        while True:
            heard = await give()
            if heard or order == "stop" or (order == "kill" and heard is not None):
                return
            if time.monotonic() > until:
                break
            await asyncio.sleep(AGAIN)
            if self._held.get(address) is not future or not (order == "kill" or awaited(address)):
                return
        if awaited(address):
            self.leave([address])
            self._broken(address, f"its worker did not hear the order {order!r}")

    async def _heard(self, address: str, *order: Any) -> int | None:
        """How many ranks heard an order; None where the worker did not answer."""
        try:
            run = self._client.run(lease.deliver, self._run_id, *order, workers=[address], on_error="ignore")
            answers: dict[str, int] = await run
        except _GONE:
            return None
        return answers.get(address)

    async def _send_work(self, fresh: list[tuple[str, RankSpec]], wanted: Callable[[], bool]) -> None:
        try:
            work = await self._work_at([address for address, _ in fresh])
            for address, spec in fresh:
                if wanted():
                    self._hold(address, spec, work)
        except Exception as error:  # Dask raises many kinds where a worker has just gone
            if wanted():
                self._broken(fresh[0][0], f"what it runs could not be sent: {type(error).__name__}: {error}")

    async def _work_at(self, addresses: list[str]) -> Any:
        """Where a worker still has the work others get it from there."""
        if self._scattered is not None and self._scattered.status == "finished":
            has: dict[str, Any] = await self._client.who_has([self._scattered])
            if any(has.values()):
                return self._scattered
        self._scattered = await self._client.scatter(
            self._work, workers=addresses, broadcast=True, hash=False
        )
        return self._scattered

    def _hold(self, address: str, spec: RankSpec, work: Any) -> None:
        """Hold a worker for the run, and begin its rank there."""
        future = self._client.submit(
            lease.supervise,
            spec,
            work,
            key=f"aios-{self._run_id}-{next(self._numbers)}",
            workers=[address],
            allow_other_workers=False,
            pure=False,
            retries=0,
        )
        self._held[address] = future
        loop = asyncio.get_running_loop()

        def done(future: Any) -> None:  # in a thread of Dask's
            if future.status in ("error", "cancelled", "lost"):
                loop.call_soon_threadsafe(self._lost, address, future)

        future.add_done_callback(done)

    def _lost(self, address: str, future: Any) -> None:
        if address in self._held and self._held[address] is future:
            del self._held[address]
            self._broken(address, repr(future.exception()) if future.status == "error" else RESTARTED)

    def _call(self, address: str, function: Callable[..., Any], *args: Any) -> None:
        self._later(self._client.run(function, *args, workers=[address], on_error="ignore"))

    def _later(self, what: Awaitable[Any]) -> None:
        async def call() -> None:
            try:
                await what
            except _GONE:
                return

        task = asyncio.create_task(call())
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
