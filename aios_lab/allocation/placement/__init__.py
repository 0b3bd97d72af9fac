"""On which machine a unit goes, and on which of its devices."""

from aios_lab.allocation.placement.affinity import Topology, best_set, best_sets
from aios_lab.allocation.placement.cluster import Cluster
from aios_lab.allocation.placement.fragmentation import Workload, typical_units
from aios_lab.allocation.placement.machines import Machine, Task
from aios_lab.allocation.placement.rules import DEFAULT_PLACEMENT, RULES, Rule

__all__ = [
    "DEFAULT_PLACEMENT",
    "RULES",
    "Cluster",
    "Machine",
    "Rule",
    "Task",
    "Topology",
    "Workload",
    "best_set",
    "best_sets",
    "typical_units",
]
