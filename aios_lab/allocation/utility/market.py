"""The prices of a market in which every user spends a budget on one fixed bundle of goods.

They minimise the dual of proportional fairness, D(y) = Σ_j y_j − Σ_i b_i log(Σ_j a_ij y_j) over y ≥ 0: one
variable a good, however many users there are. Method: Newton's, whose every step is a least squares problem
in y ≥ 0, so that goods of which some is left get a price of exactly 0 (Boyd, Vandenberghe, "Convex
Optimization" (2004), section 9.5, for the step's length; Lawson, Hanson, "Solving Least Squares Problems"
(1974), chapter 23).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aios_lab.allocation.utility.inputs import Array

ROUNDS = 500
# Costs of bundles that change by less than this part are as good as settled.
SETTLED = 1e-14
# From here on rounding may stop them from getting better.
ROUNDING = 1e-9
# A step that changes no cost by more than this part lessens D, whatever the budgets are, because then
# |log(1 + r) − r| ≤ 0.62 r².
SAFE = 0.25
# Goods in nearly equal proportions for all have prices that cannot be told apart; this holds them in place.
HOLD = 1e-13
# A good that is oversold by no more than this part of it is not.
NOTHING = 1e-15
TINY = 1e-300


def equilibrium(needs: Array, budgets: Array) -> Array:
    """Prices of all there is of each good, 1 in sum.

    ``needs`` has a row a user, whose largest number is 1: the parts of all goods in a bundle. ``budgets``
    are positive and add up to 1.
    """
    import numpy as np

    wanted = needs.max(axis=0) > 0
    needs = needs[:, wanted]
    prices = budgets @ (needs / needs.sum(axis=1, keepdims=True))
    change = math.inf
    for _ in range(ROUNDS):
        costs = needs @ prices
        step = _newton(needs / costs[:, None], budgets, prices) - prices
        before, change = change, float(np.abs(needs @ step / costs).max())
        prices = prices + _length(needs, budgets, prices, step, change) * step
        prices = prices / prices.sum()
        if change <= SETTLED or (change <= ROUNDING and change > before / 2):
            break
    result = np.zeros(len(wanted))
    result[wanted] = prices
    return result


def _newton(bundles: Array, budgets: Array, prices: Array) -> Array:
    """The prices y ≥ 0 at which the quadratic model of D is least; ``bundles`` are needs over their costs."""
    import numpy as np

    weighted = np.sqrt(budgets)[:, None] * bundles
    size = np.sqrt((weighted**2).sum(axis=0))
    curvature = (weighted / size).T @ (weighted / size) + HOLD * np.eye(len(size))
    slope = (2 * budgets @ bundles - 1) / size + HOLD * size * prices
    best: Array = _least(curvature, slope, NOTHING / size) / size
    return best


def _least(curvature: Array, slope: Array, tolerance: Array) -> Array:
    """The z ≥ 0 of the least ½ zᵀ curvature z − slope · z, by the active set method of Lawson and Hanson."""
    import numpy as np

    z = np.zeros(len(slope))
    free = np.zeros(len(slope), dtype=bool)
    for _ in range(10 * len(slope)):
        pull = np.where(free, -np.inf, slope - curvature @ z - tolerance)
        if pull.max() <= 0:
            break
        free[pull.argmax()] = True
        while True:
            target = np.zeros(len(slope))
            target[free] = np.linalg.solve(curvature[np.ix_(free, free)], slope[free])
            negative = free & (target <= 0)
            if not negative.any():
                z = target
                break
            ways = z[negative] / np.maximum(z[negative] - target[negative], TINY)
            z = z + ways.min() * (target - z)
            free &= ~negative | (z > 0)
            free[np.flatnonzero(negative)[ways.argmin()]] = False
            z[~free] = 0.0
    return z


def _length(needs: Array, budgets: Array, prices: Array, step: Array, change: float) -> float:
    """How much of the step to take: all of it where that is safe, else by halves until D falls enough."""
    import numpy as np

    if change <= SAFE:
        return 1.0
    costs = needs @ prices
    falls = float(step.sum() - budgets @ (needs @ step / costs))
    length = 1.0
    while length > SAFE / change:
        ratio = 1 + length * (needs @ step) / costs
        if ratio.min() > 0:
            growth = length * step.sum() - budgets @ np.log(ratio)
            if growth <= 0.1 * length * falls:
                break
        length /= 2
    return length
