"""Which server has the broker: this one, when the data folder is free, else the one that it then follows."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from aios_lab import __version__
from aios_lab.broker import Broker, Owner
from aios_lab.broker.errors import Refused
from aios_lab.kernel_claims import Change, OwnBroker
from aios_lab.peers.leading import Leading
from aios_lab.peers.line import Line, LineCut
from aios_lab.peers.rendezvous import connect
from aios_lab.routes.call import Answer, Call, Route
from aios_lab.routes.services import Services
from aios_lab.wire import ClaimRequest, Problem

log = logging.getLogger("aios_lab")

RETRY, RARELY = 0.2, 2.0  # seconds between two looks for who leads, at first and when it takes long
AT_FIRST = 1.0  # seconds a starting server looks before it says that it has no broker
PATIENCE = 15.0  # seconds that requests wait for the successor of a leader that is gone
ANSWER = 30.0  # seconds a leader has to answer; the longest that a question may wait there is 20
REPORT = 2.0  # seconds between two reports to the leader
ALWAYS = frozenset({"status", "openapi.json"})  # what every server answers by itself, at any time
TAKEN = "data_dir_in_use"
# What may pass by itself: all else that keeps a server from leading is for a person to mend.
PASSING = frozenset(
    {
        "data_dir_unavailable",
        "engine_failed",
        "ledger_conflict",
        "ledger_in_use",
        "ledger_unavailable",
        "machine_in_use",
        "machine_lock_unavailable",
        "runtime_dir_unavailable",
    }
)
OTHERWISE = (
    "AIOSLab.%s is %s in this server and %s in the one that has the broker, where it counts: stop both, and "
    "start the one first whose options are to hold."
)


def _silent() -> Refused:
    return Refused(
        409,
        "The Jupyter server that has the broker does not answer.",
        "leader_silent",
        "It may be stopped or overloaded: continue it, or end it, and this server takes over.",
    )


def _ended_meanwhile() -> Refused:
    return Refused(
        409,
        "The Jupyter server that had the broker ended while it did this.",
        "leader_ended",
        "Look at what came of it, and ask again.",
    )


class Peers:
    """This server among those of one user that share a data folder.

    Implements ``services.Elsewhere`` and ``kernel_claims.Keeper``. ``lead`` opens everything here, and
    returns what keeps it from that; with 'data_dir_in_use' this server follows whoever has it, and tries
    again when that one is gone. With what may pass it shows that, and tries again now and then. ``emit`` says
    an event on this server's bus.
    """

    def __init__(
        self,
        services: Services,
        place: Path,
        lead: Callable[[], Awaitable[Problem | None]],
        leading: Leading,
        emit: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self.busy = 0  # slices of this server's kernels, at the leader, on which a run goes on
        self.places: Mapping[str, str] = {}
        self._services = services
        self._place = place
        self._lead = lead
        self._leading = leading
        self._own = OwnBroker(services)
        self._emit = emit
        self._untold: deque[tuple[Change, str, str]] = deque()
        self._changed, self._news = asyncio.Event(), asyncio.Event()
        self._leader: asyncio.Future[Line | None]  # None: what there is to do is done here
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when it is known who has the broker, or that nobody can tell; the search goes on."""
        self._seek()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="aios peers")
        await asyncio.wait([self._leader], timeout=PATIENCE)

    async def stop(self) -> None:
        """Follow nobody, and be followed by nobody. The leader ends the slices of this server's kernels."""
        if self._task is None:
            return
        line = self._leader.result() if self._leader.done() else None
        if line is not None:
            try:
                await line.ask("bye", timeout=RETRY * 10)
            except (LineCut, Refused, TimeoutError):
                log.info("The server that had the broker did not take leave")
        self._task.cancel()
        await asyncio.wait([self._task])
        self._leading.close()
        self._services.elsewhere = None

    def reclaim(self, broker: Broker) -> None:
        """The kernels of this server go on at the broker that it has now."""
        kernels = self._services.kernels
        for slice_id, kernel in list(kernels.items()):
            if broker.reclaim(slice_id, kernel.token):
                broker.executing(slice_id, kernel.busy)
            else:
                del kernels[slice_id]

    async def _run(self) -> None:
        patience = monotonic() + AT_FIRST
        while True:
            problem = await self._lead()
            if problem is not None and problem.reason in PASSING:
                self._stuck(problem)
                await asyncio.sleep(RARELY)
                continue
            if problem is None or problem.reason != TAKEN:
                return self._settle(problem)
            try:
                reader, writer = await connect(self._place)
                await self._follow(Line(reader, writer, self._hear))
                patience = monotonic() + PATIENCE
            except Refused as refused:
                self._stuck(refused.problem)
            except OSError:  # it starts or ends just now, or is out of reach
                if monotonic() > patience:
                    self._stuck(problem)
            await asyncio.sleep(RETRY if monotonic() < patience else RARELY)

    def _seek(self) -> None:
        """Nobody is known to lead: requests wait."""
        self._leader = asyncio.get_running_loop().create_future()
        self._services.problems = []
        self._services.elsewhere = self

    def _settle(self, problem: Problem | None) -> None:
        """Everything is done here from now on, or refused here where ``problem`` is in the way."""
        if problem is None:
            log.info("AIOS Lab has its broker in this server.")
        else:
            self._stuck(problem)
        self._services.elsewhere = None
        self.places = {}
        self._found(None)
        while self._untold:
            self._own.change(*self._untold.popleft())

    def _stuck(self, problem: Problem) -> None:
        """Requests are refused until somebody leads."""
        if self._services.problems != [problem]:
            log.error("AIOS Lab: %s %s", problem.message, problem.hint)
        self._services.close(problem)
        self._found(None)

    def _found(self, line: Line | None) -> None:
        if self._leader.done():
            self._leader = asyncio.get_running_loop().create_future()
        self._leader.set_result(line)

    async def _follow(self, line: Line) -> None:
        """Use the broker at the other end for as long as the line lives. Raises: Refused, it is of no use."""
        tasks = [asyncio.create_task(line.run())]
        try:
            self._greeted(await self._greet(line))
            self._services.problems = []
            log.info("AIOS Lab uses the broker of another server of yours.")
            self._found(line)
            self._services.feed.changed_all()
            tasks += [asyncio.create_task(self._report(line)), asyncio.create_task(self._tell(line))]
            await tasks[0]
            self._seek()
        except LineCut:
            return
        finally:
            line.close()
            for task in tasks:
                task.cancel()

    async def _greet(self, line: Line) -> Any:
        kernels = self._services.kernels.items()
        told = [[slice_id, kernel.token, kernel.busy] for slice_id, kernel in kernels]
        try:
            return await line.ask("hello", {"version": __version__, "kernels": told}, PATIENCE)
        except TimeoutError:
            raise _silent() from None

    def _greeted(self, answer: Any) -> None:
        self.places = answer["places"]
        for name, here in self._leading.options.items():
            if here != (there := answer["options"].get(name)):
                log.warning(OTHERWISE, name, here, there)
        for slice_id in self._services.kernels.keys() - set(answer["slices"]):
            del self._services.kernels[slice_id]  # it ended while nobody spoke for it

    async def _hear(self, verb: str, data: Any) -> None:
        for schema, event in data["events"]:
            self._emit(schema, event)
        self._services.feed.changed(*data["changed"])

    async def _report(self, line: Line) -> None:
        while True:
            self._news.clear()
            try:
                self.busy = await line.ask("report", sorted(self._services.feed.topics))
                async with asyncio.timeout(REPORT):
                    await self._news.wait()
            except TimeoutError:
                continue
            except Refused as refused:
                log.info("The server that has the broker heard no report: %s", refused.message)
                await asyncio.sleep(REPORT)
            except LineCut:
                return

    def report(self) -> None:
        """There is something new for the leader: it hears of it now and not with the next report."""
        self._news.set()

    async def _tell(self, line: Line) -> None:
        """What happened to kernels reaches the leader in order, or its successor where it does not."""
        while True:
            self._changed.clear()
            while self._untold:
                try:
                    await line.ask("change", self._untold[0])
                except Refused as refused:
                    log.warning("%s: %s %s", self._untold[0], refused.message, refused.hint)
                except LineCut:
                    return
                self._untold.popleft()
            await self._changed.wait()

    async def _there(self) -> Line | None:
        """The line to who leads; None where this server does, or where after a while nobody does."""
        try:
            return await asyncio.wait_for(asyncio.shield(self._leader), PATIENCE)
        except TimeoutError:
            return None

    async def perform(self, route: Route, call: Call) -> Any:
        """Have it done where the broker is."""
        line = None if route.path in ALWAYS and not self._following else await self._there()
        if line is None:
            return await route.call(call)
        caller, body = call.caller, call.body
        asked = {
            "method": route.method,
            "path": route.path,
            "ids": dict(call.ids),
            "query": dict(call.query),
            "body": None if body is None else body.model_dump(mode="json", exclude_unset=True),
            "user": caller.user,
            "slice_id": caller.slice_id,
        }
        try:
            return Answer(**await line.ask("perform", asked, ANSWER))
        except TimeoutError:
            raise _silent() from None
        except LineCut:
            if route.method != "GET":
                raise _ended_meanwhile() from None
        await asyncio.sleep(RETRY)
        return await self.perform(route, call)

    @property
    def _following(self) -> bool:
        return self._leader.done() and self._leader.result() is not None

    async def file(self, request: ClaimRequest, owner: Owner, problem: str) -> tuple[str, str]:
        """As ``Keeper`` says. A claim whose kernel could not wait for it is withdrawn."""
        line = await self._there()
        if line is None:
            return await self._own.file(request, owner, problem)
        asked = {"request": request.model_dump(mode="json", exclude_unset=True), "problem": problem}
        filed = line.begin("file", asked | {"owner": asdict(owner)})
        try:
            async with asyncio.timeout(PATIENCE):
                slice_id, token = await asyncio.shield(filed)
            return slice_id, token
        except LineCut:
            await asyncio.sleep(RETRY)
            return await self.file(request, owner, problem)
        except BaseException as error:
            filed.add_done_callback(self._withdraw)
            if isinstance(error, TimeoutError):
                raise _silent() from None
            raise

    def _withdraw(self, filed: asyncio.Future[Any]) -> None:
        if not filed.cancelled() and filed.exception() is None:
            self.change("ended", filed.result()[0], "Its kernel started without it.")

    def change(self, what: Change, slice_id: str, why: str) -> None:
        if self._services.elsewhere is None:
            self._own.change(what, slice_id, why)
        else:
            self._untold.append((what, slice_id, why))
            self._changed.set()
