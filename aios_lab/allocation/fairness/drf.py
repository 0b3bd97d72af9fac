"""Dominant Resource Fairness, and asset fairness to compare it with.

Source: Ghodsi, Zaharia, Hindman, Konwinski, Shenker, Stoica, "Dominant Resource Fairness", NSDI 2011:
Algorithm 1 for whole tasks, section 4.3 for weights, section 4.1 for what each of the two gives. The
continuous form goes on after the first resource is used up, for those who do not need it: Parkes,
Procaccia, Shah, "Beyond Dominant Resource Fairness", EC 2012.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from aios_lab.allocation.fairness.checks import amount, exact
from aios_lab.allocation.fairness.filling import fill

Vectors = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class Filling(Mapping[str, float]):
    """The tasks of every user: ``filling["A"]``, as in a dict, and equal to one.

    ``tasks``: the same as a dict. ``dominant_shares``: each user's largest part of any resource, 0 to 1.
    ``weighted_shares``: those over the weights, which the filling makes equal where it can. ``used``: by
    resource. ``order``: whose task came when, for whole tasks.
    """

    tasks: Mapping[str, float]
    dominant_shares: Mapping[str, float]
    weighted_shares: Mapping[str, float]
    used: Mapping[str, float]
    order: tuple[str, ...] = ()
    _share_of_a_task: Mapping[str, Fraction] = field(default_factory=dict, repr=False)

    def __getitem__(self, user: str) -> float:
        return self.tasks[user]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def steps(self) -> list[tuple[str | float, ...]]:
        """The rows of the paper's Table 1: whose task it was, and then the dominant share of every user."""
        counts = dict.fromkeys(self.tasks, 0)
        rows: list[tuple[str | float, ...]] = []
        for user in self.order:
            counts[user] += 1
            rows.append((user, *(float(n * self._share_of_a_task[u]) for u, n in counts.items())))
        return rows


def drf(
    capacity: Mapping[str, float],
    demands: Vectors,
    weights: Mapping[str, float] | None = None,
    tasks: Literal["integer", "continuous"] = "integer",
) -> Filling:
    """Weighted Dominant Resource Fairness among users who all want as much as they can get.

    ``capacity`` is by resource, ``demands`` by user what one task needs, in the same units; ``weights`` are 1
    for users left out. A user of weight 0 gets what the others cannot use. Who demands nothing, or something
    of which there is none, has no tasks, and the others go on.

    "integer": one whole task at a time to the user with the lowest dominant share over weight; of equal
    ones to the one whose task is larger, then by name. Whose next task does not fit is done; others go on.
    "continuous": all dominant shares grow at the rate of their weights until a resource is used up; users
    who do not need it go on. Then everybody has at least an equal part of the whole (over the weights),
    nobody would have more tasks with another's share or by telling false demands, and nobody can have more
    without another's having less. If all users demand all resources, nobody has less when another leaves.

    Raises:
        ValueError: a number is negative, NaN or infinite, a user demands a resource that the capacity does
            not name, weights name an unknown user, or ``tasks`` is something else.
    """
    parts = _parts(capacity, demands)
    weight = _weights(demands, weights)
    if tasks == "integer":
        return _whole_tasks(capacity, demands, parts, weight)
    if tasks == "continuous":
        return _fill(
            capacity, demands, weight, {user: max(p.values(), default=0.0) for user, p in parts.items()}
        )
    raise ValueError(f'tasks is {tasks!r}: give "integer" or "continuous".')


def asset_fairness(
    capacity: Mapping[str, float], demands: Vectors, weights: Mapping[str, float] | None = None
) -> Filling:
    """Like continuous `drf`, but the sum of a user's parts of all resources is made equal, not the largest.

    A user may get less than an equal part of the whole, which is why `drf` is to be preferred.

    Raises:
        ValueError: as `drf`.
    """
    parts = _parts(capacity, demands)
    return _fill(
        capacity, demands, _weights(demands, weights), {user: sum(p.values()) for user, p in parts.items()}
    )


def _parts(capacity: Mapping[str, float], demands: Vectors) -> dict[str, dict[str, float]]:
    """Of every user who can run at all: the part of each demanded resource that one task takes."""
    for resource, value in capacity.items():
        amount(value, f"The capacity of {resource!r}")
    parts: dict[str, dict[str, float]] = {}
    for user, demand in demands.items():
        for resource, value in demand.items():
            amount(value, f"The demand of {user!r} for {resource!r}")
            if resource not in capacity:
                raise ValueError(f"{user!r} demands {resource!r}, which the capacity does not name.")
        needed = {resource: value for resource, value in demand.items() if value}
        if needed and all(capacity[resource] for resource in needed):
            parts[user] = {resource: value / capacity[resource] for resource, value in needed.items()}
    return parts


def _weights(demands: Vectors, weights: Mapping[str, float] | None) -> dict[str, float]:
    given = weights or {}
    if unknown := [user for user in given if user not in demands]:
        raise ValueError(f"There is a weight for {unknown[0]!r}, who demands nothing.")
    return {user: amount(given.get(user, 1.0), f"The weight of {user!r}") for user in demands}


def _whole_tasks(
    capacity: Mapping[str, float],
    demands: Vectors,
    parts: Mapping[str, Mapping[str, float]],
    weights: Mapping[str, float],
) -> Filling:
    free = {resource: exact(value) for resource, value in capacity.items()}
    needs = {user: [(r, exact(demands[user][r])) for r in parts[user]] for user in parts}
    of_a_task = {user: max(need / free[r] for r, need in needs[user]) for user in parts}
    counts = dict.fromkeys(demands, 0)
    order: list[str] = []

    def next_task(user: str) -> tuple[bool, Fraction, Fraction, str]:
        share, weight = counts[user] * of_a_task[user], exact(weights[user])
        return not weight, share / weight if weight else share, -of_a_task[user], user

    queue = [next_task(user) for user in parts]
    heapq.heapify(queue)
    while queue:
        user = queue[0][-1]
        if any(need > free[resource] for resource, need in needs[user]):
            heapq.heappop(queue)
            continue
        for resource, need in needs[user]:
            free[resource] -= need
        counts[user] += 1
        order.append(user)
        heapq.heapreplace(queue, next_task(user))
    zero = Fraction(0)
    shares = {user: float(count * of_a_task.get(user, zero)) for user, count in counts.items()}
    return Filling(
        tasks=counts,
        dominant_shares=shares,
        weighted_shares=_over(shares, weights),
        used={resource: float(exact(value) - free[resource]) for resource, value in capacity.items()},
        order=tuple(order),
        _share_of_a_task={user: of_a_task.get(user, zero) for user in demands},
    )


def _fill(
    capacity: Mapping[str, float],
    demands: Vectors,
    weights: Mapping[str, float],
    measure: Mapping[str, float],
) -> Filling:
    """All users' tasks times their ``measure`` grow at the rate of their weights, until nobody can go on."""
    import numpy as np

    users, resources = list(measure), list(capacity)
    whole = np.array([float(value) for value in capacity.values()])
    needs = np.array([[demands[user].get(r, 0.0) for r in resources] for user in users], dtype=float)
    needs = needs.reshape(len(users), len(resources))
    size, weight = np.array(list(measure.values())), np.array([weights[user] for user in users])
    free = whole.copy()
    counts = fill(free, needs, weight / size)
    counts += fill(free, needs, np.where(weight > 0, 0.0, 1 / size))
    with np.errstate(invalid="ignore"):
        parts = np.where(needs > 0, counts[:, None] * needs / whole, 0.0)
    nobody = dict.fromkeys(demands, 0.0)
    shares = nobody | dict(zip(users, parts.max(axis=1, initial=0.0).tolist(), strict=True))
    return Filling(
        tasks=nobody | dict(zip(users, counts.tolist(), strict=True)),
        dominant_shares=shares,
        weighted_shares=_over(shares, weights),
        used=dict(zip(resources, (counts @ needs).tolist(), strict=True)),
    )


def _over(shares: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    beyond_weight = {True: float("inf"), False: 0.0}
    return {u: s / weights[u] if weights[u] else beyond_weight[s > 0] for u, s in shares.items()}
