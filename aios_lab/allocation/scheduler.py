"""The policies of the core for who decides again and again: told what changes, not shown everything anew."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Protocol

from aios_lab.allocation.decide import Policy, policy_of
from aios_lab.allocation.placement.rooms import FIRST
from aios_lab.allocation.profile import room_now, units_of
from aios_lab.allocation.queue import Queue, QueuePolicy
from aios_lab.allocation.room import Rooms, plus
from aios_lab.allocation.shares import held_units, path_of
from aios_lab.allocation.types import (
    DEFAULT_SHARING,
    Change,
    Demand,
    Lease,
    Node,
    Placement,
    Plan,
    Principal,
    Resources,
    Sharing,
    Snapshot,
    Vector,
)
from aios_lab.allocation.usage import Meter, balances


class Scheduler(Protocol):
    """One policy before one cluster. Every plan counts as carried out at the time of its making, and a claim
    that gets its first units has started then; times in seconds. Where it ``settles``, a plan for claims that
    are all or nothing leaves nothing to do at the same moment."""

    @property
    def settles(self) -> bool: ...

    def arrive(self, demand: Demand) -> None:
        """A claim that holds nothing asks from now on."""

    def leave(self, claim: str, now: float) -> None:
        """A claim is gone, with all that it held."""

    def decide(self, now: float) -> Plan:
        """The plan of ``aios_lab.allocation.decide`` at this moment, without its reasons."""


class Books:
    """A policy that wants to see all: claims and leases, out of which each decision makes a snapshot, and
    what principals used lately."""

    settles = False

    def __init__(self, policy: Policy, setting: Snapshot) -> None:
        """``setting`` has all but claims and leases, which are told."""
        self._policy = policy
        self._setting = setting
        self._meter = Meter(setting.sharing, balances(setting))
        self._demands: dict[str, Demand] = {}
        self._leases: dict[str, tuple[Lease, ...]] = {}

    def arrive(self, demand: Demand) -> None:
        self._demands[demand.claim] = demand

    def hold(self, claim: str, nodes: Mapping[str, int], now: float) -> None:
        """A claim that was there before has held these units, by node, since it started."""
        demand = self._demands[claim]
        self._leases[claim] = tuple(Lease(claim, node, units) for node, units in nodes.items() if units)
        self._meter.hold(demand.principal, demand.unit, sum(nodes.values()), now)

    def leave(self, claim: str, now: float) -> None:
        demand = self._demands.pop(claim)
        for lease in self._leases.pop(claim, ()):
            self._meter.hold(demand.principal, demand.unit, -lease.units, now)

    def decide(self, now: float) -> Plan:
        leases = tuple(chain.from_iterable(self._leases.values()))
        seen = self._seen()
        usage = self._meter.usage({name for one in seen for name in path_of(one.principal)}, now)
        plan, _ = self._policy(replace(self._setting, demands=seen, leases=leases, now=now, usage=usage))
        for change in plan.grants:
            if not self._leases.get(change.claim):  # it begins
                demand = self._demands[change.claim]
                self._meter.charge(demand.principal, demand.unit, change.units, now)
        for sign, changes in ((-1, plan.shrinks), (1, plan.grants)):
            for change in changes:
                self._change(change, sign, now)
        return plan

    def _seen(self) -> tuple[Demand, ...]:
        return tuple(self._demands.values())

    def _change(self, change: Change, sign: int, now: float) -> None:
        claim, demand = change.claim, self._demands[change.claim]
        self._meter.hold(demand.principal, demand.unit, sign * change.units, now)
        units = {lease.node: lease.units for lease in self._leases.get(claim, ())}
        units[change.node] = units.get(change.node, 0) + sign * change.units
        self._leases[claim] = tuple(Lease(claim, node, count) for node, count in units.items() if count)
        if not self._leases[claim]:
            self._demands[claim] = replace(demand, started=None)
        elif demand.started is None:
            self._demands[claim] = replace(demand, started=now)


class RigidBooks(Books):
    """Books for ``fair_share`` while nobody can be shrunk or grow: whoever has no room now is not shown.

    Such a claim is tried in its turn and gives way to the next, so that without it the plan is the same; and
    where nobody has room there is nothing to decide. With claims that may be shrunk, that grow, or that are
    of different priority (one without room lends its user's others its place among equals) all are shown.
    Of every user one claim is shown: who asks at all is a part of how usage counts. So is one that has no
    room, where there is one: without any there would be room for everything, and no order to keep.
    """

    settles = True

    def __init__(self, policy: Policy, setting: Snapshot) -> None:
        super().__init__(policy, setting)
        self._rooms = Rooms(setting.nodes)
        self._waiting: dict[Vector, list[tuple[int, str]]] = {}  # units and claims, fewest first
        self._askers: dict[str, dict[str, None]] = {}  # by principal, its claims that wait
        self._rigid = True
        self._priority: int | None = None

    def arrive(self, demand: Demand) -> None:
        super().arrive(demand)
        insort(self._waiting.setdefault(demand.unit.vector, []), (demand.min, demand.claim))
        self._askers.setdefault(demand.principal, {})[demand.claim] = None
        if self._priority is None:
            self._priority = demand.priority
        self._rigid &= not demand.preemptible and 0 < demand.min == demand.max
        self._rigid &= demand.priority == self._priority

    def leave(self, claim: str, now: float) -> None:
        demand, leases = self._demands[claim], self._leases.get(claim, ())
        for lease in leases:
            node = self._rooms.index[lease.node]
            self._rooms.put(node, plus(self._rooms.free[node], demand.unit.vector, lease.units))
        if not leases:
            self._waits_no_more(demand)
        super().leave(claim, now)

    def decide(self, now: float) -> Plan:
        return super().decide(now) if not self._rigid or self._hopeful() else Plan()

    def _hopeful(self) -> list[str]:
        """Who waits and has room now, were he alone."""
        hopeful: list[str] = []
        for unit, waiting in self._waiting.items():
            if waiting:
                room = units_of(room_now(self._rooms, unit, waiting[-1][0]))
                hopeful += [claim for _, claim in waiting[: bisect_left(waiting, (room + 1, ""))]]
        return hopeful

    def _seen(self) -> tuple[Demand, ...]:
        if not self._rigid:
            return super()._seen()
        one_each = (next(iter(claims)) for claims in self._askers.values()) if self._setting.sharing.k else ()
        hopeful = dict.fromkeys(self._hopeful())
        largest = (waiting[-1][1] for waiting in self._waiting.values() if waiting)
        hopeless = islice((claim for claim in largest if claim not in hopeful), 1)
        shown = dict.fromkeys(chain(self._leases, hopeful, hopeless, one_each))
        return tuple(self._demands[claim] for claim in shown)

    def _change(self, change: Change, sign: int, now: float) -> None:
        demand = self._demands[change.claim]
        if not self._leases.get(change.claim):
            self._waits_no_more(demand)
        super()._change(change, sign, now)
        if not self._leases[change.claim]:
            insort(self._waiting[demand.unit.vector], (demand.min, demand.claim))
            self._askers.setdefault(demand.principal, {})[demand.claim] = None
        node, unit = self._rooms.index[change.node], demand.unit.vector
        self._rooms.put(node, plus(self._rooms.free[node], unit, -sign * change.units))

    def _waits_no_more(self, demand: Demand) -> None:
        waiting = self._waiting[demand.unit.vector]
        del waiting[bisect_left(waiting, (demand.min, demand.claim))]
        del self._askers[demand.principal][demand.claim]
        if not self._askers[demand.principal]:
            del self._askers[demand.principal]


def scheduler(
    policy: str,
    nodes: Sequence[Node],
    principals: Sequence[Principal],
    placement: Placement = FIRST,
    sharing: Sharing = DEFAULT_SHARING,
) -> Scheduler:
    """The policy of this name before an empty cluster that nobody has used yet.

    Raises:
        ValueError: there is no such policy or placement.
    """
    found = policy_of(policy)
    if isinstance(found, QueuePolicy):
        return found.open(nodes, principals, placement)
    plain = all(principal.quota == Resources() for principal in principals)
    books = RigidBooks if policy == "fair_share" and plain else Books
    empty = Snapshot(tuple(nodes), tuple(principals), (), placement=placement, sharing=sharing)
    return books(found, empty)


def scheduler_at(snapshot: Snapshot, policy: Policy) -> Scheduler:
    """The policy where the snapshot is."""
    standing: Queue | Books
    if isinstance(policy, QueuePolicy):
        standing = policy.open(snapshot.nodes, snapshot.principals, snapshot.placement)
    else:
        standing = Books(policy, snapshot)
    for demand in snapshot.demands:
        standing.arrive(demand)
    for claim, units in held_units(snapshot).items():
        standing.hold(claim, units, snapshot.now)
    return standing
