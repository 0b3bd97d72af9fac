"""Fractions of things that are wanted at most once.

Source: Dantzig, "Discrete-variable extremum problems", Operations Research 5 (1957): with one resource, the
greedy order by value for cost is optimal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import groupby

from aios_lab.allocation.fairness.checks import exact
from aios_lab.allocation.utility.inputs import Needs, Vectors, every, read
from aios_lab.allocation.utility.linear import solve
from aios_lab.allocation.utility.results import Optimum


def bounded_fractions(capacity: Mapping[str, float], costs: Vectors, values: Mapping[str, float]) -> Optimum:
    """max Σ v_i x_i subject to Σ_i x_i c_ij ≤ C_j and 0 ≤ x ≤ 1.

    ``capacity`` is C by resource, ``costs`` c by user: what all that it wants takes, in the same units;
    ``values`` is v, what all of it is worth, in any one unit, which is that of the objective and the prices.
    What costs nothing is had whole, what is worth nothing not at all.

    When to use it: requests that can be granted in part, each with a size and a worth. With one resource the
    answer is exact (the fractional knapsack), and those whose value for cost ties where the capacity ends
    get the same fraction. With several it is that of a linear program, the same one each time.

    Raises:
        ValueError: a number is missing, negative, NaN or infinite, or a user's costs name a resource that
            the capacity does not name or of which there is none.
        ArithmeticError: HiGHS gave up, for the reason that it names.
    """
    needs = read(capacity, costs)
    gains = every(needs.users, values, "value")
    return _greedy(needs, gains) if len(needs.resources) == 1 else solve(needs, gains, bounded=True)


def _greedy(needs: Needs, gains: Sequence[float]) -> Optimum:
    """One resource: by falling value for cost, until it is used up. In fractions, so that ties are ties."""
    cost = {user: exact(row[0]) for user, row in zip(needs.users, needs.rows, strict=True)}
    value = {user: exact(gain) for user, gain in zip(needs.users, gains, strict=True)}
    taken = {user: Fraction(bool(value[user]) and not cost[user]) for user in needs.users}
    rate = {user: value[user] / cost[user] for user in needs.users if value[user] and cost[user]}
    left, price = exact(needs.capacity[0]), Fraction(0)
    for at, group in groupby(sorted(rate, key=lambda user: -rate[user]), key=lambda user: rate[user]):
        tied = list(group)
        asked = sum((cost[user] for user in tied), Fraction(0))
        part = min(Fraction(1), left / asked)
        taken |= dict.fromkeys(tied, part)
        left -= part * asked
        if part < 1:
            price = at
            break
    return Optimum(
        objective=float(sum((value[user] * taken[user] for user in taken), Fraction(0))),
        allocation={user: float(part) for user, part in taken.items()},
        prices={needs.resources[0]: float(price)},
        used={needs.resources[0]: float(exact(needs.capacity[0]) - left)},
        gap=0.0,
        limit_prices={user: float(max(Fraction(0), value[user] - price * cost[user])) for user in taken},
    )
