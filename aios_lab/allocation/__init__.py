"""Who gets what: pure functions on frozen data."""

from aios_lab.allocation import queueing, utility
from aios_lab.allocation.decide import DEFAULT_POLICY, POLICIES, InvalidSnapshot, decide, explain
from aios_lab.allocation.decider import Decider
from aios_lab.allocation.fairness import (
    asset_fairness,
    divide,
    dominant_share,
    drf,
    fair_share_factor,
    fair_tree,
)
from aios_lab.allocation.types import (
    RESOURCES,
    UNLIMITED,
    Change,
    Demand,
    Lease,
    Node,
    Placement,
    Plan,
    Principal,
    Resources,
    Snapshot,
)
from aios_lab.allocation.utility import ceei
from aios_lab.allocation.validate import InvalidPlan, validate

__all__ = [
    "DEFAULT_POLICY",
    "POLICIES",
    "RESOURCES",
    "UNLIMITED",
    "Change",
    "Decider",
    "Demand",
    "InvalidPlan",
    "InvalidSnapshot",
    "Lease",
    "Node",
    "Placement",
    "Plan",
    "Principal",
    "Resources",
    "Snapshot",
    "asset_fairness",
    "ceei",
    "decide",
    "divide",
    "dominant_share",
    "drf",
    "explain",
    "fair_share_factor",
    "fair_tree",
    "queueing",
    "utility",
    "validate",
]
