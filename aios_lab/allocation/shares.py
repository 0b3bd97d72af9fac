"""The principals' usage, and the order in which claims get their next unit."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aios_lab.allocation.types import Demand, Principal, Resources, Snapshot

ROOT = ""


def total_capacity(snapshot: Snapshot) -> Resources:
    """All that the nodes have together."""
    return sum((node.capacity for node in snapshot.nodes), Resources())


def weighted_share(used: Resources, capacity: Resources, weight: int) -> float:
    """Weighted dominant share, max_r (used_r / capacity_r) / weight (Ghodsi et al., NSDI 2011).

    Whole numbers are divided once, so that equal shares compare equal. A weight of 0 is served last.
    """
    if weight <= 0:
        return float("inf")
    return max(
        used.cpu / (capacity.cpu * weight) if capacity.cpu else 0.0,
        used.memory / (capacity.memory * weight) if capacity.memory else 0.0,
        used.gpu / (capacity.gpu * weight) if capacity.gpu else 0.0,
        used.gpu_memory / (capacity.gpu_memory * weight) if capacity.gpu_memory else 0.0,
    )


class Tree:
    """What every principal uses, on the way from the root to the one a claim belongs to.

    Ancestors that the snapshot leaves out get default weight, no quota and no limit.
    """

    def __init__(self, principals: Iterable[Principal], capacity: Resources) -> None:
        self.capacity = capacity
        self.principals = {ROOT: Principal(ROOT)} | {p.path: p for p in principals}
        self.used: dict[str, Resources] = {}
        self._paths: dict[str, tuple[str, ...]] = {}

    def path(self, principal: str) -> tuple[str, ...]:
        """The principals from the root down to this one."""
        if principal not in self._paths:
            parts = principal.split("/") if principal else []
            names = tuple("/".join(parts[:depth]) for depth in range(len(parts) + 1))
            for name in names:
                self.principals.setdefault(name, Principal(name))
            self._paths[principal] = names
        return self._paths[principal]

    def use(self, principal: str, amount: Resources) -> None:
        for name in self.path(principal):
            self.used[name] = self.usage(name) + amount

    def usage(self, name: str) -> Resources:
        return self.used.get(name, Resources())

    def share(self, name: str) -> float:
        return weighted_share(self.usage(name), self.capacity, self.principals[name].weight)

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
        path = self.path(principal)
        if depth >= len(path):
            return False
        name = path[depth]
        quota = self.principals[name].quota
        return quota != Resources() and (self.usage(name) + amount).fits_in(quota)


Key = tuple[int, float, tuple[int, float, str]]


@dataclass(slots=True)
class Claimant:
    """A claim on its way to its target: ``count`` of the units that it gets, ``held`` of those it has."""

    demand: Demand
    held: int
    count: int = 0


class FairQueue:
    """Claims in the order of their next unit: at every level, from the root, the child with the highest
    priority, then the lowest weighted dominant share; equal ones by who already holds the unit, then by
    who asked first, then by id.

    Only the shares on the path of the claim that was served change, so each level is a heap whose top is
    replaced: O(depth · log n) a unit.
    """

    def __init__(self, tree: Tree, claimants: Iterable[Claimant]) -> None:
        self._tree = tree
        self._claimants = {c.demand.claim: c for c in claimants}
        self._heaps: dict[str, list[tuple[Key, str, bool]]] = {}
        for claimant in self._claimants.values():
            self._heaps.setdefault(claimant.demand.principal, []).append(self._claim_entry(claimant))
            for name in tree.path(claimant.demand.principal):
                self._heaps.setdefault(name, [])
        for name in sorted(self._heaps, key=lambda n: (-len(tree.path(n)), n)):
            heapq.heapify(self._heaps[name])
            if name != ROOT:
                self._heaps[tree.path(name)[-2]].append(self._principal_entry(name))

    def best(self) -> Claimant | None:
        """The claim to serve next; it stays at the top until ``served`` or ``drop``."""
        name, is_claim = ROOT, False
        while not is_claim:
            heap = self._heaps.get(name)
            if not heap:
                return None
            _, name, is_claim = heap[0]
        return self._claimants[name]

    def served(self, claimant: Claimant) -> None:
        """The best claim got units: its path has new shares."""
        self._replace(claimant, self._claim_entry(claimant))

    def drop(self, claimant: Claimant) -> None:
        """The best claim wants or can get no more."""
        self._replace(claimant, None)

    def _replace(self, claimant: Claimant, entry: tuple[Key, str, bool] | None) -> None:
        for name in reversed(self._tree.path(claimant.demand.principal)):
            heap = self._heaps[name]
            if entry is None:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, entry)
            entry = self._principal_entry(name) if heap else None

    def _claim_entry(self, claimant: Claimant) -> tuple[Key, str, bool]:
        demand = claimant.demand
        share = weighted_share(demand.unit * claimant.count, self._tree.capacity, 1)
        holds = 0 if claimant.held > claimant.count else 1
        return (-demand.priority, share, (holds, demand.submitted, demand.claim)), demand.claim, True

    def _principal_entry(self, name: str) -> tuple[Key, str, bool]:
        tie = self._heaps[name][0][0][2]
        return (-self._tree.principals[name].priority, self._tree.share(name), tie), name, False


def held_units(snapshot: Snapshot) -> Mapping[str, Mapping[str, int]]:
    """Units by claim and node, both sorted by name."""
    units: dict[str, dict[str, int]] = {}
    for lease in sorted(snapshot.leases, key=lambda lease: (lease.claim, lease.node)):
        nodes = units.setdefault(lease.claim, {})
        nodes[lease.node] = nodes.get(lease.node, 0) + lease.units
    return units
