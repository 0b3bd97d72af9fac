"""Who gets what: pure functions on frozen data."""

from aios_lab.allocation import queueing, utility
from aios_lab.allocation.decide import DEFAULT_POLICY, POLICIES, InvalidSnapshot, decide
from aios_lab.allocation.decider import Decider
from aios_lab.allocation.explain import explain
from aios_lab.allocation.fairness import (
    asset_fairness,
    divide,
    dominant_share,
    drf,
    fair_share_factor,
    fair_tree,
)
from aios_lab.allocation.forecast import Forecast, forecast
from aios_lab.allocation.history import Past
from aios_lab.allocation.types import (
    DEFAULT_SHARING,
    RESOURCES,
    UNLIMITED,
    Change,
    Demand,
    Lease,
    Node,
    Placement,
    Plan,
    Preemption,
    Principal,
    Resources,
    Sharing,
    Snapshot,
    Usage,
)
from aios_lab.allocation.utility import ceei
from aios_lab.allocation.validate import InvalidPlan, validate
from aios_lab.allocation.what_if import WhatIf, what_if

__all__ = [
    "DEFAULT_POLICY",
    "DEFAULT_SHARING",
    "POLICIES",
    "RESOURCES",
    "UNLIMITED",
    "Change",
    "Decider",
    "Demand",
    "Forecast",
    "InvalidPlan",
    "InvalidSnapshot",
    "Lease",
    "Node",
    "Past",
    "Placement",
    "Plan",
    "Preemption",
    "Principal",
    "Resources",
    "Sharing",
    "Snapshot",
    "Usage",
    "WhatIf",
    "asset_fairness",
    "ceei",
    "decide",
    "divide",
    "dominant_share",
    "drf",
    "explain",
    "fair_share_factor",
    "fair_tree",
    "forecast",
    "queueing",
    "utility",
    "validate",
    "what_if",
]
