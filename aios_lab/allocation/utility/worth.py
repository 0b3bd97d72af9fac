"""What claims are worth to the programs: the weights of the quota tree, and the priority of the request."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction

from aios_lab.allocation.shares import Tree
from aios_lab.allocation.types import Demand

# The weight of a claim among its siblings, which is that of a principal by default.
WEIGHT = 100
# Each step of priority doubles a weight, up to so many steps: farther ones would drown all others.
STEPS = 20


def doubled(weight: int, priority: int) -> Fraction:
    """A weight, doubled with each step of priority; 0 where it is none."""
    return max(0, weight) * Fraction(2) ** max(-STEPS, min(STEPS, priority))


def products(tree: Tree, demands: Iterable[Demand]) -> Mapping[str, Fraction]:
    """By claim, the weights on its path multiplied: what one unit is worth, whoever else is there."""
    worth = {}
    for demand in demands:
        worth[demand.claim] = doubled(WEIGHT, demand.priority)
        for name in tree.path(demand.principal)[1:]:
            worth[demand.claim] *= _weight(tree, name)
    return worth


def portions(tree: Tree, demands: Collection[Demand]) -> Mapping[str, Fraction]:
    """By claim, its part of the cluster, 1 in sum: at every level of the tree, what a principal has is
    divided by weight between those right below it who have claims. A weight of 0 on its path is no part.
    """
    mine = {demand.claim: doubled(WEIGHT, demand.priority) for demand in demands}
    paths = {demand.principal: tree.path(demand.principal) for demand in demands}
    served = {name: path for name, path in paths.items() if all(_weight(tree, each) for each in path[1:])}
    below: dict[str, Fraction] = {}
    for parent, name in {pair for path in served.values() for pair in itertools.pairwise(path)}:
        below[parent] = below.get(parent, Fraction()) + _weight(tree, name)
    for demand in demands:
        below[demand.principal] = below.get(demand.principal, Fraction()) + mine[demand.claim]
    part = dict.fromkeys(paths, Fraction())
    for principal, path in served.items():
        part[principal] = Fraction(1)
        for parent, name in itertools.pairwise(path):
            part[principal] *= _weight(tree, name) / below[parent]
    return {d.claim: part[d.principal] * mine[d.claim] / below[d.principal] for d in demands}


def _weight(tree: Tree, name: str) -> Fraction:
    principal = tree.principals[name]
    return doubled(principal.weight, principal.priority)
