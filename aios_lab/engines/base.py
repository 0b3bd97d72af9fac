"""What an engine promises: the seam between the broker, which decides, and Dask, which runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from aios_lab.allocation.placement import Topology
from aios_lab.allocation.types import Node, Resources


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A GPU of the inventory; ``memory`` in MiB. A simulated one has no ``uuid`` that NVML knows."""

    index: int
    name: str
    uuid: str
    memory: int


@dataclass(frozen=True, slots=True)
class Inventory:
    """What an engine has to give. ``simulated`` is true when an administrator declared it.

    ``topology`` says which accelerators, by their index, belong together.
    """

    nodes: tuple[Node, ...]
    accelerators: tuple[Accelerator, ...] = ()
    simulated: bool = False
    topology: Topology = field(default_factory=Topology)

    @property
    def capacity(self) -> Resources:
        return sum((node.capacity for node in self.nodes), Resources())


@dataclass(frozen=True, slots=True)
class Credentials:
    """One slice's TLS material as PEM texts; no other slice's scheduler accepts it."""

    ca: str
    cert: str
    key: str


@dataclass(frozen=True, slots=True)
class SliceInfo:
    """A slice's living side: where its scheduler listens, its workers that are up, their accelerators.

    ``devices`` are by their index. ``quiet_since`` is when its last task ended, on the clock of
    ``time.monotonic``; None while tasks run or wait.
    """

    slice_id: str
    address: str
    credentials: Credentials
    workers: int
    pids: tuple[int, ...]
    devices: tuple[int, ...] = ()
    quiet_since: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Spares:
    """How many of something are kept ready for whoever asks next, and how often one was there or was not."""

    ready: int = 0
    hits: int = 0
    misses: int = 0


GRACE = 30.0  # seconds that workers which are to leave get for the tasks that they run


class EngineError(Exception):
    """The engine could not do what was asked; the message says what and why, for people."""


Answer = Callable[[Mapping[str, Any]], None]


class Listener(Protocol):
    """Hears what happens to slices by itself, on the broker's event loop."""

    def lost(self, slice_id: str, why: str) -> None:
        """The slice is gone, with all its processes."""

    def workers_changed(self, slice_id: str, workers: int) -> None:
        """So many workers are up now."""

    def computing(self, slice_id: str) -> None:
        """Tasks run or wait in the slice, where there were none."""

    def fenced(self, slice_id: str, workers: int, tasks: int) -> None:
        """So many workers did not end their tasks in the time they had to give way, and were ended."""

    def told(self, slice_id: str, message: Mapping[str, Any], answer: Answer) -> None:
        """What runs in the slice's scheduler says this, and says it again until it is answered, be it after
        a change of engines."""

    def trouble(self, slice_id: str, what: str) -> None:
        """The slice goes on, but its owner should know, such as of a worker that took too much memory."""


class Engine(Protocol):
    """Turns grants into Dask clusters. Every method is idempotent and runs on one asyncio loop."""

    async def start(self, listener: Listener) -> None:
        """Begin, and take over what an engine of the same that has died left behind."""

    def survivors(self) -> tuple[str, ...]:
        """Slices of an earlier engine that were alive at the start: they are this one's now, with their
        workers, their data and whoever is connected. ``info`` knows them; the size that was ordered last may
        still be under way, and a new order comes after it."""

    async def stop(self, leave: Collection[str] = ()) -> None:
        """End every slice; on return no process of the engine is left.

        Those to ``leave`` go on: the next engine of the same takes them over. Where none comes they end by
        themselves, after some seconds.
        """

    def inventory(self) -> Inventory: ...

    def expect(self, unit: Resources, workers: int) -> None:
        """What is likely to be asked for first: an engine may prepare for it."""

    async def spares(self) -> Mapping[str, Spares]:
        """What is kept ready, by kind: a 'slice', or a 'process' for slices that grow."""

    async def scale(
        self, slice_id: str, unit: Resources, workers: int, grace: float = GRACE, why: str = ""
    ) -> SliceInfo:
        """Bring a slice to ``workers`` workers of ``unit`` each, opening it when it is not there.

        Growing returns when the new workers have joined the scheduler; shrinking retires workers, so that
        their data moves, and returns when their processes are gone. Workers that leave take no new tasks
        and get ``grace`` seconds for those that they run; who uses the slice is told before, and ``why``.
        ``workers=0`` parks the slice: the scheduler stays and, where that can be, the data.

        Raises:
            EngineError: a worker did not start; what was started for this call is gone again.
        """

    async def restart(self, slice_id: str) -> None:
        """Give a restarted owner a clean slice: replace every worker, keep the number and the address."""

    async def dashboard(self, slice_id: str) -> Path:
        """The Unix socket on which a slice's Dask dashboard speaks HTTP; it is made on the first call.

        Raises:
            EngineError: there is no such slice, or it ended meanwhile.
        """

    def tell(self, slice_id: str, message: Mapping[str, Any]) -> None:
        """Say something to what runs in the slice's scheduler. Unknown ids are fine."""

    async def close(self, slice_id: str) -> None:
        """End a slice; returns when all of its processes are gone. Unknown ids are fine."""

    def info(self, slice_id: str) -> SliceInfo | None: ...
