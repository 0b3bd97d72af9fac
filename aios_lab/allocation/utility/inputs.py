"""The numbers of a program, by name, checked and put in order.

Users and resources are sorted by name, so that the order in which they are given never shows in an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aios_lab.allocation.fairness.checks import amount

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Vectors = Mapping[str, Mapping[str, float]]

# Squares of ratios of ratios of such numbers are still numbers.
LEAST, MOST = 1e-30, 1e30


@dataclass(frozen=True, slots=True)
class Needs:
    """What one unit of every user takes of every resource."""

    users: tuple[str, ...]
    resources: tuple[str, ...]
    capacity: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]

    def parts(self) -> Array:
        """The same as parts of the capacity, a row a user; what is not there nobody needs."""
        import numpy as np

        rows = np.array(self.rows, dtype=float).reshape(len(self.users), len(self.resources))
        parts: Array = rows / np.array([capacity or 1.0 for capacity in self.capacity])
        return parts

    def used(self, allocation: Array) -> dict[str, float]:
        """By resource, what an allocation takes."""
        taken = allocation @ self.parts()
        sizes = zip(self.resources, taken, self.capacity, strict=True)
        return {resource: float(part) * capacity for resource, part, capacity in sizes}

    def prices(self, of_everything: Array) -> dict[str, float]:
        """Prices of units, from those of all that there is."""
        sizes = zip(self.resources, of_everything, self.capacity, strict=True)
        return {resource: float(price) / (capacity or 1.0) for resource, price, capacity in sizes}


def read(capacity: Mapping[str, float], demands: Vectors) -> Needs:
    """The needs of all users.

    Raises:
        ValueError: a number is not one, or a user demands what is not named or of which there is none.
    """
    sizes = {resource: quantity(capacity[resource], f"The capacity of {resource!r}") for resource in capacity}
    resources = tuple(sorted(sizes))
    rows = []
    for user in sorted(demands):
        row = {r: quantity(n, f"The demand of {user!r} for {r!r}") for r, n in demands[user].items()}
        for resource in row:
            if resource not in sizes:
                raise ValueError(f"{user!r} demands {resource!r}, which the capacity does not name.")
            if row[resource] and not sizes[resource]:
                raise ValueError(
                    f"The capacity of {resource!r} is 0 and {user!r} demands it: leave out {user!r}."
                )
        rows.append(tuple(row.get(resource, 0.0) for resource in resources))
    return Needs(tuple(sorted(demands)), resources, tuple(sizes[r] for r in resources), tuple(rows))


def every(names: Iterable[str], given: Mapping[str, float], what: str) -> tuple[float, ...]:
    """One amount for each name.

    Raises:
        ValueError: one is missing, of a stranger, negative, NaN or infinite.
    """
    names = tuple(names)
    if missing := [name for name in names if name not in given]:
        raise ValueError(f"{missing[0]!r} has no {what}: give it one, 0 if need be.")
    _no_strangers(names, given, what)
    return tuple(quantity(given[name], f"The {what} of {name!r}") for name in names)


def positive(names: Iterable[str], given: Mapping[str, float] | None, what: str) -> tuple[float, ...]:
    """One number above 0 for each name, 1 for those left out.

    Raises:
        ValueError: one is of a stranger, 0, negative, NaN or infinite.
    """
    names, given = tuple(names), given or {}
    _no_strangers(names, given, what)
    numbers = {name: quantity(given.get(name, 1.0), f"The {what} of {name!r}") for name in names}
    for name, number in numbers.items():
        if not number:
            raise ValueError(f"The {what} of {name!r} is 0: give more, or leave {name!r} out.")
    return tuple(numbers.values())


def quantity(value: object, what: str) -> float:
    """The value when it is 0, or a positive number that arithmetic can hold.

    Raises:
        ValueError: it is anything else; ``what`` names it.
    """
    result = amount(value, what)
    if result and not LEAST <= result <= MOST:
        raise ValueError(f"{what} is {value!r}: give 0 or a number from {LEAST:g} to {MOST:g}.")
    return result


def _no_strangers(names: tuple[str, ...], given: Mapping[str, float], what: str) -> None:
    known = frozenset(names)
    if strangers := [name for name in given if name not in known]:
        raise ValueError(f"There is a {what} of {strangers[0]!r}, who is not among the others.")
