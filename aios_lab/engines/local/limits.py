"""The limits of a slice's workers, each with all that it started or spawned: memory, and processes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from aios_lab.engines import spawn
from aios_lab.engines.processes import children, proportional, resident, tree

log = logging.getLogger(__name__)

_EVERY = 0.5  # seconds
_ANSWER = 2.0  # seconds that the forkserver has to say what the workers have spawned

Trees = Mapping[int, list[int]]  # by its leader, which is the worker or was spawned below it


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker may have at once: bytes of memory, and processes."""

    worker: int
    memory: int
    processes: int


@dataclass(frozen=True, slots=True)
class Excess:
    """A worker has more than it may, of ``what``: memory (bytes) or processes; ``culprit`` leads the tree
    that has most of it."""

    what: str
    worker: int
    culprit: int
    used: int
    limit: int


async def watch(
    limits: Callable[[], Iterable[Limits]],
    spawned: Callable[[dict[int, int]], None],
    exceeded: Callable[[Excess], None],
) -> None:
    """For ever: end whatever takes a worker over its limits.

    ``spawned`` hears of all that this process and its workers asked the forkserver for: pid to asker.
    """
    family: dict[int, int] = {}
    while True:
        await asyncio.sleep(_EVERY)
        known = list(limits())
        if not known:
            continue
        try:
            family = await asyncio.to_thread(spawn.family, _ANSWER)
            spawned(family)
        # A forkserver too busy to answer (were it gone, so were we), or no descriptor left to ask it with:
        # what it said last still counts.
        except (spawn.SpawnError, OSError, ValueError) as error:
            log.warning("what the workers have spawned could not be asked: %s", error)
        try:
            for excess in await asyncio.to_thread(_look, known, family):
                exceeded(excess)
                spawn.kill(excess.culprit)
        except Exception:  # it costs this look, not the limits
            log.exception("the workers could not be watched")


def _look(known: list[Limits], family: dict[int, int]) -> list[Excess]:
    found = []
    for one in known:
        trees = {leader: tree(leader) for leader in roots(one.worker, family)}
        if (excess := swarm_of(one, trees)) is not None:
            end_whole(excess.culprit)
            found.append(excess)
        elif (excess := excess_of(one, trees)) is not None:
            found.append(excess)
    return found


def roots(worker: int, family: dict[int, int]) -> list[int]:
    """The worker and all that was spawned below it."""
    asked = [pid for pid, parent in family.items() if parent == worker]
    return [worker] + [pid for child in asked for pid in roots(child, family)]


def swarm_of(limits: Limits, trees: Trees) -> Excess | None:
    """Whether there are more processes than there may be.

    Linux has a limit of its own, ``RLIMIT_NPROC``, which is none here: it counts all processes of a user, in
    other slices and outside too, and does not hold for root. A cgroup's is not to be had everywhere.
    """
    count = {leader: len(pids) for leader, pids in trees.items()}
    used = sum(count.values())
    if used <= limits.processes:
        return None
    culprit = max(count, key=lambda leader: count[leader])
    return Excess("processes", limits.worker, culprit, used, limits.processes)


def end_whole(leader: int) -> None:
    """SIGKILL a tree that grows as fast as it is killed: each process is stopped before its children are
    looked for, so that when none is found that still ran, none is left that could start another."""
    stopped: set[int] = set()
    while fresh := _stop(leader, stopped):
        stopped |= fresh
    for pid in stopped:
        _signal(pid, signal.SIGKILL)


def _stop(leader: int, stopped: set[int]) -> set[int]:
    """SIGSTOP all of a tree that was not before."""
    seen = [leader]
    for pid in seen:
        if pid not in stopped:
            _signal(pid, signal.SIGSTOP)
        seen += children(pid)
    return {*seen} - stopped


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):  # gone, or become another user's
        return


def excess_of(limits: Limits, trees: Trees) -> Excess | None:
    """Whether the trees use more memory together than they may.

    Resident memory counts what a fork shares in every process: it only acquits. Proportional memory convicts.
    """
    if sum(resident(pid) for pids in trees.values() for pid in pids) <= limits.memory:
        return None
    used = {leader: sum(map(proportional, pids)) for leader, pids in trees.items()}
    if sum(used.values()) <= limits.memory:
        return None
    culprit = max(used, key=lambda leader: used[leader])
    return Excess("memory", limits.worker, culprit, sum(used.values()), limits.memory)
