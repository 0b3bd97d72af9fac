"""What the leaders of a client's runs tell, handed to the run that it concerns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from distributed import Client

Handler = Callable[[dict[str, Any]], None]  # called on the client's event loop with each message

_buses: WeakKeyDictionary[Client, Bus] = WeakKeyDictionary()
_lock = threading.Lock()


def topic_of(client_id: str) -> str:
    """One topic for all runs of a client, since a scheduler keeps a history for each topic."""
    return f"aios-runs-{client_id}"


def bus_of(client: Client) -> Bus:
    """The client's one bus."""
    with _lock:
        if client not in _buses:
            _buses[client] = Bus(client)
        return _buses[client]


class Bus:
    """One subscription for all runs of a client."""

    def __init__(self, client: Any) -> None:
        self._handlers: dict[str, Handler] = {}
        client.subscribe_topic(topic_of(client.id), self._hear)

    def attach(self, run_id: str, handler: Handler) -> None:
        self._handlers[run_id] = handler

    def detach(self, run_id: str) -> None:
        self._handlers.pop(run_id, None)

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]
        if handler := self._handlers.get(message["run"]):
            handler(message)
