"""What the ranks' supervisors and the scheduler say, handed to the run that it concerns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from distributed import Client

# Called on the client's event loop with rank, kind, body. For a lost worker: -1, "lost", its address.
Handler = Callable[[int, str, Any], None]

_buses: WeakKeyDictionary[Client, Bus] = WeakKeyDictionary()
_lock = threading.Lock()


def bus_of(client: Client) -> Bus:
    """The client's one bus: a topic for all its runs, since a scheduler keeps a history for each topic."""
    with _lock:
        if client not in _buses:
            _buses[client] = Bus(client)
        return _buses[client]


class Bus:
    """One subscription for all runs of a client, and one for each worker that a run was placed on."""

    def __init__(self, client: Any) -> None:
        self.topic = f"aios-train-{client.id}"
        self._handlers: dict[str, Handler] = {}
        self._watched: set[str] = set()
        client.subscribe_topic(self.topic, self._hear)

    def attach(self, client: Any, run_id: str, handler: Handler, workers: list[str]) -> None:
        self._handlers[run_id] = handler
        for address in workers:
            if address not in self._watched:
                self._watched.add(address)
                client.subscribe_topic(address, lambda event, address=address: self._worker(address, event))

    def detach(self, run_id: str) -> None:
        self._handlers.pop(run_id, None)

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]
        if handler := self._handlers.get(message["run"]):
            handler(message["rank"], message["kind"], message["body"])

    def _worker(self, address: str, event: tuple[float, Any]) -> None:
        message = event[1]
        if isinstance(message, dict) and message.get("action") == "remove-worker":
            self._watched.discard(address)
            for handler in list(self._handlers.values()):
                handler(-1, "lost", address)
