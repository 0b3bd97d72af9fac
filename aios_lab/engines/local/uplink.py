"""What runs in the scheduler's process speaks with whoever has the engine: nobody here reads it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from aios_lab.engines.local import orders

EXTENSION = "aios-uplink"  # among the scheduler's extensions

AGAIN = 2.0  # seconds after which a message that was not answered is sent once more

Message = Mapping[str, Any]


class Uplink:
    """The slice host's line to the engine. Each message is numbered and sent until it is answered, where one
    engine is killed to the next: so it may arrive twice.

    ``send`` writes a line, where that takes it; ``stay`` says whether the slice is to go on while there
    is no engine.
    """

    def __init__(self, send: Callable[[bytes], None], stay: Callable[[bool], None]) -> None:
        self._send = send
        self._stay = stay
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self._staying: set[str] = set()
        self._hear: Callable[[Message], None] = lambda _: None

    async def tell(self, message: Message) -> Message:
        """The answer, whenever it comes.

        Raises:
            ValueError: the message is too long for the line, and was not sent: an engine that cannot read a
                line ends the slice.
        """
        number = next(self._numbers)
        line = orders.dump({"told": message, "number": number})
        if len(line) > orders.LONGEST:
            raise ValueError(f"the message has {len(line)} bytes, and the line takes {orders.LONGEST}")
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            while not answer.done():
                self._send(line)
                await asyncio.wait({answer}, timeout=AGAIN)
            return answer.result()
        finally:
            del self._answers[number]

    def stay(self, name: str, wanted: bool) -> None:
        """Have the slice go on without an engine for as long as something wants it to."""
        before = bool(self._staying)
        (self._staying.add if wanted else self._staying.discard)(name)
        if bool(self._staying) != before:
            self._stay(not before)

    def on_order(self, hear: Callable[[Message], None]) -> None:
        """Hear what the engine says by itself."""
        self._hear = hear

    def ordered(self, message: Message) -> None:
        """For the host: the engine said this."""
        self._hear(message)

    def answered(self, number: int, answer: Message) -> None:
        """For the host: the engine answered."""
        waiting = self._answers.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)
