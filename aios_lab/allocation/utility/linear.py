"""Linear utilities: the most total value that fits.

Source: Dantzig, "Linear Programming and Extensions" (1963), chapters 3 and 6: the program, its dual and the
prices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aios_lab.allocation.utility.highs import maximise
from aios_lab.allocation.utility.inputs import Needs, Vectors, every, read
from aios_lab.allocation.utility.results import Optimum


def linear_utilities(capacity: Mapping[str, float], demands: Vectors, values: Mapping[str, float]) -> Optimum:
    """max Σ v_i x_i subject to Σ_i x_i a_ij ≤ R_j and x ≥ 0.

    ``capacity`` is R by resource, ``demands`` a by user: what one task needs, in the same units; ``values``
    is v, what one task is worth, in any one unit, which is that of the objective and of the prices too.

    When to use it: when tasks have a known worth and only the total counts. It is not fair: with m resources
    there is a best answer in which at most m users get anything. Where several answers are equally good, it
    is the same one each time, whatever order the users come in.

    Raises:
        ValueError: a number is missing, negative, NaN or infinite; a user demands a resource that is not
            named or of which there is none; or one whose tasks are worth something demands nothing, so that
            there is no best answer.
        ArithmeticError: HiGHS gave up, for the reason that it names.
    """
    needs = read(capacity, demands)
    gains = every(needs.users, values, "value")
    for user, gain, row in zip(needs.users, gains, needs.rows, strict=True):
        if gain and not any(row):
            raise ValueError(
                f"There is no best answer: {user!r} demands nothing and so could have any number of tasks."
            )
    return solve(needs, gains, bounded=False)


def solve(needs: Needs, gains: Sequence[float], bounded: bool) -> Optimum:
    """The linear program, with x at most 1 if it is ``bounded``.

    Solved for dominant shares instead of tasks, so that all coefficients lie between 0 and 1: the sizes of
    the units do not matter then.
    """
    import numpy as np

    parts, gain = needs.parts(), np.array(gains, dtype=float)
    dominant = parts.max(axis=1, initial=0.0)
    free, on = (gain > 0) & (dominant == 0), (gain > 0) & (dominant > 0)
    allocation = free.astype(float)
    price, missed = np.zeros(len(needs.resources)), 0.0
    if on.any():
        share = parts[on] / dominant[on, None]
        worth = gain[on] / dominant[on]
        top = worth.max()
        limit = dominant[on] if bounded else None
        found, row_prices = maximise(worth / top, share.T, np.ones(len(price)), limit)
        allocation[on] = found / max(1.0, (found @ share).max()) / dominant[on]
        price = row_prices * top
        # What the prices do not pay for, times the most that it can be, is how much better x might get.
        profit = (worth - share @ price).clip(0.0)
        most = np.minimum(1.0, dominant[on]) if bounded else np.ones(len(profit))
        missed = float(price.sum() + profit @ most - worth @ (allocation[on] * dominant[on]))
    objective = float(gain @ allocation)
    reduced = (gain - parts @ price).clip(0.0)
    return Optimum(
        objective=objective,
        allocation=dict(zip(needs.users, allocation.tolist(), strict=True)),
        prices=needs.prices(price),
        used=needs.used(allocation),
        gap=max(0.0, missed / objective) if objective else 0.0,
        limit_prices=dict(zip(needs.users, reduced.tolist(), strict=True)) if bounded else {},
    )
