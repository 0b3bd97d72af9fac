"""Who watches what over the websocket, and the one sampler that runs while somebody watches use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

SAMPLED = frozenset({"cluster", "slices"})


class Watcher(Protocol):
    """A websocket: it is told which topic changed and fetches the newest state when it can send."""

    topics: frozenset[str]

    def mark(self, topic: str) -> None: ...


class Feed:
    """Passes word of changes to watchers. Once a second, while anybody watches, it looks at what tells nobody
    of itself: use, which ``measure`` takes while a watcher has a topic that shows it, and the ``stamps`` of
    topics that other processes change.
    """

    def __init__(self, period: float = 1.0) -> None:
        self._watchers: set[Watcher] = set()
        self._period = period
        self._measure: Callable[[], Awaitable[None]] | None = None
        self._stamps: Mapping[str, Callable[[], object]] = {}
        self._task: asyncio.Task[None] | None = None

    def look(
        self, measure: Callable[[], Awaitable[None]] | None, stamps: Mapping[str, Callable[[], object]]
    ) -> None:
        """``stamps`` gives for a topic something cheap that differs when the topic changed."""
        self._measure, self._stamps = measure, stamps
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
        self.look(None, {})

    def _adjust(self) -> None:
        looked_at = self._stamps.keys() | (SAMPLED if self._measure is not None else frozenset())
        wanted = any(looked_at & one.topics for one in self._watchers)
        if wanted and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        elif not wanted and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        last = {topic: stamp() for topic, stamp in self._stamps.items()}
        while True:
            if self._measure is not None and any(SAMPLED & one.topics for one in self._watchers):
                await self._measure()
                self.changed(*SAMPLED)
            await asyncio.sleep(self._period)
            now = {topic: stamp() for topic, stamp in self._stamps.items()}
            self.changed(*(topic for topic in now if now[topic] != last.get(topic)))
            last = now
