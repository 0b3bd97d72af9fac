"""Linear programs, solved by HiGHS through SciPy.

Source: Huangfu, Hall, "Parallelizing the dual revised simplex method", Mathematical Programming Computation
10 (2018).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aios_lab.allocation.utility.inputs import Array

# The finest that HiGHS takes.
TOLERANCE = 1e-10
# Then it gives up. Steps are counted and not seconds, so that the same program ends alike everywhere.
STEPS = 1_000_000


def maximise(gains: Array, matrix: Any, ceilings: Array, limits: Array | None = None) -> tuple[Array, Array]:
    """x of the largest Σ gains · x with matrix · x ≤ ceilings and 0 ≤ x (≤ limits); and a price of each row.

    ``matrix`` may be sparse. Numbers around 1 are solved best.

    Raises:
        ArithmeticError: HiGHS found no optimum, or not within a million steps; the message is its own.
    """
    import numpy as np
    from scipy.optimize import linprog

    upper = np.full(len(gains), np.inf) if limits is None else limits
    found = linprog(
        -gains,
        A_ub=matrix,
        b_ub=ceilings,
        bounds=np.column_stack([np.zeros(len(gains)), upper]),
        method="highs",
        options={
            "primal_feasibility_tolerance": TOLERANCE,
            "dual_feasibility_tolerance": TOLERANCE,
            "maxiter": STEPS,
        },
    )
    if found.status:
        raise ArithmeticError(f"HiGHS found no optimum: {found.message}")
    return np.asarray(found.x).clip(0.0, upper), (-np.asarray(found.ineqlin.marginals)).clip(0.0)
