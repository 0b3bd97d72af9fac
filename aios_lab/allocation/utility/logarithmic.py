"""Weighted log utilities: proportional fairness, which is Nash's bargain and a market's equilibrium.

Sources: Eisenberg, Gale, "Consensus of subjective probabilities", Annals of Mathematical Statistics 30
(1959), for the program; Varian, "Equity, envy, and efficiency", Journal of Economic Theory 9 (1974), for
competitive equilibrium from equal incomes; Kelly, Maulloo, Tan, "Rate control for communication networks",
Journal of the Operational Research Society 49 (1998), for weights and the dual.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from aios_lab.allocation.fairness.drf import Filling
from aios_lab.allocation.utility.inputs import Needs, Vectors, positive, read
from aios_lab.allocation.utility.market import equilibrium
from aios_lab.allocation.utility.results import Optimum

if TYPE_CHECKING:
    from aios_lab.allocation.utility.inputs import Array


def log_utilities(
    capacity: Mapping[str, float], demands: Vectors, weights: Mapping[str, float] | None = None
) -> Optimum:
    """max Σ w_i log x_i subject to Σ_i x_i a_ij ≤ R_j and x ≥ 0.

    ``capacity`` is R by resource, ``demands`` a by user: what one task needs, in the same units; ``weights``
    is w, 1 for users left out. Prices are in weight per unit: a user's tasks cost it all of its weight,
    x_i Σ_j a_ij p_j = w_i, and together the users pay Σ_i w_i for all that there is.

    When to use it: sharing between users whose tasks cannot be compared. A user's gain of some part is worth
    another's loss of the same part, in proportion to their weights; everybody gets something, and nobody
    would rather have another's bundle (over the weights).

    Raises:
        ValueError: a number is negative, NaN or infinite; a user's weight is 0, or it demands a resource
            that is not named or of which there is none, so that it could get nothing; or it demands nothing,
            so that it could have any number of tasks.
    """
    needs, weight, share, price, gap = _solve(capacity, demands, weights)
    import numpy as np

    allocation = share / needs.parts().max(axis=1, initial=0.0)
    return Optimum(
        objective=float(weight @ np.log(allocation)),
        allocation=dict(zip(needs.users, allocation.tolist(), strict=True)),
        prices=needs.prices(price * weight.sum()),
        used=needs.used(allocation),
        gap=gap,
    )


def ceei(
    capacity: Mapping[str, float], demands: Vectors, weights: Mapping[str, float] | None = None
) -> Filling:
    """Competitive equilibrium from equal incomes: `log_utilities`, answered in the shape of `drf`.

    Every user has an income, its weight (1 for those left out), and buys tasks with all of it at prices at
    which everything that has a price is sold. The arguments are those of `log_utilities`.

    When to use it: beside `drf`, which is to be preferred where users may tell false demands: here that can
    pay (Ghodsi et al., NSDI 2011, on CEEI), and in return the product of the users' tasks is largest.

    Raises:
        ValueError: as `log_utilities`.
    """
    needs, weight, share, _, _ = _solve(capacity, demands, weights)
    allocation = share / needs.parts().max(axis=1, initial=0.0)
    return Filling(
        tasks=dict(zip(needs.users, allocation.tolist(), strict=True)),
        dominant_shares=dict(zip(needs.users, share.tolist(), strict=True)),
        weighted_shares=dict(zip(needs.users, (share / weight).tolist(), strict=True)),
        used=needs.used(allocation),
    )


def _solve(
    capacity: Mapping[str, float], demands: Vectors, weights: Mapping[str, float] | None
) -> tuple[Needs, Array, Array, Array, float]:
    """The needs, the weights, the users' dominant shares, prices that add up to 1, and the gap."""
    import numpy as np

    needs = read(capacity, demands)
    weight = np.array(positive(needs.users, weights, "weight"))
    for user, row in zip(needs.users, needs.rows, strict=True):
        if not any(row):
            raise ValueError(
                f"There is no best answer: {user!r} demands nothing and so could have any number of tasks."
            )
    if not needs.users:
        return needs, weight, np.zeros(0), np.zeros(len(needs.resources)), 0.0
    parts = needs.parts()
    relative = parts / parts.max(axis=1, keepdims=True)
    budgets = weight / weight.sum()
    price = equilibrium(relative, budgets)
    share = budgets / (relative @ price)
    # Prices that add up to 1 prove that no point's mean is better than that of these shares, which may
    # overshoot; scaled down until they fit, they miss it by as much.
    overshoot = float((share @ relative).max())
    return needs, weight, share / overshoot, price, max(0.0, overshoot - 1.0)
