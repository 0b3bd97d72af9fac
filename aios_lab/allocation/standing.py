"""How past usage enters the order in which principals are served.

Siblings share what is beyond their quotas in the proportion of

    P = max(0, W' + k (W' − U')),

W' the part that is one's own of the weights of siblings who ask for more than their quotas, U' its usage
over what the capacity would have come to in the same time, as KAI Scheduler divides a resource (see
``fairness.division``). Here the next unit goes to the lowest share over P, resource by resource, so that the
dominant share decides when there are several. Of equal shares the lower usage over weight goes first: that is
what decides about a single unit that two want.

With the order of Slurm's Fair Tree, claims start by usage over weight first, from the root down: all of the
sibling with the lowest before any of the next (see ``fairness.slurm``; accounts that tie take turns here).

Usage moves all the time, and what it moves must not swing: for the units that a principal holds already, its
usage counts for less by ``hysteresis``. Who gave a unit away gets it back only when the two usages have moved
by twice as much.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from aios_lab.allocation.room import NOTHING, larger, plus
from aios_lab.allocation.shares import Held, Key, Keys, Shares, Tree
from aios_lab.allocation.types import Demand, Principal, Snapshot, Vector


class Past:
    """What the principals of a snapshot used lately, and which of it they hold now."""

    def __init__(self, snapshot: Snapshot, capacity: Vector, leases: Held) -> None:
        """``leases``: units by claim and node."""
        self.sharing = snapshot.sharing
        self.capacity = capacity
        self.usage: Mapping[str, Vector] = {one.principal: one.amount.vector for one in snapshot.usage}
        self.window = self.sharing.window
        # What the hysteresis comes to, in thousandths of amounts times seconds.
        self.slack = plus(NOTHING, capacity, self.sharing.hysteresis * self.window)
        self.counts = bool(self.window and self.usage and (self.sharing.k or self._by_usage))
        self.held: dict[str, Vector] = {}
        self.wanted: dict[str, Vector] = {}  # the largest unit that anybody below it asks for
        self.weights: dict[str, int] = {}  # by parent, of those below who ask for more than their quota
        if self.counts:
            self._look_at(snapshot.demands, leases)
            self._weigh(snapshot)

    @property
    def _by_usage(self) -> bool:
        return self.sharing.order == "fair_tree"

    def thousandths(self, name: str) -> Vector:
        """The principal's usage, in thousandths of amounts times seconds."""
        return plus(NOTHING, self.usage.get(name, NOTHING), 1000)

    def keys(self, tree: Tree, depth: int | None = None, starting: bool = False) -> Keys:
        """By what principals compete for units of this tree, within the quotas at a depth or beyond all of
        them; ``starting`` when the units are those that claims begin with."""
        if not self.counts:
            return Shares(tree, depth)
        return _Standings(self, tree, depth, usage_first=starting and self._by_usage)

    def _look_at(self, demands: Iterable[Demand], leases: Held) -> None:
        for demand in demands:
            unit, units = demand.unit.vector, sum(leases.get(demand.claim, {}).values())
            for name in path_of(demand.principal):
                self.held[name] = plus(self.held.get(name, NOTHING), unit, units)
                self.wanted[name] = larger(self.wanted.get(name, NOTHING), unit)

    def _weigh(self, snapshot: Snapshot) -> None:
        asked: dict[str, Vector] = {}
        for demand in snapshot.demands:
            for name in path_of(demand.principal):
                asked[name] = plus(asked.get(name, NOTHING), demand.unit.vector, demand.max)
        known = {principal.path: principal for principal in snapshot.principals}
        for name, amount in asked.items():
            principal = known.get(name) or Principal(name)
            if name and any(a > q for a, q in zip(amount, principal.quota.vector, strict=True)):
                parent = principal.parent or ""
                self.weights[parent] = self.weights.get(parent, 0) + max(0, principal.weight)


class _Standings(Shares):
    def __init__(self, past: Past, tree: Tree, depth: int | None, usage_first: bool) -> None:
        super().__init__(tree, depth)
        self._past = past
        self._usage_first = usage_first
        # By principal: P times the capacity and a common factor, first for units that it holds already.
        self._parts: dict[str, tuple[Vector, Vector]] = {}

    def _part(self, name: str) -> tuple[Vector, Vector]:
        if name not in self._parts:
            past, k = self._past, self._past.sharing.k
            principal = self._tree.principals[name]
            against = k * past.weights.get(principal.parent or "", 0)
            due = plus(NOTHING, past.capacity, 1000 * (1000 + k) * max(0, principal.weight) * past.window)
            usage = past.thousandths(name)
            held = larger(NOTHING, plus(usage, past.slack, -1))
            self._parts[name] = plus(due, held, -against), plus(due, usage, -against)
        return self._parts[name]

    def key(self, name: str) -> Key:
        past, used = self._past, self._tree.usage(name).vector
        held = past.held.get(name, NOTHING)
        holds = any(held) and all(u < h or u == h == 0 for u, h in zip(used, held, strict=True))
        weight = self._tree.principals[name].weight
        if weight <= 0:
            share = lately = math.inf
        else:
            beyond = self._tree.beyond_quota(name) if self.beyond(name) else used
            share = _dominant(beyond, self._part(name)[0 if holds else 1], past.wanted.get(name, NOTHING))
            lately = self._lately(name, used, held, holds) / weight
        return (lately, share) if self._usage_first else (share, lately)

    def _lately(self, name: str, used: Vector, held: Vector, holds: bool) -> float:
        """The usage, 0 to 1 for who always held everything; what is given now is charged at once."""
        past = self._past
        usage = past.thousandths(name)
        if holds:
            usage = larger(NOTHING, plus(usage, past.slack, -1))
        else:
            usage = plus(usage, larger(NOTHING, plus(used, held, -1)), 1000 * past.sharing.charge)
        return max(
            amount / (1000 * whole * past.window) if whole else 0.0
            for amount, whole in zip(usage, past.capacity, strict=True)
        )


def _dominant(used: Vector, part: Vector, wanted: Vector) -> float:
    """The largest of usage over its part; whose part of something that is wanted is nothing comes last."""
    return max(
        amount / one if one > 0 else math.inf if amount or need else 0.0
        for amount, one, need in zip(used, part, wanted, strict=True)
    )


def path_of(principal: str) -> list[str]:
    """The nameless root, and the principals from there down to this one."""
    parts = principal.split("/") if principal else []
    return ["/".join(parts[:depth]) for depth in range(len(parts) + 1)]
