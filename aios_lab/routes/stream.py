"""The one websocket: whole lists by topic, a snapshot on subscribing, then what is new."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from pydantic import ValidationError
from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from aios_lab.routes.base import RESOURCE, sentence, serialise
from aios_lab.routes.call import Answer, Call, Caller, person
from aios_lab.routes.errors import REFUSALS, problem_of
from aios_lab.routes.services import Services
from aios_lab.routes.table import ROUTES
from aios_lab.wire import Problem, Subscribe

PERIOD = 0.2  # seconds between two pushes of one topic to one client
PROBLEM = "problem"

# A topic is what the endpoint of its name answers.
TOPICS = ("status", "cluster", "slices", "runs", "models", "jobs")
SOURCES = {route.path: route for route in ROUTES if route.method == "GET" and route.path in TOPICS}

# The JSON to send now; None when there is nothing to say.
Reader = Callable[[], Awaitable[str | None]]


class Topic:
    """One topic of one client: a task of its own sends what is new, so a slow topic holds up no other."""

    def __init__(self, read: Reader, send: Callable[[str], Awaitable[None]]) -> None:
        self._read, self._send = read, send
        self._sent: str | None = None
        self._new = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self._run())

    def mark(self) -> None:
        """There may be something new: it is read when the client can take it."""
        self._new.set()

    async def _run(self) -> None:
        while True:
            await self._new.wait()
            self._new.clear()
            data = await self._read()
            if data is not None and data != self._sent:
                await self._send(data)
                self._sent = data
            await asyncio.sleep(PERIOD)


class StreamHandler(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """Sends ``Frame`` messages. A change only marks its topic: what is sent is read when the client can take
    it, so a slow client skips states and always gets the newest. What cannot be served comes as a frame of
    topic 'problem', whose data is null when that is over.
    """

    auth_resource = RESOURCE

    def initialize(self, services: Services) -> None:
        self.services = services
        self.topics: frozenset[str] = frozenset()
        self._subscribed: dict[str, Topic] = {}
        self._seq: Counter[str] = Counter()  # goes on when a topic is left and taken up again
        self._refused: dict[str, Problem] = {}  # what each topic is refused for now
        self._told: Problem | None = None

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        user = self.current_user
        if not await ensure_async(self.authorizer.is_authorized(self, user, "read", RESOURCE)):
            raise web.HTTPError(403)
        self.caller = Caller(person(self.identity_provider, user))
        await super().get(*args, **kwargs)

    async def on_message(self, message: str | bytes) -> None:
        try:
            asked = frozenset(Subscribe.model_validate_json(message).topics)
        except ValidationError as error:
            await self._complain(sentence(error))
            return
        if unknown := asked - SOURCES.keys():
            await self._complain(f"There is no topic {', '.join(sorted(unknown))}.")
        before, self.topics = self.topics, asked & SOURCES.keys()
        for name in before - self.topics:
            self._subscribed.pop(name).task.cancel()
            await self._tell(name, None)
        self.services.feed.watch(self)
        for name in sorted(self.topics - before):
            self._start(name, partial(self._read, name))
            self.mark(name)

    def on_close(self) -> None:
        self.services.feed.leave(self)
        for topic in self._subscribed.values():
            topic.task.cancel()
        super().on_close()

    def mark(self, topic: str) -> None:
        if (subscribed := self._subscribed.get(topic)) is not None:  # none yet: it is marked when it starts
            subscribed.mark()

    def _start(self, name: str, read: Reader) -> None:
        self._subscribed[name] = topic = Topic(read, partial(self._push, name))
        topic.task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A topic that cannot be read must not fall silent: the client is sent away and comes back anew."""
        if not task.cancelled() and (error := task.exception()) is not None:
            if not isinstance(error, WebSocketClosedError):
                self.log.error("The stream of AIOS Lab broke off", exc_info=error)
            self.close(1011)

    async def _read(self, name: str) -> str | None:
        try:
            found = await self.services.perform(SOURCES[name], Call(self.services, self.caller))
        except REFUSALS as refusal:
            await self._tell(name, problem_of(refusal))
            return None
        await self._tell(name, None)
        return serialise(found.body if isinstance(found, Answer) else found)

    async def _tell(self, name: str, problem: Problem | None) -> None:
        """Note what a topic is refused for, None when it is not, and say so where that changes what there is
        to complain of: the newest problem of any topic, null when the last has cleared."""
        if self._refused.get(name) == problem:
            return
        self._refused.pop(name, None)
        if problem is not None:
            self._refused[name] = problem
        newest = next(reversed(self._refused.values()), None)
        if newest != self._told:
            self._told = newest
            await self._push(PROBLEM, "null" if newest is None else newest.model_dump_json())

    async def _push(self, topic: str, data: str) -> None:
        self._seq[topic] += 1
        await self.write_message(f'{{"topic":"{topic}","seq":{self._seq[topic]},"data":{data}}}')

    async def _complain(self, message: str) -> None:
        hint = f'Send {{"topics": [...]}} with some of {", ".join(SOURCES)}.'
        problem = Problem(message=message, reason="bad_request", hint=hint)
        await self._push(PROBLEM, problem.model_dump_json())
