"""The principals' usage, and the order in which claims get their next unit."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from aios_lab.allocation.room import ENDLESS, NOTHING, larger, plus
from aios_lab.allocation.types import Demand, Principal, Resources, Snapshot, Vector

ROOT = ""


def total_capacity(snapshot: Snapshot) -> Resources:
    """All that the nodes have together."""
    columns = zip(*(node.capacity.vector for node in snapshot.nodes), strict=True)
    return Resources(*(sum(column) for column in columns))


def weighted_share(used: Resources, capacity: Resources, weight: int) -> float:
    """Weighted dominant share, max_r (used_r / capacity_r) / weight (Ghodsi et al., NSDI 2011).

    Whole numbers are divided once, so that equal shares compare equal. A weight of 0 is served last.
    """
    return _share(used.vector, None if weight <= 0 else (capacity * weight).vector)


def _share(used: Vector, scale: Vector | None) -> float:
    """The largest of usage by ``scale``, which is capacity times weight; without one it counts as most."""
    if scale is None:
        return float("inf")
    cpu, memory, gpu, gpu_memory = scale
    most = used[0] / cpu if cpu else 0.0
    if memory and (part := used[1] / memory) > most:
        most = part
    if gpu and (part := used[2] / gpu) > most:
        most = part
    if gpu_memory and (part := used[3] / gpu_memory) > most:
        most = part
    return most


def dominant_part(unit: Vector, capacity: Resources) -> tuple[int, int]:
    """How much a unit has of the resource of which it takes the largest part, and how much there is of it."""
    part, total = 0, 1
    for amount, whole in zip(unit, capacity.vector, strict=True):
        if whole and amount * total > part * whole:
            part, total = amount, whole
    return part, total


@dataclass(slots=True)
class Branch:
    """A principal in the tree, and what is used by it and below it. ``scale`` is capacity times weight; none
    with a weight of 0."""

    name: str
    depth: int  # below the root
    priority: int
    scale: Vector | None
    quota: Vector
    limit: Vector | None
    used: Vector = NOTHING

    def leaves(self, most: Vector, unit: Vector, units: int) -> bool:
        """Whether so many units more are within ``most``."""
        used = self.used
        return (
            used[0] + unit[0] * units <= most[0]
            and used[1] + unit[1] * units <= most[1]
            and used[2] + unit[2] * units <= most[2]
            and used[3] + unit[3] * units <= most[3]
        )

    def beyond(self) -> Vector:
        """What is used beyond the quota."""
        return self.used if self.quota == NOTHING else larger(NOTHING, plus(self.used, self.quota, -1))


class Tree:
    """What every principal uses, on the way from the root to the one a claim belongs to.

    Ancestors that the snapshot leaves out get default weight, no quota and no limit.
    """

    def __init__(self, principals: Iterable[Principal], capacity: Resources) -> None:
        self.capacity = capacity
        self.principals = {ROOT: Principal(ROOT)} | {p.path: p for p in principals}
        self._branches: dict[str, Branch] = {}
        self._ways: dict[str, tuple[Branch, ...]] = {}
        self._limits: dict[str, tuple[tuple[Branch, Vector], ...]] = {}

    def unused(self) -> Tree:
        """The same principals, who use nothing."""
        return Tree(self.principals.values(), self.capacity)

    def way(self, principal: str) -> tuple[Branch, ...]:
        """The branches from the root down to this principal."""
        if (known := self._ways.get(principal)) is not None:
            return known
        names = path_of(principal)
        known = tuple(self._branch(name, depth) for depth, name in enumerate(names))
        self._ways[principal] = known
        return known

    def _branch(self, name: str, depth: int) -> Branch:
        if (known := self._branches.get(name)) is not None:
            return known
        one = self.principals.setdefault(name, Principal(name))
        scale = (self.capacity * one.weight).vector if one.weight > 0 else None
        limit = None if one.limit is None else one.limit.vector
        branch = self._branches[name] = Branch(name, depth, one.priority, scale, one.quota.vector, limit)
        return branch

    def path(self, principal: str) -> tuple[str, ...]:
        """The names of those branches."""
        return tuple(branch.name for branch in self.way(principal))

    def branch(self, name: str) -> Branch:
        return self.way(name)[-1]

    def use(self, principal: str, amount: Resources) -> None:
        self.use_units(principal, amount.vector, 1)

    def use_units(self, principal: str, unit: Vector, units: int) -> None:
        cpu, memory, gpu, gpu_memory = unit
        if units != 1:
            cpu, memory, gpu, gpu_memory = cpu * units, memory * units, gpu * units, gpu_memory * units
        for branch in self._ways.get(principal) or self.way(principal):
            now = branch.used
            branch.used = now[0] + cpu, now[1] + memory, now[2] + gpu, now[3] + gpu_memory

    def usage(self, name: str) -> Resources:
        return Resources(*self.branch(name).used)

    def dominant(self, name: str) -> float:
        """The dominant share of the whole, 0 to 1, whatever the weight."""
        return weighted_share(self.usage(name), self.capacity, 1)

    def over_limit(self, principal: str, amount: Resources) -> Principal | None:
        """The first principal on the path whose limit forbids this much more; none when it may be had."""
        unit = amount.vector
        for branch, limit in self.limits(principal):
            if not branch.leaves(limit, unit, 1):
                return self.principals[branch.name]
        return None

    def within_limits(self, principal: str, unit: Vector, units: int) -> bool:
        """Whether all limits on the path leave room for so many units more."""
        limits = self.limits(principal)
        return not limits or all(branch.leaves(limit, unit, units) for branch, limit in limits)

    def limits(self, principal: str) -> tuple[tuple[Branch, Vector], ...]:
        """Those on the path that have a limit, and their limits."""
        if (known := self._limits.get(principal)) is None:
            known = tuple((one, one.limit) for one in self.way(principal) if one.limit is not None)
            self._limits[principal] = known
        return known

    def within_quota(self, principal: str, unit: Vector, units: int, depth: int) -> bool:
        """Whether the principal at this depth of the path has so many units of its quota left."""
        branch = self.way(principal)[depth]
        return branch.leaves(branch.quota, unit, units)

    def has_quota(self, principal: str, depth: int) -> bool:
        way = self.way(principal)
        return depth < len(way) and way[depth].quota != NOTHING

    def quota_depths(self) -> list[int]:
        """How deep below the root there are quotas, deepest first."""
        none = Resources()
        depths = {len(path_of(name)) - 1 for name, one in self.principals.items() if one.quota != none}
        return sorted(depths, reverse=True)


@lru_cache(maxsize=10_000)
def path_of(principal: str) -> tuple[str, ...]:
    """The nameless root, and the principals from there down to this one."""
    parts = principal.split("/") if principal else []
    return tuple("/".join(parts[:depth]) for depth in range(len(parts) + 1))


@dataclass(slots=True)
class Claimant:
    """A claim on its way to its target: ``count`` of the units that it gets, ``held`` of those it has, the
    ``goal`` of the present round, and a ``step`` of units on the way there, all or none."""

    demand: Demand
    held: int
    unit: Vector
    count: int = 0
    goal: int = 0
    step: int = 1


# Two numbers that a principal competes by with its siblings, smaller first: see ``Keys``.
Key = tuple[float, float]

# Who goes first: priority (negated), the two numbers of its key (of a claim: its share, and whether it lies
# idle), who holds the unit already, who asked first, and the claim's id. A principal has the last three of
# the claim that is served first below it, so no two entries are equal, and the claimants are not compared.
Entry = tuple[int, float, float, int, float, str, Claimant]


class Keys(Protocol):
    """By what principals compete with their siblings."""

    def key(self, branch: Branch) -> Key:
        """The principal's numbers with what it uses now; they never fall while it is given more."""


class Shares:
    """The lowest weighted share is next. Below the ``depth`` of the path whose quota is being served, and
    everywhere without one, only what is beyond a principal's own quota counts: the rest is its due."""

    def __init__(self, depth: int | None = None) -> None:
        self._depth = -1 if depth is None else depth

    def key(self, branch: Branch) -> Key:
        return _share(branch.beyond() if branch.depth > self._depth else branch.used, branch.scale), 0.0


@dataclass(slots=True)
class Level:
    """What competes right below a principal; ``behind`` is its priority negated. For claims right below it
    so many units of a shape at once, or more, are ``hopeless``."""

    branch: Branch
    above: Level | None
    behind: int
    heap: list[Entry] = field(default_factory=list)
    hopeless: dict[Vector, int] = field(default_factory=dict)

    def entry(self, keys: Keys) -> Entry:
        """The principal's own entry in the level above."""
        share, lately = keys.key(self.branch)
        _, _, _, holds, submitted, claim, claimant = self.heap[0]
        return self.behind, share, lately, holds, submitted, claim, claimant


class FairQueue:
    """Claims in the order of their next unit: at every level, from the root, the child with the highest
    priority, then the smallest key (``Shares``: the lowest weighted dominant share); equal ones by who
    already holds the unit, then by who asked first, then by id.

    Only the shares on the path of the claim that was served change, so each level is a heap whose top is
    replaced: O(depth · log n) a step.
    """

    def __init__(self, tree: Tree, claimants: Iterable[Claimant], keys: Keys | None = None) -> None:
        self._tree = tree
        self._keys = keys or Shares()
        self._parts: dict[Vector, tuple[int, int]] = {}
        self._levels: dict[str, Level] = {}
        levels = self._levels
        for claimant in claimants:
            if claimant.unit not in self._parts:
                self._parts[claimant.unit] = dominant_part(claimant.unit, tree.capacity)
            principal = claimant.demand.principal
            level = levels.get(principal) or self._level(principal)
            level.heap.append(self._entry(claimant))
        children: dict[str, Level] = {}
        for level in sorted(levels.values(), key=lambda each: -each.branch.depth):
            heapq.heapify(level.heap)
            if level.above is not None:
                level.above.heap.append(level.entry(self._keys))
                children[level.above.branch.name] = level
        # Above it everybody is without siblings, and no share decides anything.
        self._top = levels.get(ROOT)
        while self._top is not None and len(self._top.heap) == 1 and self._top.branch.name in children:
            self._top = children[self._top.branch.name]

    def _level(self, name: str) -> Level:
        if (known := self._levels.get(name)) is not None:
            return known
        way = self._tree.way(name)
        above = self._level(way[-2].name) if len(way) > 1 else None
        level = self._levels[name] = Level(way[-1], above, -way[-1].priority)
        return level

    def best(self) -> Claimant | None:
        """The claim to serve next; it stays at the top until it is ``served``, ``done`` or dropped."""
        top = self._top
        return top.heap[0][-1] if top is not None and top.heap else None

    def served(self, claimant: Claimant) -> None:
        """The best claim got its step and wants more: its path has new shares."""
        level = self._levels[claimant.demand.principal]
        heapq.heapreplace(level.heap, self._entry(claimant))
        self._clear(level)

    def done(self, claimant: Claimant) -> None:
        """The best claim got its step and wants no more: its path has new shares."""
        level = self._levels[claimant.demand.principal]
        heapq.heappop(level.heap)
        self._clear(level)

    def drop(self, claimant: Claimant) -> None:
        """The best claim can get no more, nor can its siblings that need as much of its shape at once."""
        level = self._levels[claimant.demand.principal]
        level.hopeless[claimant.unit] = claimant.step
        self._clear(level)

    def _clear(self, level: Level) -> None:
        """Who has no hope does not stand for his principal."""
        heap, hopeless = level.heap, level.hopeless
        while heap and hopeless:
            first = heap[0][-1]
            if first.step < hopeless.get(first.unit, ENDLESS):
                break
            heapq.heappop(heap)
        self._rise(level)

    def _rise(self, level: Level) -> None:
        """The first entry of a level is new: so are those of the levels above."""
        top = self._top
        while level is not top and level.above is not None:
            above = level.above
            if level.heap:
                heapq.heapreplace(above.heap, level.entry(self._keys))
            else:
                heapq.heappop(above.heap)
            level = above

    def _entry(self, claimant: Claimant) -> Entry:
        demand, count = claimant.demand, claimant.count
        amount, whole = self._parts[claimant.unit]
        holds = 0 if claimant.held > count else 1
        idle = 1.0 if demand.idle else 0.0
        share = amount * count / whole
        return -demand.priority, share, idle, holds, demand.submitted, demand.claim, claimant


# Units by claim and node, both sorted by name.
Held = Mapping[str, Mapping[str, int]]


def held_units(snapshot: Snapshot) -> Held:
    units: dict[str, dict[str, int]] = {}
    for claim, node, count in sorted(snapshot.leases):
        nodes = units.setdefault(claim, {})
        nodes[node] = nodes.get(node, 0) + count
    return units
