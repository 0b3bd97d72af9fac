"""The leader of runs: a plugin of a Dask scheduler, whose process outlives the kernel that began them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from distributed import Client, Scheduler
from distributed.comm.addressing import get_address_host
from distributed.diagnostics.plugin import SchedulerPlugin

from aios_lab.training.leader.bus import topic_of
from aios_lab.training.leader.controller import CUT_OFF, Controller
from aios_lab.training.leader.teller import Line, Teller
from aios_lab.training.spec import ORDERS, RANKS, SLICE, Lead

log = logging.getLogger("aios_lab.training")

LINE = "aios-uplink"  # the scheduler's extension that speaks with who keeps the records
LINGER = 10.0  # seconds that the leader's own client stays open after its last run
_GOODBYE = 0.5  # seconds it may take to close


async def prepare(dask_scheduler: Scheduler) -> None:
    """For ``Client.run_on_scheduler``: have a leader there that is ready to lead."""
    await Leader.of(dask_scheduler).client()


async def lead(run: Lead, dask_scheduler: Scheduler) -> bool:
    """For ``Client.run_on_scheduler``: lead a run from now on. Returns at once; true where its record is kept
    from here."""
    return await Leader.of(dask_scheduler).lead(run)


async def hear_again(run_id: str, owner: str, dask_scheduler: Scheduler) -> tuple[list[dict[str, Any]], bool]:
    """For ``Client.run_on_scheduler``, from a client that was cut off: what a run told last, and whether it
    goes on. What it tells from now on is sent as before."""
    topic = topic_of(owner)
    dask_scheduler.subscribe_topic(topic, owner)
    told = [message for _, message in dask_scheduler.get_events(topic) if message["run"] == run_id]
    return told, Leader.of(dask_scheduler).leads(run_id)


class Leader(SchedulerPlugin):
    """All runs of one scheduler. Its methods belong to the scheduler's event loop."""

    name = "aios-leader"

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler: Any = scheduler
        self._line: Line | None = scheduler.extensions.get(LINE)
        if self._line is not None:
            self._line.on_order(self._ordered)
        self._runs: dict[str, Controller] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._opening: asyncio.Task[Any] | None = None
        self._closing: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, scheduler: Any) -> Leader:
        """The scheduler's one leader."""
        found: Leader | None = scheduler.plugins.get(cls.name)
        if found is None:
            found = cls(scheduler)
            scheduler.add_plugin(found)
        return found

    async def lead(self, run: Lead) -> bool:
        """Lead a run from now on; whether its record is kept from here."""
        client, owner = await self.client(), run.owner
        topic = topic_of(owner)
        self._scheduler.subscribe_topic(topic, owner)  # before anything is told

        def obey(order: str) -> None:
            controller.post("order", body=order)

        folder = Path(run.specs[0].folder)
        teller = Teller(run.run_id, folder, partial(self._scheduler.log_event, topic), self._line, obey)
        self._runs[run.run_id] = controller = Controller(run, client, teller, self._host_of)
        for address in self._scheduler.workers:
            controller.post("worker", body=address)
        self._stay(controller, run.detached)
        for address in {*run.workers} - {*self._scheduler.workers}:
            controller.post("lost", body=address)
        if owner not in self._scheduler.clients:
            self._owner_gone(controller)
        task = asyncio.create_task(self._lead(controller), name=f"aios run {run.run_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return self._line is not None

    async def _lead(self, controller: Controller) -> None:
        try:
            await controller.run()
        finally:
            del self._runs[controller.id]
            self._stay(controller, False)
            self._close_later()

    def leads(self, run_id: str) -> bool:
        """Whether the run goes on, and its leader is here."""
        return run_id in self._runs

    def _stay(self, controller: Controller, wanted: bool) -> None:
        if self._line is not None:
            self._line.stay(controller.id, wanted)

    def _ordered(self, message: Mapping[str, Any]) -> None:
        if controller := self._runs.get(message["run"]):
            controller.post("order", body=message["order"])

    # --- the leader's own client, which holds the tasks of ranks -------------------------------------------

    async def client(self) -> Any:
        """It is opened where it is not there, and stays for as long as a run does."""
        self._close_later()
        if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
            self._opening = asyncio.create_task(self._open())
        return await asyncio.shield(self._opening)

    async def _open(self) -> Any:
        make: Any = Client  # it has hardly any types
        return await make(
            self._scheduler.address,
            asynchronous=True,
            security=self._scheduler.security,
            set_as_default=False,
            name=self.name,
        )

    def _close_later(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
        self._closing = asyncio.get_running_loop().call_later(LINGER, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if not self._runs:
            task = asyncio.create_task(self._close())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _close(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            with suppress(Exception):  # it is going; whatever it says to that
                await (await opening).close(timeout=_GOODBYE)

    # --- what the scheduler tells --------------------------------------------------------------------------

    def log_event(self, topic: str, msg: Any) -> None:
        if topic == RANKS and (controller := self._runs.get(msg["run"])):
            controller.post(msg["kind"], msg["rank"], msg["body"], msg["attempt"])
        elif topic == ORDERS and (controller := self._runs.get(msg["run"])):
            controller.post(msg["order"], body=msg.get("body"))
        elif topic == SLICE and msg.get("event") == "resize":
            for controller in self._runs.values():
                self._resized(controller, msg)

    def _resized(self, controller: Controller, told: Mapping[str, Any]) -> None:
        if told["kind"] in ("shrinking", "growing"):  # also before workers of another size take their place
            controller.post("leaving", body=told["leaving"])
        elif told["kind"] in ("shrunk", "grown", "resumed"):  # those that are there stay
            for address in self._scheduler.workers:
                controller.post("worker", body=address)

    def _host_of(self, address: str) -> str:
        worker = self._scheduler.workers.get(address)
        return get_address_host(address) if worker is None else str(worker.host)

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        for controller in self._runs.values():
            controller.post("worker", body=worker)

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        for controller in self._runs.values():
            controller.post("lost", body=worker)

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        for controller in self._runs.values():
            if controller.owner == client:
                self._owner_gone(controller)

    def _owner_gone(self, controller: Controller) -> None:
        controller.owner = None
        if not controller.detached:
            controller.post("left", body=CUT_OFF)

    async def before_close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self._close()
