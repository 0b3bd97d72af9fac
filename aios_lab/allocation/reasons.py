"""Why a claim holds less than it asked for, in plain words that name who holds what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from heapq import nsmallest

from aios_lab.allocation.board import missing, short_of
from aios_lab.allocation.preemption import guarded
from aios_lab.allocation.room import how_many, plus
from aios_lab.allocation.shares import Tree, total_capacity
from aios_lab.allocation.targets import starting_units
from aios_lab.allocation.types import (
    RESOURCES,
    Change,
    Demand,
    Lease,
    Plan,
    Principal,
    Resources,
    Snapshot,
    Vector,
)
from aios_lab.allocation.words import amount_of, amounts, count, listed, noun, scarcest, who

NAMED = 3  # others that a reason names before it only counts them


def reasons(snapshot: Snapshot, plan: Plan, targets: Mapping[str, int]) -> dict[str, str]:
    """A reason for every claim that holds less than its maximum once the plan is done, by claim.

    ``targets`` are the units that every claim should have by the policy that made the plan. Where that is a
    queue, the plan says of those who wait for room which place they have in it.
    """
    return Book(snapshot, plan, targets).reasons()


def cause(reason: str) -> str:
    """The part of a reason that says why, where it says before what happens."""
    return reason.partition(": ")[2] or reason


class Book:
    """What everyone holds once the plan is carried out."""

    def __init__(self, snapshot: Snapshot, plan: Plan, targets: Mapping[str, int]) -> None:
        self.snapshot = snapshot
        self.targets = dict(targets)
        self.capacity = total_capacity(snapshot)
        self.demands = {demand.claim: demand for demand in snapshot.demands}
        self.leased = _sums(snapshot.leases)
        self.shrinking = _sums(plan.shrinks)
        granted = _sums(plan.grants)
        self.held = {
            claim: self.leased.get(claim, 0) - self.shrinking.get(claim, 0) + granted.get(claim, 0)
            for claim in self.demands
        }
        self.tree = Tree(snapshot.principals, self.capacity)
        for claim, demand in self.demands.items():
            if self.held[claim] and self.tree.limits(demand.principal):  # the rest is not asked for
                self.tree.use_units(demand.principal, demand.unit.vector, self.held[claim])
        self.queue = plan.reasons
        self._by_resource: dict[str, tuple[int, list[tuple[str, str]]]] = {}
        self._possible_of: dict[Vector, int] = {}
        self._missing_of: dict[Vector, str] = {}
        self._said: dict[tuple[object, ...], str] = {}
        self._named: set[str] = set()
        self._leaving = [(claim, units) for claim, units in sorted(self.shrinking.items()) if units]
        self._kinds = Counter(node.capacity.vector for node in snapshot.nodes)

    def reasons(self) -> dict[str, str]:
        return {
            claim: self.reason(demand)
            for claim, demand in sorted(self.demands.items())
            if self.held[claim] < demand.max
        }

    def waits(self, demand: Demand) -> str:
        """The reason of a claim that came later, holds nothing and gets nothing."""
        self.demands[demand.claim] = demand
        self.held[demand.claim] = self.targets[demand.claim] = 0
        return self.reason(demand)

    def forget(self, demand: Demand) -> None:
        """A claim that held nothing is gone."""
        del self.demands[demand.claim], self.held[demand.claim], self.targets[demand.claim]

    def reason(self, demand: Demand) -> str:
        """Claims in the same case hear the same, but for who is named himself and who is told his place."""
        claim, held = demand.claim, self.held[demand.claim]
        if claim in self.queue or claim in self._named:
            return self._reason(demand, held)
        limits = self.tree.limits(demand.principal)
        case = (
            demand.unit.vector, starting_units(demand), held and demand.max, held, self.targets[claim],
            self.shrinking.get(claim), demand.idle, limits[-1][0].name if limits else None,
        )  # fmt: skip
        if (said := self._said.get(case)) is None:
            said = self._reason(demand, held)
            if claim not in self._named:
                self._said[case] = said
        return said

    def _reason(self, demand: Demand, held: int) -> str:
        return self._never(demand) or self._limited(demand, held) or self._waiting(demand, held)

    def _never(self, demand: Demand) -> str:
        """Empty unless the minimum can never be had, or the maximum cannot and the rest is there."""
        held, start = self.held[demand.claim], starting_units(demand)
        possible = self._possible(demand.unit)
        if not possible:
            return (
                f"It can never start: one worker needs {amounts(demand.unit)}, and {self._largest(demand)}."
            )
        if start > possible:
            return (
                f"It can never start: it needs {count(start)} at once ({amounts(demand.unit)} each), "
                f"and the cluster has room for {possible} in all."
            )
        if limit := self._too_small_limit(demand, start):
            return (
                f"It can never start: it needs {amounts(demand.unit * start)}, "
                f"and {self._name(limit)} may use at most {amounts(_of(limit))}."
            )
        if held >= min(possible, demand.max) and held:
            return f"It holds {count(held)}, and the cluster has room for no more than {possible} in all."
        return ""

    def _possible(self, unit: Resources) -> int:
        """How many units an empty cluster would have room for."""
        vector = unit.vector
        if vector not in self._possible_of:
            self._possible_of[vector] = sum(how_many(vector, room) * n for room, n in self._kinds.items())
        return self._possible_of[vector]

    def _largest(self, demand: Demand) -> str:
        if not self.snapshot.nodes:
            return "the cluster has no nodes"
        for resource, need in demand.unit.items():
            largest = max(getattr(node.capacity, resource) for node in self.snapshot.nodes)
            if need > largest:
                if not largest:
                    return f"the cluster has no {noun(resource)}"
                return f"the largest node has {amount_of(resource, largest)}"
        return "no node has all of that together"

    def _too_small_limit(self, demand: Demand, units: int) -> Principal | None:
        for name in self.tree.path(demand.principal):
            limit = self.tree.principals[name].limit
            if limit is not None and not (demand.unit * max(1, units)).fits_in(limit):
                return self.tree.principals[name]
        return None

    def _limited(self, demand: Demand, held: int) -> str:
        """Empty unless a principal's limit is what stands in the way."""
        principal = self.tree.over_limit(demand.principal, demand.unit * self._step(demand, held))
        if principal is None:
            return ""
        limit = _of(principal)
        resource = next(iter(short_of(demand.unit, limit - self.tree.usage(principal.path))), "cpu")
        used = getattr(self.tree.usage(principal.path), resource)
        return (
            f"{self._want(demand, held)}: {self._name(principal)} may use at most "
            f"{amount_of(resource, getattr(limit, resource))} and uses {amount_of(resource, used)}."
        )

    def _waiting(self, demand: Demand, held: int) -> str:
        want = self._want(demand, held)
        if place := self.queue.get(demand.claim):
            return f"{want}: {place}; {self._holders(demand)}."
        if units := self.shrinking.get(demand.claim):
            lent = " while it lies idle" if demand.idle else ""
            share = count(self.targets[demand.claim])
            return f"It gives back {count(units)}{lent}: {self._below(demand)}; its own share is {share}."
        if self._leaving and self.targets[demand.claim] > held:
            said = [f"{who(self.demands[c])} gives back {count(units)}" for c, units in self._leaving[:NAMED]]
            return f"{want}: {listed(said, len(self._leaving))}."
        others = self._holders(demand)
        share = f" Its fair share is {count(held)} now." if held else ""
        return f"{want}: {others}.{share}"

    def _below(self, demand: Demand) -> str:
        """Who is below the fair share, and could use what the claim gives back."""
        needs = [resource for resource, need in demand.unit.items() if need]
        below = [one for one in self._lacking if any(getattr(one.unit, name) for name in needs)]
        if not below:
            return "a limit or a machine is smaller now"
        waits = "waits for its share" if len(below) == 1 else "wait for their share"
        return f"{listed([who(one) for one in below[:NAMED]], len(below))} {waits}"

    @cached_property
    def _lacking(self) -> list[Demand]:
        """Who should have more than there is for them yet, first those who asked first."""
        lacking = [one for claim, one in self.demands.items() if self.targets[claim] > self.held[claim]]
        return sorted(lacking, key=lambda one: (one.submitted, one.claim))

    def _holders(self, demand: Demand) -> str:
        """Who holds most of what is missing, largest first."""
        missing = self._missing(demand)
        said = [said for claim, said in self._largest_holders(missing) if claim != demand.claim]
        if not said:
            return f"what is free on any one node is less than one worker needs ({amounts(demand.unit)})"
        own = getattr(demand.unit, missing) * self.held[demand.claim] > 0
        return listed(said[:NAMED], self._by_resource[missing][0] - own)

    def _largest_holders(self, resource: str) -> list[tuple[str, str]]:
        """Who may be named, and what is said of each: one more than is named, for the one who asks."""
        if resource not in self._by_resource:
            whole = getattr(self.capacity, resource)
            rows = [
                (-units * getattr(self.demands[claim].unit, resource), claim)
                for claim, units in self.held.items()
                if units
            ]
            rows = [row for row in rows if row[0]]
            largest = nsmallest(NAMED + 1, rows)
            said = [(claim, self._holds(claim, amount_of(resource, -part, whole))) for part, claim in largest]
            self._by_resource[resource] = len(rows), said
            self._named.update(claim for _, claim in largest)
        return self._by_resource[resource][1]

    def _holds(self, claim: str, what: str) -> str:
        demand = self.demands[claim]
        keeps = ""
        if demand.floor and self.leased.get(claim):
            keeps = " and keeps it while it trains"
        elif not self.queue and guarded(demand, self.snapshot):  # a queue takes nothing from anybody
            keeps = f" and keeps its minimum for the first {self.snapshot.sharing.guard} s"
        return f"{who(demand)} holds {what}{keeps}"

    def _missing(self, demand: Demand) -> str:
        """The resource that the node with the most room lacks first."""
        vector = demand.unit.vector
        if vector not in self._missing_of:
            self._missing_of[vector] = self._lacks_first(demand)
        return self._missing_of[vector]

    def _lacks_first(self, demand: Demand) -> str:
        fewest: tuple[int, ...] = ()
        for room in self._free:
            lack = missing(demand.unit.vector, room)
            if lack and (not fewest or len(lack) < len(fewest)):
                fewest = lack
            if len(fewest) == 1:
                break
        return RESOURCES[fewest[0]] if fewest else scarcest(demand.unit, self.capacity)

    @cached_property
    def _free(self) -> list[Vector]:
        """What is free on the nodes, by name; the same only once."""
        free = {node.name: node.capacity.vector for node in self.snapshot.nodes}
        units = {claim: demand.unit.vector for claim, demand in self.demands.items()}
        for claim, node, held in self.snapshot.leases:
            free[node] = plus(free[node], units[claim], -held)
        return [*dict.fromkeys(room for _, room in sorted(free.items()))]

    def _step(self, demand: Demand, held: int) -> int:
        return max(1, starting_units(demand) - held)

    def _want(self, demand: Demand, held: int) -> str:
        more = max(demand.max - held, 1) if held else self._step(demand, held)
        each = " each" if more > 1 else ""
        workers = count(more, "more worker") if held else count(more)
        return f"Waiting for {workers} ({amounts(demand.unit)}{each})"

    def _name(self, principal: Principal) -> str:
        kind = ("the cluster", "project ", "user ")[min(2, principal.path.count("/"))]
        return kind if kind == "the cluster" else kind + principal.path.rpartition("/")[2]


def _sums(parts: Iterable[Change | Lease]) -> dict[str, int]:
    """Units by claim."""
    sums: dict[str, int] = {}
    for part in parts:
        sums[part.claim] = sums.get(part.claim, 0) + part.units
    return sums


def _of(principal: Principal) -> Resources:
    return principal.limit if principal.limit is not None else Resources()
