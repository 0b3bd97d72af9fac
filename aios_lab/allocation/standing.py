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
from dataclasses import dataclass

from aios_lab.allocation.room import NOTHING, larger, plus
from aios_lab.allocation.shares import Branch, Held, Key, Keys, Shares, Tree, path_of
from aios_lab.allocation.types import Principal, Snapshot, Vector


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
            self._look_at(snapshot, leases)

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
            return Shares(depth)
        return _Standings(self, tree, depth, usage_first=starting and self._by_usage)

    def _look_at(self, snapshot: Snapshot, leases: Held) -> None:
        alike: dict[tuple[str, Vector], tuple[int, int]] = {}  # units held and asked for, by user and shape
        for demand in snapshot.demands:
            case = demand.principal, demand.unit.vector
            held, most = alike.get(case, (0, 0))
            nodes = leases.get(demand.claim)
            alike[case] = held + (sum(nodes.values()) if nodes else 0), most + demand.max
        asked: dict[str, Vector] = {}
        for (principal, unit), (held, most) in alike.items():
            for name in path_of(principal):
                self.held[name] = plus(self.held.get(name, NOTHING), unit, held)
                asked[name] = plus(asked.get(name, NOTHING), unit, most)
                self.wanted[name] = larger(self.wanted.get(name, NOTHING), unit)
        self._weigh(snapshot.principals, asked)

    def _weigh(self, principals: Iterable[Principal], asked: Mapping[str, Vector]) -> None:
        known = {principal.path: principal for principal in principals}
        for name, amount in asked.items():
            principal = known.get(name) or Principal(name)
            if name and any(a > q for a, q in zip(amount, principal.quota.vector, strict=True)):
                parent = principal.parent or ""
                self.weights[parent] = self.weights.get(parent, 0) + max(0, principal.weight)


@dataclass(frozen=True, slots=True)
class _Standing:
    """What of a principal stays the same while units are given.

    ``parts`` are P times the capacity and a common factor, ``lately`` its usage over its weight, 0 to 1 for
    who always held everything: each first for the units that it holds already.
    """

    held: Vector
    weight: int
    parts: tuple[Vector, Vector]
    wanted: Vector
    lately: tuple[float, float]


class _Standings:
    """``Keys`` of share over P, then of usage; with ``usage_first`` the other way round."""

    def __init__(self, past: Past, tree: Tree, depth: int | None, usage_first: bool) -> None:
        self._past = past
        self._tree = tree
        self._depth = -1 if depth is None else depth
        self._usage_first = usage_first
        self._standings: dict[str, _Standing] = {}

    def key(self, branch: Branch) -> Key:
        one = self._standings.get(branch.name) or self._stand(branch.name)
        if one.weight <= 0:
            return math.inf, math.inf
        used = branch.used
        fresh = 0 if _within(used, one.held) else 1
        lately = one.lately[fresh]
        beyond = branch.beyond() if branch.depth > self._depth else used
        share = _dominant(beyond, one.parts[fresh], one.wanted)
        if not self._usage_first:
            return share, lately
        if fresh:
            lately += self._charged(larger(NOTHING, plus(used, one.held, -1)), one.weight)
        return lately, share

    def _stand(self, name: str) -> _Standing:
        past, k = self._past, self._past.sharing.k
        principal = self._tree.principals[name]
        weight = max(0, principal.weight)
        against = k * past.weights.get(principal.parent or "", 0)
        due = plus(NOTHING, past.capacity, 1000 * (1000 + k) * weight * past.window)
        usage = past.thousandths(name)
        less = larger(NOTHING, plus(usage, past.slack, -1))
        one = self._standings[name] = _Standing(
            past.held.get(name, NOTHING),
            weight,
            (plus(due, less, -against), plus(due, usage, -against)),
            past.wanted.get(name, NOTHING),
            (self._over_weight(less, weight), self._over_weight(usage, weight)),
        )
        return one

    def _charged(self, more: Vector, weight: int) -> float:
        """What is given now is charged at once: not all of a burst is judged by the usage before it."""
        return self._over_weight(plus(NOTHING, more, 1000 * self._past.sharing.charge), weight)

    def _over_weight(self, usage: Vector, weight: int) -> float:
        scale = 1000 * self._past.window * weight
        return max(
            amount / (whole * scale) if whole and scale else 0.0
            for amount, whole in zip(usage, self._past.capacity, strict=True)
        )


def _within(used: Vector, held: Vector) -> bool:
    """Whether a unit more is one that is held already."""
    return held != NOTHING and (
        (used[0] < held[0] or used[0] == held[0] == 0)
        and (used[1] < held[1] or used[1] == held[1] == 0)
        and (used[2] < held[2] or used[2] == held[2] == 0)
        and (used[3] < held[3] or used[3] == held[3] == 0)
    )


def _dominant(used: Vector, part: Vector, wanted: Vector) -> float:
    """The largest of usage over its part; whose part of something that is wanted is nothing comes last."""
    most = 0.0
    for which in range(4):
        if part[which] > 0:
            most = max(most, used[which] / part[which])
        elif used[which] or wanted[which]:
            return math.inf
    return most
