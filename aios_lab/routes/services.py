"""What the routes work on: the broker, the runs, the models, and what is wrong where one is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from aios_lab.broker.errors import Refused
from aios_lab.routes.catalogue import Catalogue
from aios_lab.wire import Problem

if TYPE_CHECKING:
    from aios_lab.broker import Broker
    from aios_lab.broker.replays import Replays
    from aios_lab.models.jobs import Jobs
    from aios_lab.models.registry import Registry
    from aios_lab.routes.feed import Feed
    from aios_lab.routes.use import Use
    from aios_lab.training.store import RunStore

T = TypeVar("T")


class Services:
    """The living parts of one server. The extension fills it in; each accessor raises Refused while its part
    is missing, saying why, so that a broken broker never breaks Jupyter.

    ``problems`` is what an administrator should mend. ``feed`` may be told that a topic changed.
    """

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.problems: list[Problem] = []
        self._broker: Broker | None = None
        self._runs: RunStore | None = None
        self._registry: Registry | None = None
        self._catalogue: Catalogue | None = None
        self._jobs: Jobs | None = None
        self._use: Use | None = None
        self._replays: Replays | None = None
        # MLflow's store blocks: its calls go one at a time through a thread of their own.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aios-models")

    @property
    def ready(self) -> bool:
        return self._broker is not None

    @property
    def broker(self) -> Broker:
        return self._there(self._broker)

    @property
    def runs(self) -> RunStore:
        return self._there(self._runs)

    @property
    def registry(self) -> Registry:
        return self._there(self._registry)

    @property
    def catalogue(self) -> Catalogue:
        return self._there(self._catalogue)

    @property
    def jobs(self) -> Jobs:
        return self._there(self._jobs)

    @property
    def use(self) -> Use:
        return self._there(self._use)

    @property
    def replays(self) -> Replays:
        return self._there(self._replays)

    def open(
        self, broker: Broker, runs: RunStore, registry: Registry, jobs: Jobs, use: Use, replays: Replays
    ) -> None:
        self._broker, self._runs, self._registry, self._jobs, self._use = broker, runs, registry, jobs, use
        self._replays = replays
        self._catalogue = Catalogue(registry)
        self.problems = []

    def close(self, problem: Problem) -> None:
        """From now on every accessor refuses, for this reason."""
        self._broker = self._runs = self._registry = self._catalogue = self._jobs = self._use = None
        self._replays = None
        self.problems = [problem]

    def shutdown(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def in_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Run blocking work of the model registry off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    def _there(self, part: T | None) -> T:
        if part is not None:
            return part
        if self.problems:
            why = self.problems[0]
            raise Refused(409, why.message, why.reason, why.hint)
        raise Refused(
            409,
            "AIOS Lab is still starting on this server.",
            "starting",
            "Try again in a few seconds.",
        )
