"""The principals' usage, and the order in which claims get their next unit."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aios_lab.allocation.room import NOTHING, larger, plus
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


class Tree:
    """What every principal uses, on the way from the root to the one a claim belongs to.

    Ancestors that the snapshot leaves out get default weight, no quota and no limit.
    """

    def __init__(self, principals: Iterable[Principal], capacity: Resources) -> None:
        self.capacity = capacity
        self.principals = {ROOT: Principal(ROOT)} | {p.path: p for p in principals}
        self._used: dict[str, Vector] = {}
        self._paths: dict[str, tuple[str, ...]] = {}
        self._scales: dict[str, Vector | None] = {}
        self._quotas = {path: p.quota.vector for path, p in self.principals.items() if p.quota != Resources()}

    def path(self, principal: str) -> tuple[str, ...]:
        """The principals from the root down to this one."""
        if principal not in self._paths:
            parts = principal.split("/") if principal else []
            names = tuple("/".join(parts[:depth]) for depth in range(len(parts) + 1))
            for name in names:
                weight = self.principals.setdefault(name, Principal(name)).weight
                self._scales[name] = (self.capacity * weight).vector if weight > 0 else None
            self._paths[principal] = names
        return self._paths[principal]

    def use(self, principal: str, amount: Resources) -> None:
        self.use_units(principal, amount.vector, 1)

    def use_units(self, principal: str, unit: Vector, units: int) -> None:
        used = self._used
        for name in self.path(principal):
            used[name] = plus(used.get(name, NOTHING), unit, units)

    def usage(self, name: str) -> Resources:
        return Resources(*self._used.get(name, NOTHING))

    def share(self, name: str, beyond: bool = False) -> float:
        """The weighted dominant share, of all that is used or only of what is beyond the quota."""
        used = self.beyond_quota(name) if beyond else self._used.get(name, NOTHING)
        return _share(used, self._scales[name])

    def beyond_quota(self, name: str) -> Vector:
        used, quota = self._used.get(name, NOTHING), self._quotas.get(name)
        return used if quota is None else larger(NOTHING, plus(used, quota, -1))

    def dominant(self, name: str) -> float:
        """The dominant share of the whole, 0 to 1, whatever the weight."""
        return weighted_share(self.usage(name), self.capacity, 1)

    def over_limit(self, principal: str, amount: Resources) -> Principal | None:
        """The first principal on the path whose limit forbids this much more; none when it may be had."""
        for name in self.path(principal):
            limit = self.principals[name].limit
            if limit is not None and not (self.usage(name) + amount).fits_in(limit):
                return self.principals[name]
        return None

    def within_quota(self, principal: str, amount: Resources, depth: int) -> bool:
        """Whether the principal at this depth of the path has this much of its quota left."""
        name = self.path(principal)[depth]
        return (self.usage(name) + amount).fits_in(self.principals[name].quota)

    def has_quota(self, principal: str, depth: int) -> bool:
        path = self.path(principal)
        return depth < len(path) and self.principals[path[depth]].quota != Resources()


@dataclass(slots=True)
class Claimant:
    """A claim on its way to its target: ``count`` of the units that it gets, ``held`` of those it has."""

    demand: Demand
    held: int
    count: int = 0
    unit: Vector = field(init=False)

    def __post_init__(self) -> None:
        self.unit = self.demand.unit.vector


# Two numbers that a principal competes by with its siblings, smaller first: see ``Keys``.
Key = tuple[float, float]

# Who goes first: priority (negated), the two numbers of its key (of a claim: its share, and whether it lies
# idle), who holds the unit already, who asked first, and the claim's id. A principal has the last three of
# the claim that is served first below it, so no two entries are equal.
Entry = tuple[int, float, float, int, float, str]


class Keys(Protocol):
    """By what the principals of a level compete."""

    def weigh(self, siblings: Sequence[str]) -> None:
        """These compete with each other from now on."""

    def key(self, name: str) -> Key:
        """The principal's numbers with what it uses now; they never fall while it is given more."""


class Shares:
    """The lowest weighted share is next. Below the ``depth`` of the path whose quota is being served, and
    everywhere without one, only what is beyond a principal's own quota counts: that is its due."""

    def __init__(self, tree: Tree, depth: int | None = None) -> None:
        self._tree = tree
        self._depth = -1 if depth is None else depth

    def weigh(self, siblings: Sequence[str]) -> None:
        """Weights are what they are, whoever competes."""

    def beyond(self, name: str) -> bool:
        return len(self._tree.path(name)) - 1 > self._depth

    def key(self, name: str) -> Key:
        return self._tree.share(name, self.beyond(name)), 0.0


@dataclass(slots=True)
class Level:
    """What competes right below a principal; ``behind`` is its priority negated."""

    name: str
    depth: int
    above: Level | None
    behind: int
    heap: list[Entry] = field(default_factory=list)

    def entry(self, key: Key) -> Entry:
        """The principal's own entry in the level above."""
        _, _, _, holds, submitted, claim = self.heap[0]
        return self.behind, *key, holds, submitted, claim


class FairQueue:
    """Claims in the order of their next unit: at every level, from the root, the child with the highest
    priority, then the smallest key (``Shares``: the lowest weighted dominant share); equal ones by who
    already holds the unit, then by who asked first, then by id.

    Only the shares on the path of the claim that was served change, so each level is a heap whose top is
    replaced: O(depth · log n) a unit.
    """

    def __init__(self, tree: Tree, claimants: Iterable[Claimant], keys: Keys | None = None) -> None:
        self._tree = tree
        self._keys = keys or Shares(tree)
        self._claimants = {c.demand.claim: c for c in claimants}
        self._scale = tree.capacity.vector
        self._levels: dict[str, Level] = {}
        for claimant in self._claimants.values():
            self._level(claimant.demand.principal).heap.append(self._claim_entry(claimant))
        self._weigh()
        for level in sorted(self._levels.values(), key=lambda each: -each.depth):
            heapq.heapify(level.heap)
            if level.above is not None:
                level.above.heap.append(level.entry(self._keys.key(level.name)))

    def _weigh(self) -> None:
        siblings: dict[str, list[str]] = {}
        for level in self._levels.values():
            if level.above is not None:
                siblings.setdefault(level.above.name, []).append(level.name)
        for names in siblings.values():
            self._keys.weigh(names)

    def _level(self, name: str) -> Level:
        if name not in self._levels:
            path = self._tree.path(name)
            above = self._level(path[-2]) if len(path) > 1 else None
            self._levels[name] = Level(name, len(path), above, -self._tree.principals[name].priority)
        return self._levels[name]

    def best(self) -> Claimant | None:
        """The claim to serve next; it stays at the top until ``served`` or ``drop``."""
        top = self._levels[ROOT].heap if self._levels else None
        return self._claimants[top[0][-1]] if top else None

    def served(self, claimant: Claimant) -> None:
        """The best claim got units: its path has new shares."""
        level = self._levels[claimant.demand.principal]
        heapq.heapreplace(level.heap, self._claim_entry(claimant))
        while (above := level.above) is not None:
            heapq.heapreplace(above.heap, level.entry(self._keys.key(level.name)))
            level = above

    def drop(self, claimant: Claimant) -> None:
        """The best claim wants or can get no more: the shares are what they were."""
        level = self._levels[claimant.demand.principal]
        heapq.heappop(level.heap)
        while (above := level.above) is not None:
            if level.heap:
                heapq.heapreplace(above.heap, level.entry(above.heap[0][1:3]))
            else:
                heapq.heappop(above.heap)
            level = above

    def _claim_entry(self, claimant: Claimant) -> Entry:
        demand, count = claimant.demand, claimant.count
        share = _share(plus(NOTHING, claimant.unit, count), self._scale)
        holds = 0 if claimant.held > count else 1
        return -demand.priority, share, float(demand.idle), holds, demand.submitted, demand.claim


def held_units(snapshot: Snapshot) -> Mapping[str, Mapping[str, int]]:
    """Units by claim and node, both sorted by name."""
    units: dict[str, dict[str, int]] = {}
    for lease in sorted(snapshot.leases, key=lambda lease: (lease.claim, lease.node)):
        nodes = units.setdefault(lease.claim, {})
        nodes[lease.node] = nodes.get(lease.node, 0) + lease.units
    return units
