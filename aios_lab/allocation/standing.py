"""How past usage enters the order in which principals are served.

Siblings share what is beyond their quotas in the proportion of

    P = max(0, W' + k (W' − U')),

W' the part of their weights that is one's own, U' its usage over what the capacity would have come to in the
same time, as KAI Scheduler divides a resource (see ``fairness.division``). Here the next unit goes to the
lowest share over P, resource by resource, so that the dominant share decides when there are several. Of equal
shares the lower usage over weight goes first: that is what decides about a single unit that two want.

With the order of Slurm's Fair Tree, claims start by usage over weight first, from the root down: all of the
sibling with the lowest before any of the next (see ``fairness.slurm``; accounts that tie take turns here).

Usage moves all the time, and what it moves must not swing: for the units that a principal holds already, its
usage counts for less by ``hysteresis``. Who gave a unit away gets it back only when the two usages have moved
by twice as much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from aios_lab.allocation.room import NOTHING, larger, plus
from aios_lab.allocation.shares import Key, Keys, Shares, Tree, held_units
from aios_lab.allocation.types import Snapshot, Vector


class Past:
    """What the principals of a snapshot used lately, and which of it they hold now."""

    def __init__(self, snapshot: Snapshot, capacity: Vector) -> None:
        self.sharing = snapshot.sharing
        self.capacity = capacity
        self.usage: Mapping[str, Vector] = {one.principal: one.amount.vector for one in snapshot.usage}
        self.window = self.sharing.window
        # What the hysteresis comes to, in thousandths of amounts times seconds.
        self.slack = plus(NOTHING, capacity, self.sharing.hysteresis * self.window)
        self.counts = bool(self.window and self.usage and (self.sharing.k or self._by_usage))
        self.held: dict[str, Vector] = {}
        self.wanted: dict[str, Vector] = {}
        if self.counts:
            self._look_at(snapshot)

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

    def _look_at(self, snapshot: Snapshot) -> None:
        held_by = {claim: sum(nodes.values()) for claim, nodes in held_units(snapshot).items()}
        for demand in snapshot.demands:
            unit, units = demand.unit.vector, held_by.get(demand.claim, 0)
            parts = demand.principal.split("/")
            for depth in range(len(parts) + 1):
                name = "/".join(parts[:depth])
                self.held[name] = plus(self.held.get(name, NOTHING), unit, units)
                self.wanted[name] = larger(self.wanted.get(name, NOTHING), unit)


class _Standings(Shares):
    def __init__(self, past: Past, tree: Tree, depth: int | None, usage_first: bool) -> None:
        super().__init__(tree, depth)
        self._past = past
        self._usage_first = usage_first
        # By principal: P times the capacity and a common factor, first for units that it holds already.
        self._parts: dict[str, tuple[Vector, Vector]] = {}

    def weigh(self, siblings: Sequence[str]) -> None:
        past, k = self._past, self._past.sharing.k
        principals = self._tree.principals
        weights = sum(max(0, principals[name].weight) for name in siblings)
        for name in siblings:
            usage = past.thousandths(name)
            due = 1000 * (1000 + k) * max(0, principals[name].weight) * past.window
            held = larger(NOTHING, plus(usage, past.slack, -1))
            self._parts[name] = (
                _part(past.capacity, due, held, k * weights),
                _part(past.capacity, due, usage, k * weights),
            )

    def key(self, name: str) -> Key:
        past, used = self._past, self._tree.usage(name).vector
        held = past.held.get(name, NOTHING)
        holds = any(held) and all(u < h or u == h == 0 for u, h in zip(used, held, strict=True))
        weight = self._tree.principals[name].weight
        if weight <= 0:
            share = lately = math.inf
        else:
            beyond = self._tree.beyond_quota(name) if self.beyond(name) else used
            share = _dominant(beyond, self._parts[name][0 if holds else 1], past.wanted.get(name, NOTHING))
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


def _part(capacity: Vector, due: int, usage: Vector, against: int) -> Vector:
    return plus(plus(NOTHING, capacity, due), usage, -against)


def _dominant(used: Vector, part: Vector, wanted: Vector) -> float:
    """The largest of usage over its part; whose part of something that is wanted is nothing comes last."""
    return max(
        amount / one if one > 0 else math.inf if amount or need else 0.0
        for amount, one, need in zip(used, part, wanted, strict=True)
    )
