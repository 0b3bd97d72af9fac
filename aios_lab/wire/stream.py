"""Messages of the websocket."""

from __future__ import annotations

from typing import Any

from aios_lab.wire.base import Wire


class Frame(Wire):
    """One message of the websocket, server to client. ``seq`` rises by one a topic."""

    topic: str
    seq: int
    data: Any


class Subscribe(Wire):
    """The client's message: all topics it wants: 'status', 'cluster', 'slices', 'runs', 'models', 'jobs'."""

    topics: list[str]
