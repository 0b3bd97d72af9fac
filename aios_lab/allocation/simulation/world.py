"""The allocation core on a clock of its own: jobs arrive, ``decide`` says who starts, and jobs end."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from aios_lab.allocation.decide import DEFAULT_POLICY
from aios_lab.allocation.placement.rooms import FIRST
from aios_lab.allocation.room import how_many
from aios_lab.allocation.scheduler import Scheduler, scheduler
from aios_lab.allocation.simulation.jobs import FinishedJob, Job
from aios_lab.allocation.types import (
    DEFAULT_SHARING,
    Demand,
    Node,
    Placement,
    Plan,
    Principal,
    Resources,
    Sharing,
)

ROUNDS = 50  # decisions at one moment, after which the policy swings


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the jobs: those that finished, by their end, and those that cannot, with the reason."""

    finished: tuple[FinishedJob, ...]
    refused: tuple[tuple[Job, str], ...]
    decisions: int


@dataclass(slots=True)
class _Live:
    """A job in the system. ``left`` is work, in units times seconds, as of ``since``; ``levels`` are those of
    the finished job."""

    job: Job
    left: float
    since: float
    start: float | None = None
    units: int = 0
    version: int = 0
    levels: list[tuple[float, float]] = field(default_factory=list)


def play(
    jobs: Iterable[Job],
    nodes: Sequence[Node],
    policy: str = DEFAULT_POLICY,
    *,
    principals: Sequence[Principal] = (),
    elastic: bool = False,
    placement: Placement = FIRST,
    sharing: Sharing = DEFAULT_SHARING,
    tell: Callable[[int], None] | None = None,
) -> Outcome:
    """Let the jobs, sorted by their submit times, pass through a cluster of these nodes under a policy.

    A job asks for its units all at once and keeps them until it ends; with ``elastic`` it begins with its
    least, takes up to all of them, gives some back when the policy says so, and proceeds in proportion to
    what it holds. Users are principals below their group, or below "default". What the policy plans with is
    the job's estimate; how long it takes is its run time. ``sharing`` has the parameters of fair share; usage
    counts from the first job on. ``tell`` hears how many have finished.

    Raises:
        ValueError: there is no such policy or placement, jobs are not sorted, or two have one id.
    """
    standing = scheduler(policy, nodes, principals, placement, sharing)
    world = _World(nodes, standing, elastic, sharing.guard, tell)
    return world.play(iter(jobs))


class _World:
    def __init__(
        self,
        nodes: Sequence[Node],
        policy: Scheduler,
        elastic: bool,
        guard: int,
        tell: Callable[[int], None] | None,
    ) -> None:
        self._nodes = tuple(nodes)
        self._policy = policy
        self._elastic = elastic
        self._guard = guard
        self._tell = tell
        self._now = 0.0
        self._live: dict[str, _Live] = {}
        self._wanting: set[str] = set()  # who holds less than all units
        self._room: dict[Resources, int] = {}
        self._ends: list[tuple[float, int, str, int]] = []
        self._ticket = itertools.count()
        self._finished: list[FinishedJob] = []
        self._refused: list[tuple[Job, str]] = []
        self._decisions = 0

    def play(self, jobs: Iterable[Job]) -> Outcome:
        arrivals = iter(jobs)
        coming = next(arrivals, None)
        while coming is not None or self._ends:
            end = self._ends[0][0] if self._ends else None
            if coming is not None and (end is None or coming.submit <= end):
                if coming.submit < self._now:
                    raise ValueError(
                        f"Job {coming.id} was submitted before the one ahead of it: sort the jobs."
                    )
                self._now = coming.submit
                while coming is not None and coming.submit == self._now:
                    self._arrive(coming)
                    coming = next(arrivals, None)
            elif end is not None:
                self._now = end
            self._end_due()
            self._decide()
        for live in self._live.values():
            self._refused.append((live.job, "it waits for ever"))
        return Outcome(tuple(self._finished), tuple(self._refused), self._decisions)

    def _arrive(self, job: Job) -> None:
        claim = f"j{job.id:09d}"
        if claim in self._live:
            raise ValueError(f"Two jobs have the id {job.id}.")
        if job.run is None:
            self._refused.append((job, "the trace does not know how long it ran"))
            return
        if self._room_for(job.unit) < job.count:
            self._refused.append((job, "the cluster has no room for it even when empty"))
            return
        self._live[claim] = _Live(job, job.run * job.count, self._now)
        self._wanting.add(claim)
        self._policy.arrive(
            Demand(
                claim=claim,
                principal=f"cluster/{job.group or 'default'}/{job.user or 'unknown'}",
                unit=job.unit,
                min=job.least if self._elastic else job.count,
                max=job.count,
                priority=job.priority,
                preemptible=self._elastic and job.preemptible,
                submitted=job.submit,
                duration=job.estimate,
                name=claim,
            )
        )

    def _room_for(self, unit: Resources) -> int:
        """How many units an empty cluster has room for."""
        if unit not in self._room:
            self._room[unit] = sum(how_many(unit.vector, node.capacity.vector) for node in self._nodes)
        return self._room[unit]

    def _end_due(self) -> bool:
        """End what ends by now; whether anything did."""
        some = False
        while self._ends and self._ends[0][0] <= self._now:
            _, _, claim, version = heapq.heappop(self._ends)
            live = self._live.get(claim)
            if live is None or live.version != version:
                continue
            assert live.start is not None
            some = True
            del self._live[claim]
            self._wanting.discard(claim)
            self._policy.leave(claim, self._now)
            job, levels = live.job, tuple(live.levels) if self._elastic else ()
            self._finished.append(
                FinishedJob(job.id, job.submit, live.start, self._now, job.need, job.user, levels)
            )
            if self._tell is not None:
                self._tell(len(self._finished))
        return some

    def _decide(self) -> None:
        """Decide and carry out until there is nothing to do at this moment.

        Where nobody can be shrunk, a plan that was carried out leaves nothing to do under most policies.
        """
        for _ in range(ROUNDS):
            if not self._wanting:
                return
            plan = self._policy.decide(self._now)
            self._decisions += 1
            if not plan.grants and not plan.shrinks:
                return
            self._carry_out(plan)
            if not self._end_due() and not self._elastic and self._policy.settles:
                return
        raise RuntimeError(f"The policy did not come to rest at {self._now} s.")

    def _carry_out(self, plan: Plan) -> None:
        touched = {}
        for sign, changes in ((-1, plan.shrinks), (1, plan.grants)):
            for change in changes:
                live = touched[change.claim] = self._live[change.claim]
                if live.since < self._now:
                    live.left -= live.units * (self._now - live.since)
                    live.since = self._now
                if self._elastic and self._guard and not live.units:  # others may want it after that
                    heapq.heappush(self._ends, (self._now + self._guard, next(self._ticket), "", 0))
                live.units += sign * change.units
        for claim, live in touched.items():
            live.since = self._now
            live.version += 1
            if live.units >= live.job.count:
                self._wanting.discard(claim)
            else:
                self._wanting.add(claim)
            if live.units and live.start is None:
                live.start = self._now
            if live.start is not None and self._elastic:
                live.levels.append((self._now, live.units / live.job.count))
            if live.units:
                end = self._now + max(0.0, live.left) / live.units
                heapq.heappush(self._ends, (end, next(self._ticket), claim, live.version))
