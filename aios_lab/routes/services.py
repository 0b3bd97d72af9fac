"""What the routes work on: the broker, the runs, the models, and what is wrong where one is missing."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from aios_lab.broker.errors import Refused
from aios_lab.routes.catalogue import Catalogue
from aios_lab.wire import Problem

if TYPE_CHECKING:
    from aios_lab.broker import Broker, Owner
    from aios_lab.broker.replays import Replays
    from aios_lab.models.jobs import Jobs
    from aios_lab.models.registry import Registry
    from aios_lab.routes.call import Call, Route
    from aios_lab.routes.feed import Feed
    from aios_lab.routes.use import Use
    from aios_lab.training.record.store import RunStore

T = TypeVar("T")


@dataclass(slots=True)
class Kernel:
    """A kernel of this server that has a claim. ``token`` is its secret, ``busy`` whether it runs a cell."""

    owner: Owner
    token: str
    busy: bool = True


class Elsewhere(Protocol):
    """The broker that this server uses when it has none of its own."""

    async def perform(self, route: Route, call: Call) -> Any:
        """What ``route.call(call)`` gives where that broker is. Raises: Refused."""


class Services:
    """The living parts of one server. The extension fills it in; each accessor raises Refused while its part
    is missing, saying why, so that a broken broker never breaks Jupyter.

    ``problems`` is what an administrator should mend. ``feed`` may be told that a topic changed. ``kernels``
    are those of this server, by slice, wherever the broker is; ``elsewhere`` is set while that is not here.
    """

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.problems: list[Problem] = []
        self.kernels: dict[str, Kernel] = {}
        self.elsewhere: Elsewhere | None = None
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

    def admit(self, token: str) -> str | None:
        """The slice whose kernel's secret this is. Takes the same time for every wrong guess.

        Raises:
            Refused: no kernel of this server has a slice, for the reason that it gives.
        """
        given, found = token.encode(), None
        for slice_id, kernel in self.kernels.items():
            if hmac.compare_digest(kernel.token.encode(), given):
                found = slice_id
        if found is None and (self.problems or self.elsewhere is None):
            self._there(self._broker)
        return found

    async def perform(self, route: Route, call: Call) -> Any:
        """Do what a request asks, where the broker is."""
        if self.elsewhere is None:
            return await route.call(call)
        return await self.elsewhere.perform(route, call)

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
