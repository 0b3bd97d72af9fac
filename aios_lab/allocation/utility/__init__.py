"""Sharing as a program: max Σ U_i(x_i) subject to Σ_i x_i a_ij ≤ R_j and x ≥ 0, by the kind of utility.

| utility | function | when |
|---|---|---|
| linear, U = v x | `linear_utilities` | what a unit is worth is known; the total counts, not who gets it |
| linear, x at most 1 | `bounded_fractions` | projects that want one thing each, in part if need be |
| weighted log, U = w log x | `log_utilities`, `ceei` | a fair compromise in which everybody gets something |
| the smallest throughput | `max_min_throughput` | jobs run at different speeds on different accelerators |
| the sum of throughputs | `max_sum_throughput` | the same cluster, for its total output, or output per cost |

Every answer carries shadow prices, and from them a proof of how far from the best it can be at most.
"""

from aios_lab.allocation.utility.accelerators import max_min_throughput, max_sum_throughput
from aios_lab.allocation.utility.bounded import bounded_fractions
from aios_lab.allocation.utility.linear import linear_utilities
from aios_lab.allocation.utility.logarithmic import ceei, log_utilities
from aios_lab.allocation.utility.results import Optimum, Status, Timeshares

__all__ = [
    "Optimum",
    "Status",
    "Timeshares",
    "bounded_fractions",
    "ceei",
    "linear_utilities",
    "log_utilities",
    "max_min_throughput",
    "max_sum_throughput",
]
