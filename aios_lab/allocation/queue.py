"""Queue policies: claims start in an order, keep what they have, and may be let past a head that waits.

An order alone holds up everyone behind the first claim that has no room. With a backfill, a later claim
starts where it delays nobody it must not: EASY protects the first claim that waits (Lifka, JSSPP 1995),
conservative backfill every one of them (Mu'alem and Feitelson, TPDS 2001). Both plan with the durations that
claims state; a claim without one is taken to last for ever, and one that outlasts its own may end any moment.

Room beyond the minimums goes to started claims in the same order, and only when nobody waits for room.
Quotas and weights count for nothing here; limits do, and a claim at its limit holds up nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from aios_lab.allocation.line import Backfill, Line
from aios_lab.allocation.placement.rooms import FIRST
from aios_lab.allocation.shares import held_units, weighted_share
from aios_lab.allocation.targets import starting_units
from aios_lab.allocation.types import Demand, Node, Placement, Plan, Principal, Resources, Snapshot
from aios_lab.allocation.words import listed, who

BACKFILLS: tuple[Backfill, ...] = ("none", "easy", "conservative")
STEP = 3600.0  # seconds of waiting that are worth one step of priority
NAMED = 3  # claims ahead that a reason names before it only counts them


@dataclass(frozen=True, slots=True)
class Order:
    """How a queue is sorted: smallest key first, equal ones by who asked first; ``name`` is for people.

    A key is made of the demand and of what the cluster has, not of the time: a queue once sorted stays so.
    """

    name: str
    key: Callable[[Demand, Resources], float]


def _duration(demand: Demand, _: Resources) -> float:
    return math.inf if demand.duration is None else demand.duration


def _area(demand: Demand, capacity: Resources) -> float:
    need = demand.unit * min(max(1, starting_units(demand)), demand.max)
    part = weighted_share(need, capacity, 1)
    return _duration(demand, capacity) * part if part else 0.0  # for ever times nothing is no number


def _aged(demand: Demand, _: Resources) -> float:
    """Priority that grows with waiting grows alike for all who wait: the order is that of who would have
    asked first, were a step of priority an hour."""
    return demand.submitted - demand.priority * STEP


# fcfs is fair in time and easy to explain. sjf has the lowest mean wait and saf the lowest mean slowdown
# (Carastan-Santos et al., CCGrid 2019), but long claims, or long and large ones, may starve. Under priority
# nobody does: an hour of waiting is worth one step of it.
ORDERS: Mapping[str, Order] = {
    "fcfs": Order("first come, first served", lambda demand, _: demand.submitted),
    "sjf": Order("shortest first", _duration),
    "saf": Order("smallest area first", _area),
    "priority": Order("highest priority first, which grows with waiting", _aged),
}


class Queue:
    """A queue while it lasts: claims come and go, and every plan counts as carried out.

    It ``settles``: after a plan nothing is left to do at the same moment.
    """

    settles = True

    def __init__(
        self,
        order: Order,
        backfill: Backfill,
        nodes: Sequence[Node],
        principals: Iterable[Principal],
        placement: Placement = FIRST,
    ) -> None:
        self.line = Line(nodes, principals, backfill, placement)
        self._order = order

    def arrive(self, demand: Demand) -> None:
        """A claim asks; it holds nothing yet."""
        self.line.add(demand, self._order.key(demand, self.line.capacity))

    def hold(self, claim: str, nodes: Mapping[str, int], now: float) -> None:
        """A claim holds these units, by node; ``now`` is in seconds since the epoch."""
        for name, units in nodes.items():
            self.line.hold(claim, self.line.node(name), units)

    def leave(self, claim: str, now: float) -> None:
        """A claim is gone, with all that it held; ``now`` is in seconds since the epoch."""
        self.line.remove(claim)

    def decide(self, now: float) -> Plan:
        """What ``decide`` would make of this moment, in seconds since the epoch, without reasons."""
        return self.line.decide(now)


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """An order and a backfill. Called with a snapshot it makes the plan, with reasons for those whom the
    queue makes wait, and says how many units everybody then has."""

    order: Order
    backfill: Backfill

    def __call__(self, snapshot: Snapshot) -> tuple[Plan, Mapping[str, int]]:
        queue = self.open(snapshot.nodes, snapshot.principals, snapshot.placement)
        for demand in snapshot.demands:
            queue.arrive(demand)
        for claim, nodes in held_units(snapshot).items():
            queue.hold(claim, nodes, snapshot.now)
        line, plan = queue.line, queue.decide(snapshot.now)
        return replace(plan, reasons=self._reasons(line, snapshot)), {
            demand.claim: line.units(demand.claim) for demand in snapshot.demands
        }

    def open(
        self, nodes: Sequence[Node], principals: Iterable[Principal], placement: Placement = FIRST
    ) -> Queue:
        """An empty queue before these nodes, for who decides again and again."""
        return Queue(self.order, self.backfill, nodes, principals, placement)

    def _reasons(self, line: Line, snapshot: Snapshot) -> dict[str, str]:
        waiting = [*line.waiting()]
        reasons = {}
        for place, demand in enumerate(waiting):
            ahead = [who(other) for other in waiting[max(0, place - NAMED) : place]]
            after = f", after {listed(ahead, place)}" if ahead else ""
            reasons[demand.claim] = f"it is number {place + 1} in the queue ({self.order.name}){after}"
        for demand in snapshot.demands:
            if 0 < line.units(demand.claim) < demand.max:
                reasons.setdefault(demand.claim, "what is free goes to those first who wait to start")
        return reasons


def queue_policy(order: Order, backfill: Backfill) -> QueuePolicy:
    """The policy of this order and backfill."""
    return QueuePolicy(order, backfill)
