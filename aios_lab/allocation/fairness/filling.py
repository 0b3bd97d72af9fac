"""Progressive filling on arrays: everybody's use grows at a rate of his own until a resource is used up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Resources that run out within a rounding error of each other run out together.
TOGETHER = 1 + 1e-12


def fill(free: Floats, needs: Floats, rates: Floats) -> Floats:
    """The tasks of every user (users,) when nobody can go on; ``free`` is lowered to what is left.

    ``free`` (resources,) is what there is, ``needs`` (users, resources) what one task takes, ``rates``
    (users,) the tasks per unit of time while all that a user needs is there; 0 is not served. Whoever needs
    nothing must have a rate of 0. Nothing is checked: `drf` and `asset_fairness` do.

    Every round uses up a resource, so there are no more rounds than resources: O(users · resources²).

    Source: Bertsekas, Gallager, "Data Networks", 2nd edition, section 6.5.2 (progressive filling); for
    several resources Parkes, Procaccia, Shah, "Beyond Dominant Resource Fairness", EC 2012, section 4.
    """
    import numpy as np

    needing = needs > 0
    goes_on = np.where(needing[:, free <= 0].any(axis=1), 0.0, rates)
    drain = goes_on @ needs
    done, time = np.zeros(len(rates)), 0.0
    while drain.any():
        drained = np.flatnonzero(drain)
        lasts = free[drained] / drain[drained]
        step = lasts.min()
        time += step
        free -= drain * step
        used_up = drained[lasts <= step * TOGETHER]
        free[used_up] = 0.0
        stops = needing[:, used_up].any(axis=1) & (goes_on > 0)
        done[stops] = goes_on[stops] * time
        goes_on[stops] = 0.0
        drain = goes_on @ needs
    return done
