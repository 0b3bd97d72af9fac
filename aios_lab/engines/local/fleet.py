"""The workers of one slice: started by the forkserver, replaced when they end, retired on a shrink."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from distributed import Scheduler

from aios_lab.engines import spawn
from aios_lab.engines.base import EngineError
from aios_lab.engines.local import orders, worker
from aios_lab.engines.local.giving_way import Fenced, GivingWay
from aios_lab.engines.local.tasks import Tasks
from aios_lab.engines.pauses import pause
from aios_lab.engines.processes import said

log = logging.getLogger(__name__)

_JOIN = 60.0  # seconds a worker may take to join
_LEAVE = 1.0  # seconds a retired worker may take to end
_STEADY = 10.0  # seconds after which an end no longer counts as a failed start
_LONGEST_PAUSE = 5.0  # seconds between two tries to replace a worker that keeps ending


@dataclass(slots=True, eq=False)
class Slot:
    """A place for one worker; the process in it changes when it is replaced. One that ``rests`` keeps data of
    a parked slice, takes no tasks, and is no worker of anybody's."""

    shape: orders.Shape
    devices: tuple[int, ...]
    name: str = ""
    child: spawn.Child | None = None
    wanted: bool = True
    rests: bool = False
    known: bool = False  # the scheduler has seen its present process
    joined: asyncio.Event = field(default_factory=asyncio.Event)
    keeper: asyncio.Task[None] | None = None


class Fleet:
    """Workers of ``scheduler``; ``changed`` is called after each one that joins or leaves."""

    def __init__(
        self, scheduler: Scheduler, open_order: orders.Open, changed: Callable[[], None], tasks: Tasks
    ) -> None:
        self._scheduler = scheduler
        self._open = open_order
        self._changed = changed
        self._way = GivingWay(scheduler, tasks)
        self._slots: list[Slot] = []
        self._names = map(str, itertools.count())

    @property
    def slots(self) -> list[Slot]:
        return list(self._slots)

    @property
    def devices(self) -> list[int]:
        return [device for slot in self._slots for device in slot.devices]

    @property
    def pids(self) -> list[int]:
        return [slot.child.pid for slot in self._slots if slot.child is not None]

    @property
    def size(self) -> int:
        """Workers that it has, or is to have again."""
        return sum(not slot.rests for slot in self._slots)

    @property
    def joined(self) -> int:
        return sum(slot.joined.is_set() for slot in self._slots)

    def name(self, slice_id: str) -> orders.Open:
        """Workers that start from now on belong to this slice."""
        self._open = dataclasses.replace(self._open, slice_id=slice_id, spare=False)
        return self._open

    def member_joined(self, name: str) -> None:
        """A new worker takes work."""
        for slot in self._slots:
            if slot.name == name:
                slot.known = True
                slot.joined.set()
        self._changed()

    def member_left(self, name: str) -> None:
        """The scheduler lost a worker, whether or not its process has ended."""
        for slot in self._slots:
            if slot.name == name:
                slot.joined.clear()
                if slot.child is not None:
                    asyncio.get_running_loop().call_later(_LEAVE, _end_if_alive, slot.child)
        self._changed()

    def leaving(self, order: orders.Scale) -> list[Slot]:
        """The workers that go when the fleet comes to ``order``: those of another shape, and the surplus."""
        fitting = [slot for slot in self._slots if slot.shape == order.shape]
        others = [slot for slot in self._slots if slot.shape != order.shape]
        surplus = len(fitting) - order.workers
        leaving = others + self._least_loaded(fitting, surplus)
        return [slot for slot in leaving if order.workers or not slot.rests]

    def addresses(self, slots: Iterable[Slot]) -> tuple[str, ...]:
        """Where their workers are; those that the scheduler does not know have none."""
        workers = (self._way.worker(slot.name) for slot in slots)
        return tuple(str(worker.address) for worker in workers if worker is not None)

    async def scale(self, order: orders.Scale, leaving: Sequence[Slot]) -> Fenced:
        """Bring the fleet to ``order``. Those that are ``leaving`` give way last, so that data can move.

        Raises:
            EngineError: a new worker did not join; those started with it are gone again.
        """
        if order.workers:
            await self._resume()
        fitting = [slot for slot in self._slots if slot.shape == order.shape]
        missing = order.workers - len(fitting)
        if missing > 0:
            await self._grow(order, missing)
        return await self._shrink(leaving, time.monotonic() + order.grace, park=not order.workers)

    async def replace_all(self) -> None:
        """New processes in all slots; returns when they joined. What the workers held is gone."""
        await self._end([slot for slot in self._slots if slot.rests])
        for slot in self._slots:
            slot.joined.clear()
            if slot.child is not None:
                slot.child.kill()
        await self._all_join(self._slots)

    async def _grow(self, order: orders.Scale, count: int) -> None:
        free = iter(order.devices)
        new = [Slot(order.shape, tuple(itertools.islice(free, order.shape.devices))) for _ in range(count)]
        for slot in new:
            self._slots.append(slot)
            slot.keeper = asyncio.create_task(self._keep(slot))
        try:
            await self._all_join(new)
        except BaseException:
            await self._end(new)
            raise

    async def _all_join(self, slots: list[Slot]) -> None:
        waits = [asyncio.create_task(self._joins(slot)) for slot in slots]
        try:
            await asyncio.gather(*waits)
        finally:
            for wait in waits:
                wait.cancel()

    async def _joins(self, slot: Slot) -> None:
        """A slot's worker joins, or its keeper gives up first."""
        assert slot.keeper is not None
        join = asyncio.create_task(slot.joined.wait())
        try:
            done, _ = await asyncio.wait(
                {join, slot.keeper}, timeout=_JOIN, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            join.cancel()
        if slot.keeper in done:
            slot.keeper.result()
        if join not in done:
            raise EngineError(f"A worker did not join its slice within {_JOIN:.0f} s.")

    async def _keep(self, slot: Slot) -> None:
        """Have a living worker in a slot for as long as it is wanted.

        Raises:
            EngineError: the first worker ended before it joined; later ones are tried again.
        """
        await self._live(slot)
        failures = 0
        while slot.wanted:
            log.warning("%s: worker %s ended; replacing it", self._open.slice_id, slot.name)
            started = time.monotonic()
            try:
                await self._live(slot)
            except EngineError as error:
                log.warning("%s: %s", self._open.slice_id, error)
            failures = 0 if time.monotonic() - started > _STEADY else failures + 1
            await asyncio.sleep(pause(failures - 1, _LONGEST_PAUSE, first=0.4))

    async def _live(self, slot: Slot) -> None:
        """One worker from its start to its end."""
        slot.known = False
        slot.child = await self._start(slot)
        self._changed()
        code = await slot.child.wait()
        slot.child = None
        slot.joined.clear()
        self._changed()
        if slot.wanted and not slot.known:
            raise EngineError(f"A worker ended before it joined its slice (exit code {code}).")

    async def _start(self, slot: Slot) -> spawn.Child:
        slot.name = next(self._names)
        start = orders.Start(
            slice_id=self._open.slice_id,
            credentials=self._open.credentials,
            folder=self._open.folder,
            scheduler=self._scheduler.address,
            name=slot.name,
            threads=slot.shape.threads,
            memory=slot.shape.memory,
            devices=slot.devices,
        )
        env = worker.environment(dict(os.environ), start)
        target = "aios_lab.engines.local.worker:main"
        try:
            # What is kept ready has said that it uses no NVML, which Dask asks only once.
            ready = not self._open.spare and not slot.devices
            return await asyncio.to_thread(spawn.spawn, target, orders.dump(start), env=env, ready=ready)
        except (spawn.SpawnError, OSError) as error:  # out of descriptors, its folder was removed
            raise EngineError(f"A worker could not be started: {said(error)}") from error

    async def _shrink(self, leaving: Sequence[Slot], deadline: float, park: bool) -> Fenced:
        """Have these workers leave: each as soon as it has ended its tasks, and all at the deadline. Of a
        slice that is to be parked, one that can keep the data of all stays to do so."""
        for slot in leaving:
            slot.wanted = False
        rests = self._most_loaded(leaving) if park else None
        gone = [slot for slot in leaving if slot is not rests]
        for slot in gone:  # all of them, before the first one's data moves
            self._way.take_no_more(slot.name)
        fenced = [*await asyncio.gather(*(self._leave(slot, deadline) for slot in gone))]
        if rests is not None:
            fenced.append(await self._rest(rests, deadline))
        return Fenced(sum(one.workers for one in fenced), sum(one.tasks for one in fenced))

    async def _leave(self, slot: Slot, deadline: float) -> Fenced:
        fenced = await self._way.finish(slot.name, deadline)
        await self._way.move(slot.name)
        await self._end([slot], grace=0.0 if fenced.workers else _LEAVE)
        return fenced

    async def _rest(self, slot: Slot, deadline: float) -> Fenced:
        fenced = await self._way.finish(slot.name, deadline)
        if fenced.workers or not await self._way.rest(slot.name):
            await self._way.drop(slot.name)
            await self._end([slot])
        else:
            slot.rests = True
            slot.joined.clear()
            self._changed()
        return fenced

    async def _resume(self) -> None:
        """Workers that kept the data of a parked slice are workers again."""
        for slot in [slot for slot in self._slots if slot.rests]:
            slot.rests, slot.wanted = False, True
            assert slot.keeper is not None
            if slot.keeper.done() or not await self._way.resume(slot.name):
                await self._end([slot])
            else:
                await self._all_join([slot])

    def _most_loaded(self, slots: Sequence[Slot]) -> Slot | None:
        """The slot whose worker is to keep the data of all; None where there is no data, and with devices,
        whose memory a process would hold."""
        workers = {slot: self._way.worker(slot.name) for slot in slots if not slot.devices}
        sizes = {slot: ws.nbytes for slot, ws in workers.items() if ws is not None and slot.joined.is_set()}
        if not any(ws.has_what for ws in workers.values() if ws is not None):
            return None
        return max(sizes, key=lambda slot: sizes[slot], default=None)

    def _least_loaded(self, slots: list[Slot], count: int) -> list[Slot]:
        """The ``count`` slots whose workers hold the least data and work; those that never joined first."""
        load = {
            str(state.name): (len(state.processing), state.nbytes)
            for state in self._scheduler.workers.values()
        }
        return sorted(slots, key=lambda slot: load.get(slot.name, (-1, 0)))[: max(0, count)]

    async def _end(self, slots: list[Slot], grace: float = 0.0) -> None:
        """Have no process in these slots, and forget them."""
        for slot in slots:
            slot.wanted = False
        await asyncio.gather(*(self._empty(slot, grace) for slot in slots))
        self._slots = [slot for slot in self._slots if slot not in slots]
        self._changed()

    async def _empty(self, slot: Slot, grace: float) -> None:
        assert slot.keeper is not None
        await asyncio.wait({slot.keeper}, timeout=grace)
        while not slot.keeper.done():
            if slot.child is not None:
                slot.child.kill()
            await asyncio.wait({slot.keeper}, timeout=_LEAVE)
        if slot.keeper.exception() is not None:
            log.info("a worker of %s had failed: %s", self._open.slice_id, slot.keeper.exception())


def _end_if_alive(child: spawn.Child) -> None:
    """A worker that left its scheduler may hang in a task; its process is of no more use."""
    if child.poll() is None:
        child.kill()
