"""Rules of sharing, each as published: pure functions of numbers, free of the broker's own types."""

from aios_lab.allocation.fairness.decay import decay, decay_factor, entry_charge, recent_usage
from aios_lab.allocation.fairness.division import Quota, divide, share_out
from aios_lab.allocation.fairness.drf import Filling, asset_fairness, drf
from aios_lab.allocation.fairness.kueue import dominant_share
from aios_lab.allocation.fairness.slurm import fair_share_factor, fair_tree

__all__ = [
    "Filling",
    "Quota",
    "asset_fairness",
    "decay",
    "decay_factor",
    "divide",
    "dominant_share",
    "drf",
    "entry_charge",
    "fair_share_factor",
    "fair_tree",
    "recent_usage",
    "share_out",
]
