"""How far a queue borrows, as Kueue counts it to order and to preempt.

Rule: KEP 1714 and ``pkg/cache/scheduler/fair_sharing.go`` of Kueue 0.19.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aios_lab.allocation.fairness.checks import amount


def dominant_share(
    nominal: Mapping[Any, float],
    usage: Mapping[Any, float],
    add: Mapping[Any, float],
    lendable: Mapping[str, float],
    weight: float = 1.0,
) -> tuple[float, str]:
    """How much a queue borrows, in thousandths of what its cohort can lend, over its weight; and of what.

    share = ⌈max_r 1000 · max(0, usage_r + add_r − nominal_r) / lendable_r / weight⌉ with the resource of the
    maximum, of equal ones the first by name. ``add`` is the workload to be tried. A queue that borrows
    nothing has ``(0, "")``, also when it is beyond its quota only in resources that its cohort lends none
    of (a queue without a cohort: all). A weight of 0 with anything borrowed is infinite. All amounts of one
    resource are in one unit; a resource without a nominal quota has none. A key is a resource, or a flavour
    of one, ``("spot", "cpu")``: flavours are borrowed each for itself and counted together.

    Raises:
        ValueError: an amount or the weight is negative, NaN or infinite; the message names it.
    """
    weight = amount(weight, "The weight")
    for what, amounts in (("nominal", nominal), ("usage", usage), ("add", add), ("lendable", lendable)):
        for key, value in amounts.items():
            amount(value, f"{what} of {key!r}")
    borrowed: dict[str, float] = {}
    for key in {**nominal, **usage, **add}:
        beyond = add.get(key, 0) + usage.get(key, 0) - nominal.get(key, 0)
        if beyond > 0:
            resource = key[1] if isinstance(key, tuple) else key
            borrowed[resource] = borrowed.get(resource, 0) + beyond
    ratio, dominant = 0.0, ""
    for resource in sorted(borrowed):
        can_lend = lendable.get(resource, 0)
        if can_lend > 0 and borrowed[resource] * 1000 / can_lend > ratio:
            ratio, dominant = borrowed[resource] * 1000 / can_lend, resource
    if not dominant:
        return 0, ""
    share = ratio / weight if weight else math.inf
    return (math.ceil(share) if share < math.inf else math.inf), dominant
