"""The side of the server that has the broker: what others ask of it, and what becomes of their kernels."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from aios_lab import __version__
from aios_lab.broker import Owner
from aios_lab.broker.errors import Refused
from aios_lab.kernel_claims import OwnBroker, device_variables
from aios_lab.peers.line import Line, LineCut
from aios_lab.peers.rendezvous import process_of
from aios_lab.routes import ROUTES
from aios_lab.routes.base import serialise
from aios_lab.routes.call import Answer, Call, Caller
from aios_lab.routes.services import Services
from aios_lab.wire import ClaimRequest

log = logging.getLogger("aios_lab")

REMEMBERED = 1000  # events for a server that is stopped; the oldest are dropped
SERVER_ENDED = "The Jupyter server of its kernel ended."
_ROUTES = {(route.method, route.path): route for route in ROUTES}


@dataclass
class Follower:
    """A process whose server uses this one's broker, and the slices of its kernels. It outlives its line, and
    ends with the process: who is only stopped keeps everything."""

    pid: int
    alive: int | None  # a file descriptor that is readable when the process has ended
    slices: set[str] = field(default_factory=set)
    line: Line | None = None


class Leading:
    """All servers that follow this one. ``places`` are the variables that their kernels get as well;
    ``options`` are this server's, of which those of the one that leads count for all."""

    def __init__(
        self,
        services: Services,
        places: Callable[[], Mapping[str, str]],
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.options = dict(options or {})
        self._services = services
        self._places = places
        self._own = OwnBroker(services)
        self._followers: dict[int, Follower] = {}
        self._lines: set[Line] = set()
        self._open = asyncio.Event()
        self._closed = True

    def begin(self) -> None:
        """From now on others may come, and wait until there is a broker to use."""
        self._followers = {}  # an earlier attempt's: they say hello again
        self._open.clear()
        self._closed = False

    def open(self) -> None:
        """From now on there is a broker to use. Who came before has waited."""
        self._open.set()

    @property
    def slices(self) -> frozenset[str]:
        """The slices of all followers' kernels."""
        return frozenset().union(*(one.slices for one in self._followers.values()))

    def emit(self, schema: str, data: dict[str, Any]) -> None:
        """Have the followers' event buses say it too."""
        for line in self._lines:
            if isinstance(line, Listening):
                line.event(schema, data)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one line for as long as it lives."""
        pid = process_of(writer)
        if pid is None or self._closed:
            writer.close()
            return
        line = Listening(reader, writer, self._services, lambda *said: self._serve(pid, line, *said))
        self._lines.add(line)
        try:
            await line.run()
        finally:
            self._lines.discard(line)
            line.leave()
            if (follower := self._followers.get(pid)) is not None and follower.line is line:
                follower.line = None

    def close(self) -> None:
        """Cut all lines: their servers look for another leader from now on, and ``slices`` stays as it is."""
        self._closed = True
        for line in list(self._lines):
            line.close()
        for follower in self._followers.values():
            self._forget(follower)

    async def _serve(self, pid: int, line: Listening, verb: str, data: Any) -> Any:
        await self._open.wait()
        if verb == "hello":
            return self._hello(pid, line, data)
        if verb == "perform":
            return await self._perform(data)
        if (follower := self._followers.get(pid)) is None:
            raise Refused(409, "This server has taken leave.", "not_following", "Say hello first.")
        if verb == "file":
            return await self._file(follower, data)
        if verb == "change":
            return self._change(follower, data)
        if verb == "report":
            return self._report(follower, line, data)
        if verb == "bye":
            return self._gone(follower, "The Jupyter server of its kernel was shut down.")
        raise Refused(404, f"There is no verb {verb}.", "not_found", "Run the same version in both servers.")

    def _hello(self, pid: int, line: Line, data: Any) -> Any:
        if data["version"] != __version__:
            raise Refused(
                409,
                f"The data folder is in use by a Jupyter server (process {os.getpid()}) with AIOS Lab "
                f"{__version__}, and this one has {data['version']}.",
                "other_version",
                "Stop that server, or start this one with a data_dir of its own.",
            )
        if pid not in self._followers:
            alive = os.pidfd_open(pid)
            self._followers[pid] = new = Follower(pid, alive)
            asyncio.get_running_loop().add_reader(alive, self._gone, new, SERVER_ENDED)
        follower, broker = self._followers[pid], self._services.broker
        follower.line = line
        known: set[str] = set()
        for slice_id, token, busy in data["kernels"]:
            if broker.reclaim(slice_id, token):
                known.add(slice_id)
                follower.slices.add(slice_id)  # at once: it has an owner also if another one is refused
                broker.executing(slice_id, busy)
        for slice_id in follower.slices - known:  # filed when the line was cut: its kernel never heard of it
            self._own.change("ended", slice_id, "Its kernel started without it.")
        follower.slices = known
        places = {**self._places(), **device_variables(self._services)}
        return {"slices": sorted(known), "places": places, "options": self.options}

    async def _perform(self, data: Any) -> Any:
        route = _ROUTES[data["method"], data["path"]]
        caller = Caller(data["user"], data["slice_id"])
        if caller.slice_id is not None and not self._services.broker.living(caller.slice_id):
            raise Refused(
                403,
                "This kernel's token is not known to the server.",
                "forbidden",
                "Restart the kernel.",
            )
        body = route.body.model_validate(data["body"]) if route.body is not None else None
        result = await route.call(Call(self._services, caller, data["ids"], data["query"], body))
        if not isinstance(result, Answer):
            result = Answer(serialise(result), min(route.answer))
        return {**asdict(result), "body": serialise(result.body)}

    async def _file(self, follower: Follower, data: Any) -> Any:
        request = ClaimRequest.model_validate(data["request"])
        slice_id, token = await self._own.file(request, Owner(**data["owner"]), data["problem"])
        follower.slices.add(slice_id)
        return [slice_id, token]

    def _change(self, follower: Follower, data: Any) -> None:
        what, slice_id, why = data
        self._own.change(what, slice_id, why)
        if what == "ended":
            follower.slices.discard(slice_id)

    def _report(self, follower: Follower, line: Listening, topics: Any) -> int:
        """What is watched there; it learns on how many of its kernels' slices a run goes on."""
        line.watch(frozenset(topics))
        views = self._services.broker.views(None)
        return sum(one.busy for one in views if one.id in follower.slices)

    def _gone(self, follower: Follower, why: str) -> None:
        self._forget(follower)
        self._followers.pop(follower.pid, None)
        for slice_id in follower.slices:
            try:
                self._own.change("ended", slice_id, why)
            except Exception:  # it costs this slice, not those of the server's other kernels
                log.exception("Slice %s could not be ended", slice_id)
        if follower.line is not None:
            asyncio.get_running_loop().call_soon(follower.line.close)  # when a goodbye has been answered

    @staticmethod
    def _forget(follower: Follower) -> None:
        if follower.alive is not None:
            asyncio.get_running_loop().remove_reader(follower.alive)
            os.close(follower.alive)
            follower.alive = None


class Listening(Line):
    """A line whose other end hears of changes, as a websocket's client does: what is new comes when there is
    room for it, and comes once."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        services: Services,
        serve: Callable[[str, Any], Awaitable[Any]],
    ) -> None:
        super().__init__(reader, writer, serve)
        self.topics: frozenset[str] = frozenset()
        self._feed = services.feed
        self._marked: set[str] = set()
        self._events: deque[tuple[str, dict[str, Any]]] = deque(maxlen=REMEMBERED)
        self._new = asyncio.Event()
        self._telling = asyncio.get_running_loop().create_task(self._tell_news())

    def watch(self, topics: frozenset[str]) -> None:
        """Hear of these topics from now on. Each new one may have changed since its snapshot was read."""
        before, self.topics = self.topics, topics
        if topics != before:
            self._feed.watch(self)
        for topic in topics - before:
            self.mark(topic)

    def mark(self, topic: str) -> None:
        self._marked.add(topic)
        self._new.set()

    def event(self, schema: str, data: dict[str, Any]) -> None:
        self._events.append((schema, data))
        self._new.set()

    def leave(self) -> None:
        self._feed.leave(self)
        self._telling.cancel()

    async def _tell_news(self) -> None:
        while True:
            await self._new.wait()
            self._new.clear()
            changed, self._marked = sorted(self._marked), set()
            events = list(self._events)
            self._events.clear()
            try:
                await self.tell("news", {"changed": changed, "events": events})
            except LineCut:
                return
