"""What the programs answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["optimal", "approximate"]

# An answer that is proven this close to the best is called optimal.
EXACT = 1e-9


@dataclass(frozen=True, slots=True)
class Optimum:
    """How much every user gets of what it asked for, and what that costs the others."""

    objective: float
    """Σ U_i(x_i)."""
    allocation: Mapping[str, float]
    """x_i by user, in units of its demand: tasks, or a fraction."""
    prices: Mapping[str, float]
    """By resource, what one more unit of it would add to the objective; 0 where some is left."""
    used: Mapping[str, float]
    """By resource, in its unit."""
    gap: float
    """No allocation is better by more than this part of the objective. It follows from the prices alone.

    For log utilities: of the weighted geometric mean of x, because the objective itself may be 0.
    """
    limit_prices: Mapping[str, float] = field(default_factory=dict)
    """By user, what it would add to let x_i go beyond 1 by one unit, where x_i is bounded."""

    @property
    def status(self) -> Status:
        """Proven to 1e-9 or not; then numbers of very unequal size may be why, and ``gap`` says how close."""
        return _status(self.gap)


@dataclass(frozen=True, slots=True)
class Timeshares:
    """Which part of its time every job spends on which type of accelerator."""

    objective: float
    """The smallest of ``levels``, or their sum."""
    allocation: Mapping[str, Mapping[str, float]]
    """x_ij by job and type: the part of the time, 0 to 1, in which the job runs on workers of the type."""
    throughputs: Mapping[str, float]
    """By job, Σ_j T_ij x_ij, in the unit of the measured throughputs."""
    levels: Mapping[str, float]
    """By job, what the objective compares or adds up."""
    prices: Mapping[str, float]
    """By type, what one more worker would add to the objective."""
    time_prices: Mapping[str, float]
    """By job, what more time than all of it would add to the objective: 0 where some of its time is idle."""
    gap: float
    """No allocation is better by more than this part of the objective. It follows from the prices alone."""
    multipliers: Mapping[str, float] = field(default_factory=dict)
    """Max-min only: by job, the part of the objective that hangs on it, 1 in sum; 0 above the smallest."""

    @property
    def status(self) -> Status:
        """As of `Optimum`."""
        return _status(self.gap)


def _status(gap: float) -> Status:
    return "optimal" if gap <= EXACT else "approximate"
