"""The memory limit of a slice's workers, each with all the processes it started or spawned."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aios_lab.engines import spawn
from aios_lab.engines.processes import proportional, resident, tree

log = logging.getLogger(__name__)

_EVERY = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Excess:
    """A worker's processes use more than they may; ``culprit`` leads the largest of their trees. Bytes."""

    worker: int
    culprit: int
    used: int
    limit: int


async def watch(
    limits: Callable[[], Iterable[tuple[int, int]]],
    spawned: Callable[[dict[int, int]], None],
    exceeded: Callable[[Excess], None],
) -> None:
    """For ever: end whatever takes a worker over its limit; ``limits`` gives (pid of worker, bytes).

    ``spawned`` hears of all that this process and its workers asked the forkserver for: pid to asker.
    """
    while True:
        await asyncio.sleep(_EVERY)
        pairs = list(limits())
        if not pairs:
            continue
        try:
            family = await asyncio.to_thread(spawn.family)
            spawned(family)
            for excess in await asyncio.to_thread(_look, pairs, family):
                exceeded(excess)
                spawn.kill(excess.culprit)
        # A forkserver too busy to answer (were it gone, so were we), or no descriptor left to ask it with.
        except (spawn.SpawnError, OSError) as error:
            log.warning("memory could not be watched: %s", error)


def _look(pairs: list[tuple[int, int]], family: dict[int, int]) -> list[Excess]:
    found = (excess_of(worker, roots(worker, family), limit) for worker, limit in pairs)
    return [excess for excess in found if excess is not None]


def roots(worker: int, family: dict[int, int]) -> list[int]:
    """The worker and all that was spawned below it."""
    asked = [pid for pid, parent in family.items() if parent == worker]
    return [worker] + [pid for child in asked for pid in roots(child, family)]


def excess_of(worker: int, leaders: list[int], limit: int) -> Excess | None:
    """Whether the trees of ``leaders`` use more than ``limit`` bytes together.

    Resident memory counts what a fork shares in every process: it only acquits. Proportional memory convicts.
    """
    trees = {root: tree(root) for root in leaders}
    if sum(resident(pid) for pids in trees.values() for pid in pids) <= limit:
        return None
    used = {root: sum(map(proportional, pids)) for root, pids in trees.items()}
    if sum(used.values()) <= limit:
        return None
    return Excess(worker, max(used, key=lambda root: used[root]), sum(used.values()), limit)
