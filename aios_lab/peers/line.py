"""A line between two servers: questions and answers, many at a time and both ways, as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import struct
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from aios_lab.broker.errors import Refused
from aios_lab.routes.errors import REFUSALS

log = logging.getLogger("aios_lab")

LARGEST = 1 << 28  # bytes of one message
_LENGTH = struct.Struct("!I")

# Does what the other side asks: verb and data in, the answer out. What it refuses is refused there, too.
Serve = Callable[[str, Any], Awaitable[Any]]


class LineCut(Exception):
    """The line was cut before the answer came; nobody knows whether what was asked is done."""


class Line:
    """One end. ``run`` it for as long as it is to live: answers come, and questions are served, meanwhile."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, serve: Serve) -> None:
        self._reader, self._writer, self._serve = reader, writer, serve
        self._numbers = count()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._cut = False

    async def run(self) -> None:
        """Returns when the line is cut, by either side or because a process ended."""
        try:
            while True:
                (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
                if length > LARGEST:
                    return
                self._take(json.loads(await self._reader.readexactly(length)))
        except (OSError, EOFError, ValueError):
            return  # it ended, or it speaks another language
        finally:
            self.close()
            for task in self._serving:
                task.cancel()

    def close(self) -> None:
        """Cut the line. Who waits for an answer gets a LineCut."""
        self._cut = True
        self._writer.close()
        asked, self._asked = self._asked, {}
        for answer in asked.values():
            if not answer.done():
                answer.set_exception(LineCut())

    def begin(self, verb: str, data: Any = None) -> asyncio.Future[Any]:
        """Ask; the future has the answer. It raises Refused as the other side did, or LineCut."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may hear it
        if self._cut:
            answer.set_exception(LineCut())
            return answer
        number = next(self._numbers)
        self._asked[number] = answer
        self._send({"ask": number, "verb": verb, "data": data})
        return answer

    async def ask(self, verb: str, data: Any = None, timeout: float | None = None) -> Any:
        """The answer. Raises Refused, LineCut; TimeoutError after ``timeout`` seconds (None: never)."""
        async with asyncio.timeout(timeout):
            await self._room()
            return await asyncio.shield(self.begin(verb, data))

    async def tell(self, verb: str, data: Any) -> None:
        """Say it, when the other side has room to hear it. Raises LineCut."""
        await self._room()
        self._send({"verb": verb, "data": data})

    async def _room(self) -> None:
        """A stopped process reads nothing: what is said to it must not pile up here."""
        try:
            await self._writer.drain()
        except OSError:
            raise LineCut from None

    def _send(self, message: Any) -> None:
        data = json.dumps(message).encode()
        self._writer.write(_LENGTH.pack(len(data)) + data)

    def _take(self, message: Any) -> None:
        if not isinstance(message, dict):
            raise ValueError("a message is an object")
        if "verb" in message:
            task = asyncio.get_running_loop().create_task(self._answer(message))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        elif (answer := self._asked.pop(message.get("answer", -1), None)) is not None and not answer.done():
            if "refused" in message:
                answer.set_exception(Refused(**message["refused"]))
            else:
                answer.set_result(message["data"])

    async def _answer(self, message: dict[str, Any]) -> None:
        reply: dict[str, Any] = {"answer": message.get("ask")}
        try:
            reply["data"] = await self._serve(message["verb"], message["data"])
        except REFUSALS as refusal:
            names = ("status", "message", "reason", "hint")
            reply["refused"] = {name: getattr(refusal, name) for name in names}
        except Exception:
            log.exception("Another server's '%s' could not be answered", message["verb"])
            reply["refused"] = FAULT
        if not self._cut and "ask" in message:
            self._send(reply)


FAULT = {
    "status": 409,
    "message": "The server that has the broker could not do this because of a fault of its own.",
    "reason": "server_error",
    "hint": "That server's log tells more; please report it.",
}
