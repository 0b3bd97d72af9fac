"""The principals' usage, and the order in which claims get their next unit."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter

from aios_lab.allocation.room import ENDLESS, NOTHING, plus
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
    return max(
        used[0] / cpu if cpu else 0.0,
        used[1] / memory if memory else 0.0,
        used[2] / gpu if gpu else 0.0,
        used[3] / gpu_memory if gpu_memory else 0.0,
    )


def dominant_part(unit: Vector, capacity: Resources) -> tuple[int, int]:
    """How much a unit has of the resource of which it takes the largest part, and how much there is of it."""
    part, total = 0, 1
    for amount, whole in zip(unit, capacity.vector, strict=True):
        if whole and amount * total > part * whole:
            part, total = amount, whole
    return part, total


class Tree:
    """What every principal uses, on the way from the root to the one a claim belongs to.

    Ancestors that the snapshot leaves out get default weight, no quota and no limit.
    """

    def __init__(self, principals: Iterable[Principal], capacity: Resources) -> None:
        self.capacity = capacity
        self.principals = {ROOT: Principal(ROOT)} | {p.path: p for p in principals}
        self._used: dict[str, Vector] = {}
        self._paths: dict[str, tuple[str, ...]] = {}
        self._limited: dict[str, tuple[tuple[str, Vector], ...]] = {}
        self._quotas = {path: p.quota.vector for path, p in self.principals.items()}
        self._scales: dict[str, Vector | None] = {}

    def path(self, principal: str) -> tuple[str, ...]:
        """The principals from the root down to this one."""
        if (known := self._paths.get(principal)) is not None:
            return known
        parts = principal.split("/") if principal else []
        names = tuple("/".join(parts[:depth]) for depth in range(len(parts) + 1))
        for name in names:
            if name not in self._scales:
                weight = self.principals.setdefault(name, Principal(name)).weight
                self._scales[name] = (self.capacity * weight).vector if weight > 0 else None
        self._paths[principal] = names
        return names

    def use(self, principal: str, amount: Resources) -> None:
        self.use_units(principal, amount.vector, 1)

    def use_units(self, principal: str, unit: Vector, units: int) -> None:
        used = self._used
        cpu, memory, gpu, gpu_memory = unit if units == 1 else plus(NOTHING, unit, units)
        for name in self._paths.get(principal) or self.path(principal):
            now = used.get(name, NOTHING)
            used[name] = now[0] + cpu, now[1] + memory, now[2] + gpu, now[3] + gpu_memory

    def usage(self, name: str) -> Resources:
        return Resources(*self._used.get(name, NOTHING))

    def share(self, name: str) -> float:
        return _share(self._used.get(name, NOTHING), self._scales[name])

    def dominant(self, name: str) -> float:
        """The dominant share of the whole, 0 to 1, whatever the weight."""
        return weighted_share(self.usage(name), self.capacity, 1)

    def over_limit(self, principal: str, amount: Resources) -> Principal | None:
        """The first principal on the path whose limit forbids this much more; none when it may be had."""
        unit = amount.vector
        names = (name for name, limit in self.limits(principal) if not self._leaves(name, limit, unit, 1))
        name = next(names, None)
        return None if name is None else self.principals[name]

    def within_limits(self, principal: str, unit: Vector, units: int) -> bool:
        """Whether all limits on the path leave room for so many units more."""
        limits = self.limits(principal)
        return not limits or all(self._leaves(name, limit, unit, units) for name, limit in limits)

    def limits(self, principal: str) -> tuple[tuple[str, Vector], ...]:
        """The principals on the path that have a limit, and their limits."""
        if (known := self._limited.get(principal)) is None:
            limits = ((name, self.principals[name].limit) for name in self.path(principal))
            known = tuple((name, limit.vector) for name, limit in limits if limit is not None)
            self._limited[principal] = known
        return known

    def within_quota(self, principal: str, unit: Vector, units: int, depth: int) -> bool:
        """Whether the principal at this depth of the path has so many units of its quota left."""
        name = self.path(principal)[depth]
        return self._leaves(name, self._quotas.get(name, NOTHING), unit, units)

    def has_quota(self, principal: str, depth: int) -> bool:
        path = self.path(principal)
        return depth < len(path) and self._quotas.get(path[depth], NOTHING) != NOTHING

    def quota_depths(self) -> list[int]:
        """How deep below the root there are quotas, deepest first."""
        depths = {len(self.path(name)) - 1 for name, quota in self._quotas.items() if quota != NOTHING}
        return sorted(depths, reverse=True)

    def _leaves(self, name: str, most: Vector, unit: Vector, units: int) -> bool:
        """Whether the principal may use ``most`` and so has so many units left."""
        used = self._used.get(name, NOTHING)
        return (
            used[0] + unit[0] * units <= most[0]
            and used[1] + unit[1] * units <= most[1]
            and used[2] + unit[2] * units <= most[2]
            and used[3] + unit[3] * units <= most[3]
        )


@dataclass(slots=True)
class Claimant:
    """A claim on its way to its target: ``count`` of the units that it gets, ``held`` of those it has, the
    ``goal`` of the present round, and a ``step`` of units on the way there, all or none."""

    demand: Demand
    held: int
    count: int = 0
    goal: int = 0
    step: int = 1
    unit: Vector = field(init=False)

    def __post_init__(self) -> None:
        self.unit = self.demand.unit.vector


# Who goes first: priority (negated), share, who holds the unit already, who asked first, and the claim's id.
# A principal has the last three of the claim that is served first below it, so no two entries are equal.
Entry = tuple[int, float, int, float, str]


@dataclass(slots=True)
class Level:
    """What competes right below a principal; ``behind`` is its priority negated. For claims right below it
    so many units of a shape at once, or more, are ``hopeless``."""

    name: str
    depth: int
    above: Level | None
    behind: int
    heap: list[Entry] = field(default_factory=list)
    hopeless: dict[Vector, int] = field(default_factory=dict)

    def entry(self, share: float) -> Entry:
        """The principal's own entry in the level above."""
        _, _, holds, submitted, claim = self.heap[0]
        return self.behind, share, holds, submitted, claim


class FairQueue:
    """Claims in the order of their next unit: at every level, from the root, the child with the highest
    priority, then the lowest weighted dominant share; equal ones by who already holds the unit, then by
    who asked first, then by id.

    Only the shares on the path of the claim that was served change, so each level is a heap whose top is
    replaced: O(depth · log n) a step.
    """

    def __init__(self, tree: Tree, claimants: Iterable[Claimant]) -> None:
        self._tree = tree
        self._claimants = {c.demand.claim: c for c in claimants}
        units = {claimant.unit for claimant in self._claimants.values()}
        self._parts = {unit: dominant_part(unit, tree.capacity) for unit in units}
        self._levels: dict[str, Level] = {}
        for claimant in self._claimants.values():
            self._level(claimant.demand.principal).heap.append(self._entry(claimant))
        for level in sorted(self._levels.values(), key=lambda each: -each.depth):
            heapq.heapify(level.heap)
            if level.above is not None:
                level.above.heap.append(level.entry(tree.share(level.name)))

    def _level(self, name: str) -> Level:
        if (known := self._levels.get(name)) is not None:
            return known
        path = self._tree.path(name)
        above = self._level(path[-2]) if len(path) > 1 else None
        level = Level(name, len(path), above, -self._tree.principals[name].priority)
        self._levels[name] = level
        return level

    def best(self) -> Claimant | None:
        """The claim to serve next; it stays at the top until it is ``served``, ``done`` or dropped."""
        top = self._levels[ROOT].heap if self._levels else None
        return self._claimants[top[0][4]] if top else None

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
            first = self._claimants[heap[0][4]]
            if first.step < hopeless.get(first.unit, ENDLESS):
                break
            heapq.heappop(heap)
        self._rise(level)

    def _rise(self, level: Level) -> None:
        """The first entry of a level is new: so are those of the levels above."""
        while (above := level.above) is not None:
            if not level.heap:
                heapq.heappop(above.heap)
            elif len(above.heap) == 1:  # without siblings its share decides nothing
                above.heap[0] = level.entry(0.0)
            else:
                heapq.heapreplace(above.heap, level.entry(self._tree.share(level.name)))
            level = above

    def _entry(self, claimant: Claimant) -> Entry:
        demand, count = claimant.demand, claimant.count
        amount, whole = self._parts[claimant.unit]
        holds = 0 if claimant.held > count else 1
        return -demand.priority, amount * count / whole, holds, demand.submitted, demand.claim


# Units by claim and node, both sorted by name.
Held = Mapping[str, Mapping[str, int]]


def held_units(snapshot: Snapshot) -> Held:
    units: dict[str, dict[str, int]] = {}
    for lease in sorted(snapshot.leases, key=attrgetter("claim", "node")):
        nodes = units.setdefault(lease.claim, {})
        nodes[lease.node] = nodes.get(lease.node, 0) + lease.units
    return units
