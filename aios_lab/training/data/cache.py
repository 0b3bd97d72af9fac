"""Parts of data that are in use, and a few that are read ahead in the background."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any

from aios_lab.training.data.reading import Reading

AHEAD = 2  # parts that are read before they are needed
THRASH = 4  # times that each part was read on average, without a plan, from which on it is said


class PartCache:
    """Gives parts by number. Memory holds those of the last rows asked for and ``AHEAD`` more.

    Args:
        load: reads a part.
        room: parts to hold at most where no plan says which are needed together.
        parts: how many there are.
    """

    def __init__(self, load: Callable[[int], Any], reading: Reading, room: int, parts: int) -> None:
        self._load, self._reading, self._room, self._parts = load, reading, room, parts
        self._window: int | None = None
        self._after: Mapping[int, int] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._warned = False
        self._clear()

    def plan(self, lanes: Sequence[Sequence[int]], window: int) -> None:
        """From now on the parts of each lane are asked for one after another, all that are needed together
        within ``window`` rows."""
        self._check_process()
        self._window = window
        self._after = {one: after for lane in lanes for one, after in pairwise(lane)}
        self._met.clear()
        self._wanted.clear()
        for one in set(self._held) - set(self._used):  # read ahead for an epoch that was broken off
            del self._held[one]

    @property
    def held(self) -> int:
        """Parts in memory, those that are read ahead included."""
        return len(self._held)

    def get(self, part: int, rows: int) -> Any:
        """The part, of which ``rows`` rows are taken now."""
        self._check_process()
        found = self._find(part)
        began = time.monotonic()
        value = found.result()
        self._reading.add(waited=time.monotonic() - began)
        self._rows += rows
        self._used[part] = self._rows
        self._used.move_to_end(part)
        self._drop()
        if part in self._after:
            self._wanted.setdefault(self._after[part])
        self._read_ahead()
        return value

    def _find(self, part: int) -> Future[Any]:
        """The part's future; one that is not there is read here and now."""
        self._wanted.pop(part, None)
        if part not in self._held:
            future: Future[Any] = Future()
            began = time.monotonic()
            future.set_result(self._counted(part))
            self._reading.add(waited=time.monotonic() - began)
            self._held[part] = future
        self._met.add(part)
        return self._held[part]

    def _counted(self, part: int) -> Any:
        value, read = self._load(part)
        self._reading.add(read=read, parts=1)
        return value

    def _read_ahead(self) -> None:
        for part in list(self._wanted):
            if part in self._held or part in self._met:
                del self._wanted[part]
            elif len(self._held) - len(self._used) < AHEAD:
                del self._wanted[part]
                self._held[part] = self._readers().submit(self._counted, part)

    def _drop(self) -> None:
        """Forget what was not used lately: its lane is past it."""
        for part, used in list(self._used.items()):
            late = None if self._window is None else self._rows - self._window
            if (len(self._used) <= self._room) if late is None else (used >= late):
                break
            del self._used[part], self._held[part]
        self._warn()

    def _warn(self) -> None:
        reads = self._reading.count.parts
        if self._window is None and not self._warned and reads > THRASH * max(self._parts, self._room):
            self._warned = True
            print(
                f"data: {reads:,} parts were read, though there are {self._parts:,}: rows are taken in an "
                "order that jumps among them. Give the DataLoader to ctx.prepare, which shuffles within what "
                "is read, or don't shuffle.",
                flush=True,
            )

    def _readers(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="aios-data")
        return self._pool

    def _check_process(self) -> None:
        if self._pid != os.getpid():  # a DataLoader's worker: threads do not survive a fork
            self._clear()

    def _clear(self) -> None:
        self._pid = os.getpid()
        self._pool = None
        self._held: dict[int, Future[Any]] = {}
        self._used: OrderedDict[int, int] = OrderedDict()  # part -> rows handed out when it was used last
        self._wanted: dict[int, None] = {}
        self._met: set[int] = set()  # parts of this epoch that need not be read ahead any more
        self._rows = 0

    def __getstate__(self) -> dict[str, Any]:
        kept = ("_load", "_reading", "_room", "_parts", "_window", "_after", "_warned")
        return {name: vars(self)[name] for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._clear()
