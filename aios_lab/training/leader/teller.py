"""Tells what happens in a run: at once to its kernel, and twice a second to whoever keeps its record."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from aios_lab.training.news import APPENDED, News, update_of
from aios_lab.training.untold import leave_untold

log = logging.getLogger("aios_lab.training")

INTERVAL = 0.5  # seconds between two messages for the record
HEARTBEAT = 1.0  # seconds after which one comes without news
FINAL_WAIT = 5.0  # seconds to tell the end to a record that does not answer
SHORT = 1 << 16  # bytes of one field that are told also where all of them together are too long

Message = Mapping[str, Any]
Say = Callable[[Message], None]  # one message to the kernel


class Line(Protocol):
    """The scheduler's line to whoever keeps the records of its runs."""

    def tell(self, message: Message) -> Awaitable[Message]:
        """The answer, whenever it comes; the message may arrive twice. Raises ValueError where it is too long
        to be sent."""

    def stay(self, name: str, wanted: bool) -> None:
        """Have the scheduler go on also while nobody listens."""

    def on_order(self, hear: Callable[[Message], None]) -> None:
        """Hear what is said at the other end."""


class Teller:
    """``say`` reaches the kernel, where one listens, and ``line`` the record, where that is kept elsewhere;
    ``obey`` hears its orders. ``folder`` is the run's."""

    def __init__(
        self, run_id: str, folder: Path, say: Say, line: Line | None, obey: Callable[[str], None]
    ) -> None:
        self._run_id = run_id
        self._folder = folder
        self._say = say
        self._line = line
        self._obey = obey
        self._order = "go"
        self._news = News()
        self._numbers = itertools.count(1)
        self._words = itertools.count(1)  # numbers of what is said to the kernel
        self._ending = asyncio.Event()
        self._record = None if line is None else asyncio.create_task(self._keep_record(line))

    def tell(self, **news: Any) -> None:
        """Fields of ``wire.RunUpdate``; None leaves one as it is."""
        given = {name: value for name, value in news.items() if value is not None}
        self._speak(update=_plain(given))
        if self._line is not None:
            self._news.tell(**given)

    async def finish(self, ends: list[dict[str, Any]]) -> None:
        """Tell what is left, and then that it is over; ``ends`` is how the ranks ended."""
        self._ending.set()
        if self._record is not None:
            await asyncio.wait({self._record}, timeout=FINAL_WAIT)
            if not self._record.done():
                self._record.cancel()
                await asyncio.wait({self._record})
        self._speak(over=ends)

    def _speak(self, **what: Any) -> None:
        self._say({"run": self._run_id, "number": next(self._words)} | what)

    async def _keep_record(self, line: Line) -> None:
        while not self._ending.is_set() or self._news.more:
            await self._pause()
            first, taken = self._news.first, self._news.take()
            told = {"number": next(self._numbers), "first": first, "update": _plain(taken)}
            try:
                answer = await line.tell({"run": self._run_id, **told})
            except ValueError as error:
                self._leave_out(taken, str(error))
                continue
            except asyncio.CancelledError:  # nobody answers, and there is no more time
                await asyncio.to_thread(leave_untold, self._folder, told, self._news)
                raise
            self._hear(answer)

    def _leave_out(self, taken: Mapping[str, Any], why: str) -> None:
        """The record can do without what is too long for it, but not without the rest."""
        log.warning("run %s: some of its news is not told: %s", self._run_id, why)
        short = {name: one for name, one in _plain(taken).items() if len(json.dumps(one)) <= SHORT}
        kept = {name: taken[name] for name in short if name not in APPENDED}
        self._news.tell(**kept, logs=[f"Something that this run reported is not in its record: {why}."])

    async def _pause(self) -> None:
        """Until there is something to tell; not for long, since each message is a heartbeat too."""
        for _ in range(round(HEARTBEAT / INTERVAL)):
            try:
                async with asyncio.timeout(INTERVAL):
                    await self._ending.wait()
                return
            except TimeoutError:
                if self._news.more:
                    return

    def _hear(self, answer: Message) -> None:
        order = str(answer.get("order", "go"))
        if order not in ("go", self._order):
            self._order = order
            self._obey(order)


def _plain(news: Mapping[str, Any]) -> dict[str, Any]:
    return update_of(news).model_dump(mode="json", exclude_unset=True)
