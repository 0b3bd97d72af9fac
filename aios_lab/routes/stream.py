"""The one websocket: whole lists by topic, a snapshot on subscribing, then what is new."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from pydantic import ValidationError
from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from aios_lab.routes import cluster, jobs, models, runs, slices
from aios_lab.routes.base import RESOURCE, sentence, serialise
from aios_lab.routes.call import Call, Caller, person
from aios_lab.routes.errors import REFUSALS, problem_of
from aios_lab.routes.services import Services
from aios_lab.wire import Problem, Subscribe

PERIOD = 0.2  # seconds between two pushes to one client

SOURCES: Mapping[str, Callable[[Call], Awaitable[Any]]] = {
    "cluster": cluster.cluster,
    "slices": slices.list_slices,
    "runs": runs.list_runs,
    "models": models.list_models,
    "jobs": jobs.list_jobs,
}


class StreamHandler(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """Sends ``Frame`` messages. A change only marks its topic: what is sent is read when the client can take
    it, so a slow client skips states and always gets the newest. What cannot be served comes as a frame of
    topic 'problem'.
    """

    auth_resource = RESOURCE

    def initialize(self, services: Services) -> None:
        self.services = services
        self.topics: frozenset[str] = frozenset()
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()
        self._sent: dict[str, str] = {}
        self._seq: Counter[str] = Counter()
        self._complaint: Problem | None = None
        self._sender: asyncio.Task[None] | None = None

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        user = self.current_user
        if not await ensure_async(self.authorizer.is_authorized(self, user, "read", RESOURCE)):
            raise web.HTTPError(403)
        self.caller = Caller(person(self.identity_provider, user))
        await super().get(*args, **kwargs)

    def open(self, *args: str, **kwargs: str) -> None:
        super().open(*args, **kwargs)
        self._sender = asyncio.get_running_loop().create_task(self._send_changes())

    def on_message(self, message: str | bytes) -> None:
        try:
            topics = frozenset(Subscribe.model_validate_json(message).topics)
        except ValidationError as error:
            self._complain(sentence(error))
            return
        if unknown := topics - SOURCES.keys():
            self._complain(f"There is no topic {', '.join(sorted(unknown))}.")
        new = (topics & SOURCES.keys()) - self.topics
        self.topics = topics & SOURCES.keys()
        for topic in self._sent.keys() - self.topics:
            del self._sent[topic]
        self.services.feed.watch(self)
        for topic in new:
            self.mark(topic)

    def on_close(self) -> None:
        self.services.feed.leave(self)
        if self._sender is not None:
            self._sender.cancel()
        super().on_close()

    def mark(self, topic: str) -> None:
        self._dirty.add(topic)
        self._wake.set()

    async def _send_changes(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            dirty, self._dirty = self._dirty, set()
            if "problem" in dirty and self._complaint is not None:
                await self._push("problem", self._complaint.model_dump_json())
            for topic in sorted(dirty & self.topics):
                await self._send(topic)
            await asyncio.sleep(PERIOD)

    async def _send(self, topic: str) -> None:
        try:
            data = serialise(await SOURCES[topic](Call(self.services, self.caller)))
        except REFUSALS as refusal:
            topic, data = "problem", problem_of(refusal).model_dump_json()
        if self._sent.get(topic) == data:
            return
        self._sent[topic] = data
        await self._push(topic, data)

    async def _push(self, topic: str, data: str) -> None:
        self._seq[topic] += 1
        frame = f'{{"topic":"{topic}","seq":{self._seq[topic]},"data":{data}}}'
        try:
            await self.write_message(frame)
        except WebSocketClosedError:  # it went while we wrote; on_close tidies up
            return

    def _complain(self, message: str) -> None:
        hint = f'Send {{"topics": [...]}} with some of {", ".join(SOURCES)}.'
        self._complaint = Problem(message=message, reason="bad_request", hint=hint)
        self.mark("problem")
