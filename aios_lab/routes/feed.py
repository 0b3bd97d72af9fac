"""Who watches what over the websocket, and the one sampler that runs while somebody watches use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

log = logging.getLogger("aios_lab")

SAMPLED = frozenset({"status", "cluster", "slices"})

FAILED = object()


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
        self._stamps: Mapping[str, Callable[[], Awaitable[object]]] = {}
        self._failing: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self.on_topics: Callable[[], None] = lambda: None

    @property
    def topics(self) -> frozenset[str]:
        """All that somebody watches; ``on_topics`` is called when it may have changed."""
        return frozenset().union(*(one.topics for one in self._watchers))

    def look(
        self,
        measure: Callable[[], Awaitable[None]] | None,
        stamps: Mapping[str, Callable[[], Awaitable[object]]],
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

    def changed_all(self) -> None:
        """What is shown comes from elsewhere now: all of it may be new."""
        self.changed(*self.topics)

    def close(self) -> None:
        self._watchers.clear()
        self.look(None, {})

    def _adjust(self) -> None:
        looked_at = self._stamps.keys() | (SAMPLED if self._measure is not None else frozenset())
        wanted = bool(looked_at & self.topics)
        self.on_topics()
        if wanted and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        elif not wanted and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        # The first look counts as a change: who knows what happened since a watcher read its snapshot.
        last: dict[str, object] = {}
        while True:
            if self._measure is not None and any(SAMPLED & one.topics for one in self._watchers):
                await self._try("use", self._measure)
                self.changed(*SAMPLED)
            for topic, stamp in self._stamps.items():
                if not any(topic in one.topics for one in self._watchers):
                    continue
                now = await self._try(topic, stamp)
                if now is not FAILED and (topic not in last or now != last[topic]):
                    last[topic] = now
                    self.changed(topic)
            await asyncio.sleep(self._period)

    async def _try(self, what: str, look: Callable[[], Awaitable[object]]) -> object:
        """What ``look`` finds; FAILED when it cannot, which is logged once until it works again. Whatever it
        is, the next look comes all the same: watchers of other things still wait for news.
        """
        try:
            found = await look()
        except Exception:
            if what not in self._failing:
                log.exception("AIOS Lab cannot look at %s; it goes on trying", what)
            self._failing.add(what)
            return FAILED
        self._failing.discard(what)
        return found
