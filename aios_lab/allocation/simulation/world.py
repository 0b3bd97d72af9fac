"""The allocation core on a clock of its own: jobs arrive, ``decide`` says who starts, and jobs end."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from aios_lab.allocation.decide import DEFAULT_POLICY, policy_of
from aios_lab.allocation.room import how_many
from aios_lab.allocation.simulation.jobs import FinishedJob, Job
from aios_lab.allocation.types import (
    DEFAULT_SHARING,
    Demand,
    Lease,
    Node,
    Plan,
    Principal,
    Sharing,
    Snapshot,
)
from aios_lab.allocation.usage import Meter

ROUNDS = 50  # decisions at one moment, after which the policy swings


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the jobs: those that finished, by their end, and those that cannot, with the reason."""

    finished: tuple[FinishedJob, ...]
    refused: tuple[tuple[Job, str], ...]
    decisions: int


@dataclass(slots=True)
class _Live:
    """A job in the system. ``left`` is work, in units times seconds, as of ``since``."""

    job: Job
    demand: Demand
    left: float
    since: float
    start: float | None = None
    held: dict[str, int] = field(default_factory=dict)
    version: int = 0

    @property
    def units(self) -> int:
        return sum(self.held.values())


def play(
    jobs: Iterable[Job],
    nodes: Sequence[Node],
    policy: str = DEFAULT_POLICY,
    *,
    principals: Sequence[Principal] = (),
    elastic: bool = False,
    sharing: Sharing = DEFAULT_SHARING,
    tell: Callable[[int], None] | None = None,
) -> Outcome:
    """Let the jobs, sorted by their submit times, pass through a cluster of these nodes under a policy.

    A job asks for its units all at once and keeps them until it ends; with ``elastic`` it begins with one,
    takes up to all of them, gives some back when the policy says so, and proceeds in proportion to what it
    holds. Users are principals below their group, or below "default". What the policy plans with is the job's
    estimate; how long it takes is its run time. ``sharing`` has the parameters of fair share; usage counts
    from the first job on. ``tell`` hears how many have finished.

    Raises:
        ValueError: there is no such policy, jobs are not sorted, or two have one id.
    """
    world = _World(nodes, policy, principals, elastic, sharing, tell)
    return world.play(iter(jobs))


class _World:
    def __init__(
        self,
        nodes: Sequence[Node],
        policy: str,
        principals: Sequence[Principal],
        elastic: bool,
        sharing: Sharing,
        tell: Callable[[int], None] | None,
    ) -> None:
        self._nodes = tuple(nodes)
        self._principals = tuple(principals)
        self._policy = policy_of(policy)
        self._elastic = elastic
        self._sharing = sharing
        self._meter = Meter(sharing)
        self._tell = tell
        self._now = 0.0
        self._live: dict[str, _Live] = {}
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
        unit = job.unit.vector
        if sum(how_many(unit, node.capacity.vector) for node in self._nodes) < job.count:
            self._refused.append((job, "the cluster has no room for it even when empty"))
            return
        demand = Demand(
            claim=claim,
            principal=f"cluster/{job.group or 'default'}/{job.user or 'unknown'}",
            unit=job.unit,
            min=1 if self._elastic else job.count,
            max=job.count,
            preemptible=self._elastic,
            submitted=job.submit,
            duration=job.estimate,
            name=claim,
        )
        self._live[claim] = _Live(job, demand, job.run * job.count, self._now)

    def _end_due(self) -> None:
        while self._ends and self._ends[0][0] <= self._now:
            _, _, claim, version = heapq.heappop(self._ends)
            live = self._live.get(claim)
            if live is None or live.version != version:
                continue
            assert live.start is not None
            del self._live[claim]
            self._meter.hold(live.demand.principal, live.demand.unit, -live.units, self._now)
            job = live.job
            self._finished.append(FinishedJob(job.id, job.submit, live.start, self._now, job.need, job.user))
            if self._tell is not None:
                self._tell(len(self._finished))

    def _decide(self) -> None:
        """Decide and carry out until there is nothing to do at this moment."""
        for _ in range(ROUNDS):
            if all(live.units >= live.demand.max for live in self._live.values()):
                return
            plan, _ = self._policy(self._snapshot())
            self._decisions += 1
            if not plan.grants and not plan.shrinks:
                return
            self._carry_out(plan)
            self._end_due()
        raise RuntimeError(f"The policy did not come to rest at {self._now} s.")

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            self._nodes,
            self._principals,
            tuple(live.demand for live in self._live.values()),
            tuple(
                Lease(claim, node, units)
                for claim, live in self._live.items()
                for node, units in live.held.items()
            ),
            self._now,
            self._meter.usage(self._paths(), self._now),
            self._sharing,
        )

    def _paths(self) -> set[str]:
        """All principals that somebody who is here belongs to."""
        paths: set[str] = set()
        for name in {live.demand.principal for live in self._live.values()}:
            while name and name not in paths:
                paths.add(name)
                name = name.rpartition("/")[0]
        return paths

    def _carry_out(self, plan: Plan) -> None:
        touched = {}
        for sign, changes in ((-1, plan.shrinks), (1, plan.grants)):
            for change in changes:
                live = touched[change.claim] = self._live[change.claim]
                if live.since < self._now:
                    live.left -= live.units * (self._now - live.since)
                    live.since = self._now
                self._move(live, change.node, sign * change.units)
        for claim, live in touched.items():
            live.since = self._now
            live.version += 1
            units, began = live.units, live.demand.started
            if (began is None) == bool(units):
                self._begin_or_end(live, units)
            if units:
                end = self._now + max(0.0, live.left) / units
                heapq.heappush(self._ends, (end, next(self._ticket), claim, live.version))

    def _move(self, live: _Live, node: str, units: int) -> None:
        """It holds so many units more on the node from now on, or fewer."""
        self._meter.hold(live.demand.principal, live.demand.unit, units, self._now)
        held = live.held.get(node, 0) + units
        if held:
            live.held[node] = held
        else:
            live.held.pop(node, None)

    def _begin_or_end(self, live: _Live, units: int) -> None:
        """It has its first units now, for the first time or again, or has lost the last."""
        if not units:
            live.demand = replace(live.demand, started=None)
            return
        if live.start is None:
            live.start = self._now
        self._meter.charge(live.demand.principal, live.demand.unit, units, self._now)
        live.demand = replace(live.demand, started=self._now)
