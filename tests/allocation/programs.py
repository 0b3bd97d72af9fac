"""Programs for tests: small ones with many ties, and the same ones in other units and another order."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st

Amounts = dict[str, float]
Program = tuple[Amounts, dict[str, Amounts], Amounts]

RESOURCES = ("cpu", "gpu", "memory")

# For rounding.
CLOSE = 1 + 1e-9


@st.composite
def programs(draw: st.DrawFn, most_users: int = 6, least_value: int = 0, most_resources: int = 3) -> Program:
    """Capacities, demands and values; every user demands something."""
    resources = RESOURCES[: draw(st.integers(1, most_resources))]
    capacity = {r: float(draw(st.integers(1, 30))) for r in resources}
    demand = st.fixed_dictionaries({r: st.integers(0, 6) for r in resources}).filter(
        lambda needs: any(needs.values())
    )
    demands = {name: draw(demand) for name in "abcdef"[: draw(st.integers(1, most_users))]}
    values = {name: float(draw(st.integers(least_value, 9))) for name in demands}
    return capacity, demands, values


def shuffled(program: Program, random: Random) -> Program:
    capacity, demands, values = (dict(random.sample(list(part.items()), len(part))) for part in program)
    return capacity, demands, values


def in_units(program: Program, unit: float) -> Program:
    """The same, with every resource counted in another unit."""
    capacity, demands, values = program
    return (
        {r: size * unit for r, size in capacity.items()},
        {user: {r: need * unit for r, need in needs.items()} for user, needs in demands.items()},
        values,
    )


def cost(needs: Amounts, prices: Amounts) -> float:
    return sum(need * prices[r] for r, need in needs.items())


def used(allocation: Amounts, demands: dict[str, Amounts], resource: str) -> float:
    return sum(x * demands[user].get(resource, 0.0) for user, x in allocation.items())
