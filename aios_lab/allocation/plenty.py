"""Where there is room for all that is asked for, nobody has to be compared with anybody."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from aios_lab.allocation.room import NOTHING, Rooms, fits, how_many, plus
from aios_lab.allocation.shares import Claimant, Tree
from aios_lab.allocation.types import Vector

Spots = list[tuple[int, int]]  # nodes, and how many units on each


class Plenty(NamedTuple):
    """Who gets everything, and where that is; the others contend, for no more than their limits."""

    served: list[Claimant]
    ready: Mapping[str, Spots]
    now: Rooms  # what is free once those are served
    contending: list[Claimant]


def plenty(claimants: Sequence[Claimant], tree: Tree, now: Rooms) -> Plenty | None:
    """Room that is free ``now`` for all that is asked for beyond what is held; None where it is not enough.

    Whoever is under a limit that is lower than all that is asked for below it is left to contend for it.
    ``claimants`` have counted what may not be taken from them, and the tree uses that much.
    """
    asking = [claimant for claimant in claimants if claimant.count < claimant.demand.max]
    tight = _tight_limits(asking, tree)
    principals = {claimant.demand.principal for claimant in asking} if tight else ()
    below = {name for name in principals if any(one.name in tight for one, _ in tree.limits(name))}
    served = [claimant for claimant in asking if claimant.demand.principal not in below]
    contending = [claimant for claimant in asking if claimant.demand.principal in below]
    now = now.copy()
    ready = _put(served, now)
    if ready is None or not _allowed(claimants, ready, tree, tight) or _put(contending, now.copy()) is None:
        return None
    return Plenty(served, ready, now, contending)


def _put(claimants: Iterable[Claimant], rooms: Rooms) -> dict[str, Spots] | None:
    """Take room for all that they lack, for those first who asked first; None when it is not enough."""
    spots: dict[str, Spots] = {}
    for claimant in sorted(claimants, key=lambda c: (c.demand.submitted, c.demand.claim)):
        unit, left = claimant.unit, claimant.demand.max - claimant.held
        found: Spots = []
        while left > 0:
            node = rooms.pick(unit)
            if node is None:
                return None
            count = min(left, how_many(unit, rooms.free[node])) if left > 1 else 1
            rooms.take(node, unit, count)
            found.append((node, count))
            left -= count
        if found:
            spots[claimant.demand.claim] = found
    return spots


def _tight_limits(asking: Iterable[Claimant], tree: Tree) -> set[str]:
    """The principals whose limit is lower than all that is kept and asked for below them."""
    left: dict[str, Vector] = {}
    for claimant in asking:
        for branch, limit in tree.limits(claimant.demand.principal):
            before = left.get(branch.name) or plus(limit, branch.used, -1)
            left[branch.name] = plus(before, claimant.unit, claimant.count - claimant.demand.max)
    return {name for name, amount in left.items() if min(amount) < 0}


def _allowed(
    claimants: Iterable[Claimant], ready: Mapping[str, Spots], tree: Tree, tight: Collection[str]
) -> bool:
    """Whether the other limits leave room beside what is held now, part of which may yet be given back."""
    held: dict[str, Vector] = {}
    more: dict[str, Vector] = {}
    for claimant in claimants:
        for branch, _ in tree.limits(claimant.demand.principal):
            if branch.name not in tight:
                units = sum(count for _, count in ready.get(claimant.demand.claim, ()))
                held[branch.name] = plus(held.get(branch.name, NOTHING), claimant.unit, claimant.held)
                more[branch.name] = plus(more.get(branch.name, NOTHING), claimant.unit, units)
    limits = ((name, tree.branch(name).limit or NOTHING) for name in more)
    return all(fits(more[name], plus(limit, held[name], -1)) for name, limit in limits)
