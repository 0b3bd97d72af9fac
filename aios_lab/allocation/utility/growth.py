"""The program behind the utility policies: how many more units every claim should have, in fractions.

max Σ_i U_i(x_i) over what is free, with every claim's maximum and every limit of a principal as further rows.
U_i is concave and linear between chosen numbers of units, so each piece between two of them is something that
is wanted once, in part if need be: the program of `bounded_fractions`. Claims that are alike share a column
and are dealt its units evenly, so that ties are no matter of names.

Sources: Dantzig, "Linear Programming and Extensions" (1963), chapter 24-3, for concave functions as pieces;
Kelly, Maulloo, Tan, Journal of the Operational Research Society 49 (1998), for weighted log utilities.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from aios_lab.allocation.room import plus
from aios_lab.allocation.types import RESOURCES, Vector
from aios_lab.allocation.utility.bounded import bounded_fractions

# Pieces of a log are one unit long up to 8 units, then an eighth of what there is: 0.2 % off at most.
FINE = 8
# An answer that is not proven to be this close to the best is none.
GAP = 1e-6


@dataclass(frozen=True, slots=True)
class Wish:
    """A claim in the program: it has ``count`` units and wants up to ``more``, each ``unit``, for ``worth``.

    ``limits`` are the limited principals above it, ``most`` is its own maximum. Of all that its
    units need there is some.
    """

    claim: str
    unit: Vector
    limits: tuple[str, ...]
    worth: float
    count: int
    more: int
    most: int


# From a number of units to a greater one, what a claim of worth 1 gains, given its maximum.
Gain = Callable[[int, int, int], float]


@dataclass(frozen=True, slots=True)
class Utility:
    """U_i as what is gained between numbers of units. ``curved``: it is to be cut in pieces."""

    gain: Gain
    curved: bool = False

    def pieces(self, wish: Wish) -> list[tuple[int, float]]:
        """Units and gain of each piece, the best first."""
        ends = [wish.count]
        last = wish.count + wish.more
        while ends[-1] < last:
            step = max(1, ends[-1] // FINE) if self.curved else wish.more
            ends.append(min(last, ends[-1] + step))
        spans = itertools.pairwise(ends)
        return [(to - at, wish.worth * self.gain(at, to, wish.most)) for at, to in spans]


def more_units(
    wishes: Iterable[Wish], free: Vector, limits: Mapping[str, Vector], utility: Utility
) -> Mapping[str, float]:
    """How many more units each claim should have, by claim; in fractions of units.

    ``free`` is what there is to share in all, ``limits`` what each limited principal may still use.

    Raises:
        ArithmeticError: HiGHS gave up, or its answer is not proven to be the best.
        ValueError: numbers are too large or too unequal to compute with.
    """
    groups: dict[tuple[object, ...], list[Wish]] = {}
    for wish in sorted(wishes, key=lambda wish: wish.claim):
        alike = wish.unit, wish.limits, wish.worth, wish.count, wish.more, wish.most
        groups.setdefault(alike, []).append(wish)
    members = [groups[key] for key in sorted(groups, key=repr)]
    rows = _rows(members, free, limits)
    costs: dict[str, dict[str, float]] = {}
    values: dict[str, float] = {}
    units: dict[str, tuple[int, int]] = {}
    for number, group in enumerate(members):
        for piece, (length, gain) in enumerate(utility.pieces(group[0])):
            name = f"{number}.{piece}"
            units[name] = number, length
            values[name] = gain * len(group)
            costs[name] = _cost(group[0], length * len(group), rows)
    if not units:
        return {}
    best = bounded_fractions(rows, costs, values)
    if best.gap > GAP:
        raise ArithmeticError(f"HiGHS came only within {best.gap:.1%} of the best that is possible")
    each = [0.0] * len(members)
    for name, (number, length) in units.items():
        each[number] += best.allocation[name] * length
    return {wish.claim: each[number] for number, group in enumerate(members) for wish in group}


def _rows(groups: Sequence[Sequence[Wish]], free: Vector, limits: Mapping[str, Vector]) -> dict[str, float]:
    """What there is of everything that could run short, by row of the program."""
    asked: dict[str, Vector] = {"": (0, 0, 0, 0)}
    for group in groups:
        wish = group[0]
        for place in ("", *wish.limits):
            asked[place] = plus(asked.get(place, (0, 0, 0, 0)), wish.unit, wish.more * len(group))
    there = {"": free, **limits}
    return {
        _row(place, which): float(there[place][which])
        for place in sorted(asked)
        for which in range(4)
        if asked[place][which] > there[place][which] or (not place and asked[place][which])
    }


def _row(place: str, which: int) -> str:
    return f"{RESOURCES[which]} {place}".strip()


def _cost(wish: Wish, units: int, rows: Mapping[str, float]) -> dict[str, float]:
    return {
        row: float(need * units)
        for place in ("", *wish.limits)
        for which, need in enumerate(wish.unit)
        if need and (row := _row(place, which)) in rows
    }


UTILITIES: Mapping[str, Utility] = {
    "log": Utility(lambda at, to, most: math.log(to / at), curved=True),
    "linear": Utility(lambda at, to, most: float(to - at)),
    "fractions": Utility(lambda at, to, most: (to - at) / most),
}
