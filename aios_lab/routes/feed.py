"""Who watches what over the websocket, and the one sampler that runs while somebody watches use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

SAMPLED = frozenset({"cluster", "slices"})


class Watcher(Protocol):
    """A websocket: it is told which topic changed and fetches the newest state when it can send."""

    topics: frozenset[str]

    def mark(self, topic: str) -> None: ...


class Feed:
    """Passes word of changes to watchers. ``measure`` takes one measurement of use: once a second, while at
    least one watcher has a topic that shows use.
    """

    def __init__(self, period: float = 1.0) -> None:
        self._watchers: set[Watcher] = set()
        self._period = period
        self._measure: Callable[[], Awaitable[None]] | None = None
        self._task: asyncio.Task[None] | None = None

    def measure_with(self, measure: Callable[[], Awaitable[None]] | None) -> None:
        self._measure = measure
        self._adjust()

    def watch(self, watcher: Watcher) -> None:
        """Add a watcher, or note that its topics changed."""
        self._watchers.add(watcher)
        self._adjust()

    def leave(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)
        self._adjust()

    def changed(self, *topics: str) -> None:
        """The state behind these topics is new. Cheap; may be called as often as things change."""
        for watcher in self._watchers:
            for topic in watcher.topics.intersection(topics):
                watcher.mark(topic)

    @property
    def sampling(self) -> bool:
        return self._task is not None

    def close(self) -> None:
        self._watchers.clear()
        self.measure_with(None)

    def _adjust(self) -> None:
        wanted = self._measure is not None and any(SAMPLED & one.topics for one in self._watchers)
        if wanted and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        elif not wanted and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while self._measure is not None:
            await self._measure()
            self.changed(*SAMPLED)
            await asyncio.sleep(self._period)
