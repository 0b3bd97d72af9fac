"""Dask's client of a slice: as Dask made it, except that it knows that slices end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

import distributed

from aios_lab.notebook.errors import AIOSError

ASK_EVERY = 1.0  # seconds between questions for the slice while the connection is cut
QUICK_LOOKS = (0.005, 0.005, 0.01, 0.01, 0.02, 0.02, 0.03, 0.04, 0.05)  # pauses, seconds; then Dask's own


class Client(distributed.Client):
    """``why_over`` asks the server whether the slice is over: an error for people, or None while it may last.
    ``dashboard`` is the URL of the slice's dashboard behind the server.

    Where the connection is cut and the slice is not over, everything is as in Dask: it connects again.
    """

    def __init__(
        self, address: str, why_over: Callable[[], AIOSError | None], dashboard: str, **given: Any
    ) -> None:
        self._why_over = why_over
        self._over: AIOSError | None = None
        self._topics: dict[str, Callable[[Any], None]] = {}
        self._dashboard = dashboard
        dask: Any = super()  # it has hardly any types
        dask.__init__(address, **given)

    @property
    def dashboard_link(self) -> str:
        """Whoever is signed in to the server as the slice's owner sees it there, and nobody else."""
        return self._dashboard

    def listen(self, topic: str, hear: Callable[[Any], None]) -> None:
        """Hear of all events of a topic, with their times, also after the connection was cut."""
        self._topics[topic] = hear
        self._subscribe()

    def _subscribe(self) -> None:
        dask: Any = self
        for topic, hear in self._topics.items():
            dask.subscribe_topic(topic, hear)

    def end(self, why: AIOSError) -> None:
        """Close, and answer every later use with ``why``."""
        self._over = self._over or why
        dask: Any = self
        with suppress(TimeoutError, OSError, CancelledError):
            dask.close(timeout=2)

    def sync(self, func: Any, *args: Any, **given: Any) -> Any:
        """Whatever waits in Dask waits here. Raises AIOSError once the slice is over."""
        self._raise_if_over()
        dask: Any = super()
        try:
            return dask.sync(func, *args, **given)
        except (CancelledError, OSError, RuntimeError):
            self._raise_if_over()
            raise

    def _send_to_scheduler(self, msg: Any) -> None:
        if self.status != "closing":
            self._raise_if_over()
        dask: Any = super()
        dask._send_to_scheduler(msg)

    async def _wait_for_workers(self, n_workers: int, timeout: float | None = None) -> None:
        """Dask looks every tenth of a second; a worker that was kept ready has done its task by then."""
        dask: Any = super()
        scheduler: Any = self.scheduler
        for pause in QUICK_LOOKS:
            workers = (await scheduler.identity(n_workers=-1))["workers"].values()
            if sum(worker["status"] == "running" for worker in workers) >= n_workers:
                break
            await asyncio.sleep(pause)
        await dask._wait_for_workers(n_workers, timeout)

    async def _reconnect(self) -> None:
        self.status = "connecting"
        over = await asyncio.to_thread(self._why_over)
        if over is None:
            trying = asyncio.ensure_future(super()._reconnect())
            while over is None:
                done, _ = await asyncio.wait({trying}, timeout=ASK_EVERY)
                if done:
                    await trying
                    self._subscribe()  # Dask forgets that it had
                    return
                over = await asyncio.to_thread(self._why_over)
            trying.cancel()
            await asyncio.wait({trying})
        self._over = over
        for state in list(self.futures.values()):
            state.cancel(reason="slice-over", msg=str(over))
        await self._close(fast=True)

    def _raise_if_over(self) -> None:
        if self._over is not None:
            one = self._over
            raise AIOSError(one.message, one.reason, one.hint) from None
