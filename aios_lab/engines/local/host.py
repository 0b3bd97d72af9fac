"""The slice host: one process a slice, with its Dask scheduler and the watch over its workers."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.protocol.pickle import dumps

from aios_lab.engines import spawn
from aios_lab.engines.base import EngineError
from aios_lab.engines.local import dashboard, orders, worker
from aios_lab.engines.local.fleet import Fleet
from aios_lab.engines.local.limits import Excess, Limits, roots, watch
from aios_lab.engines.local.nodes import SliceScheduler, configure, security
from aios_lab.engines.local.resizing import Resize
from aios_lab.engines.local.tasks import Tasks
from aios_lab.engines.local.uplink import EXTENSION, Uplink

log = logging.getLogger(__name__)

TOPIC = "aios"  # Dask events of the slice, for its owner's client
_CLOSING = 1.0  # seconds that the scheduler may take to say goodbye
# What a worker had too much of: how much it was, and how much it may be.
_EXCESS: dict[str, Callable[[int, int], str]] = {
    "memory": lambda used, limit: (
        f"with all its processes it used {used / 1e6:.0f} MB of the {limit / 1e6:.0f} MB that a worker of "
        "this slice may use. Ask for more memory a worker, or use less at a time."
    ),
    "processes": lambda used, limit: (
        f"with all that its tasks started it was {used} processes, of the {limit} that a worker may be. "
        "Start fewer at a time, or have the administrator set a higher c.AIOSLab.max_processes."
    ),
}


def main(payload: bytes, fds: dict[str, int]) -> int:
    """Target of ``spawn``: ``payload`` is an ``orders.Open``, ``fds["control"]`` the line to the engine."""
    configure(accelerators=False)
    asyncio.run(Host(orders.load_open(payload)).run(socket.socket(fileno=fds["control"])))
    return 0


class _Leavers(SchedulerPlugin):
    """Tells the fleet which of its workers the scheduler has lost."""

    name = "aios-leavers"

    def __init__(self) -> None:
        self.fleet: Fleet | None = None
        self._names: dict[str, str] = {}

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        self._names[worker] = str(scheduler.workers[worker].name)

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        name = self._names.pop(worker, None)
        if self.fleet is not None and name is not None:
            self.fleet.member_left(name)


class Host:
    """Obeys the engine, one order at a time, until it says close or its line breaks. Only a dashboard is made
    beside: who looks at a slice that shrinks need not wait until it has.

    The engine may be another from one order to the next: it says hello first, and orders of the earlier one
    that are left come to their end before its own begin.
    """

    def __init__(self, order: orders.Open) -> None:
        self._open = order
        self._told: orders.Scale | None = None
        self._said = b""
        self._family: dict[int, int] = {}
        self._parked = False
        self._dashboard: asyncio.Task[None] | None = None

    async def run(self, control: socket.socket) -> None:
        reader, self._writer = await asyncio.open_connection(sock=control)
        leavers = _Leavers()
        self._tasks = Tasks(self._report)
        self._scheduler = SliceScheduler(
            host="127.0.0.1",
            port=0,
            protocol="tls",
            security=security(self._open.credentials),
            dashboard=False,
            plugins=[leavers, self._tasks],
            on_running=lambda name: self._fleet.member_joined(name),
        )
        await self._scheduler
        self._uplink = self._scheduler.extensions[EXTENSION] = Uplink(self._send_if_read, _stay)
        self._fleet = leavers.fleet = Fleet(self._scheduler, self._open, self._report, self._tasks)
        self._report()
        guard = asyncio.create_task(watch(self._limits, self._spawned, self._exceeded))
        try:
            await self._serve(reader)
        finally:
            guard.cancel()
            await self._say_goodbye()

    async def _serve(self, reader: asyncio.StreamReader) -> None:
        todo: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        working = {asyncio.create_task(self._obey_in_turn(todo))}
        try:
            while line := await reader.readline():
                order = _understood(line)
                match order.get("op"):
                    case "close":
                        return
                    case "hello":
                        shape = None if self._told is None else self._told.shape
                        self._send(orders.Hello(self._open, shape, self._state()))
                    case "answer":
                        self._uplink.answered(order["number"], order["answer"])
                    case "tell":
                        self._uplink.ordered(order["message"])
                    case "dashboard":
                        working.add(beside := asyncio.create_task(self._carry_out(order)))
                        beside.add_done_callback(working.discard)
                    case str():
                        todo.put_nowait(order)
        finally:
            for task in working:
                task.cancel()

    async def _obey_in_turn(self, todo: asyncio.Queue[dict[str, Any]]) -> None:
        while True:
            await self._carry_out(await todo.get())

    async def _carry_out(self, order: dict[str, Any]) -> None:
        try:
            await self._obey(order)
        except EngineError as error:
            self._send({"done": order["id"], "error": str(error)})
        except Exception as error:  # it costs this order, not the slice with all that its workers hold
            log.exception("%s: an order failed: %s", self._open.slice_id, order)
            message = f"The slice could not do what was asked ({error!r}). The engine's log has details."
            self._send({"done": order["id"], "error": message})
        else:
            self._send({"done": order["id"], "report": dataclasses.asdict(self._state())})

    async def _obey(self, order: dict[str, Any]) -> None:
        match order["op"]:
            case "scale":
                self._told = orders.load_scale(order["scale"])
                await self._scale(self._told)
            case "adopt":
                await self._adopt(order["slice_id"])
            case "restart":
                await self._scheduler.restart(wait_for_workers=False, stimulus_id="aios-restart")
                await self._fleet.replace_all()
            case "dashboard":
                await self._open_dashboard(Path(order["path"]))
            case unknown:
                raise EngineError(f"The slice host knows no order {unknown!r}.")

    async def _scale(self, order: orders.Scale) -> None:
        """Who uses the slice is told before and after; the engine hears of what had to be ended."""
        leaving = self._fleet.leaving(order)
        resize = Resize(self._fleet.size, order, self._parked, self._fleet.addresses(leaving))
        if resize.told:
            self._scheduler.log_event(TOPIC, resize.first)
        fenced = await self._fleet.scale(order, leaving)
        self._parked = not order.workers
        if fenced.workers:
            self._send({"fenced": fenced._asdict()})
        if resize.told:
            self._scheduler.log_event(TOPIC, resize.last)

    async def _adopt(self, slice_id: str) -> None:
        """A spare becomes a slice: from now on its processes, and those that they start, bear its name."""
        self._open = self._fleet.name(slice_id)
        os.environ["AIOS_SLICE"] = slice_id
        pickled: Callable[[object], bytes] = dumps  # it has no types
        rename = {"function": pickled(worker.rename), "args": pickled((slice_id,))}
        answers = await self._scheduler.broadcast(msg=rename | {"op": "run", "wait": True})
        if failed := [address for address, answer in answers.items() if answer["status"] != "OK"]:
            raise EngineError(f"The workers {', '.join(failed)} of a spare slice did not answer.")

    async def _open_dashboard(self, path: Path) -> None:
        """Costs a second and some memory: nothing of it is there before somebody looks. All who look wait for
        the same one, which is begun anew if it failed."""
        failed = self._dashboard is not None and self._dashboard.done() and self._dashboard.exception()
        if self._dashboard is None or failed:
            self._dashboard = asyncio.create_task(dashboard.serve(self._scheduler, path))
        await asyncio.shield(self._dashboard)

    async def _say_goodbye(self) -> None:
        try:
            async with asyncio.timeout(_CLOSING):
                await self._scheduler.close()
        except TimeoutError:
            log.info("%s: some clients or workers did not take leave", self._open.slice_id)

    def _state(self) -> orders.Report:
        workers = [pid for worker in self._fleet.pids for pid in roots(worker, self._family)]
        pids = [os.getpid(), *workers]
        address, fleet = self._scheduler.address, self._fleet
        return orders.Report(address, fleet.joined, fleet.devices, pids, computing=self._tasks.computing)

    def _report(self) -> None:
        """Tell the engine of every change; unchanged states are not repeated."""
        line = orders.dump({"report": dataclasses.asdict(self._state())})
        if line != self._said:
            self._said = line
            self._writer.write(line)

    def _send(self, message: dict[str, Any] | orders.Hello) -> None:
        self._writer.write(orders.dump(message))

    def _send_if_read(self, line: bytes) -> None:
        """Not where what was sent before still lies here: nobody reads it for now."""
        if not self._writer.transport.get_write_buffer_size():
            self._writer.write(line)

    def _limits(self) -> list[Limits]:
        most = self._open.processes
        slots = [(slot.child, slot.shape.memory) for slot in self._fleet.slots]
        return [Limits(child.pid, memory, most) for child, memory in slots if child is not None]

    def _spawned(self, family: dict[int, int]) -> None:
        self._family = family
        self._report()

    def _exceeded(self, excess: Excess) -> None:
        """Say who is ended and why, to the log and to whoever listens on the slice."""
        whole = excess.culprit == excess.worker
        what = "The worker" if whole else f"Process {excess.culprit}, spawned by a worker,"
        message = f"{what} was ended: {_EXCESS[excess.what](excess.used, excess.limit)}"
        log.warning("%s: %s", self._open.slice_id, message)
        event = {"event": excess.what, "pid": excess.culprit, "used": excess.used, "limit": excess.limit}
        self._scheduler.log_event(TOPIC, event | {"message": message})
        self._send({"problem": message})


def _stay(wanted: bool) -> None:
    with suppress(spawn.SpawnError):  # the forkserver is gone, and with it this process in a moment
        spawn.stay(wanted)


def _understood(line: bytes) -> dict[str, Any]:
    """An order; nothing where an engine was killed in the middle of writing it."""
    try:
        order = json.loads(line)
    except ValueError:
        return {}
    return order if isinstance(order, dict) else {}
