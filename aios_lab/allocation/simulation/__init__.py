"""What would have happened: traces, published protocols and reports."""

from aios_lab.allocation.simulation.compare import Comparison, compare
from aios_lab.allocation.simulation.filling import Filling, fill
from aios_lab.allocation.simulation.jobs import FinishedJob, Job
from aios_lab.allocation.simulation.orders import ORDERS
from aios_lab.allocation.simulation.protocol import prepare
from aios_lab.allocation.simulation.report import Report, report
from aios_lab.allocation.simulation.slowdown_table import SlowdownTable, evaluate
from aios_lab.allocation.simulation.traces import Trace, TraceError, read_nodes, read_trace
from aios_lab.allocation.simulation.world import Outcome, play

__all__ = [
    "ORDERS",
    "Comparison",
    "Filling",
    "FinishedJob",
    "Job",
    "Outcome",
    "Report",
    "SlowdownTable",
    "Trace",
    "TraceError",
    "compare",
    "evaluate",
    "fill",
    "play",
    "prepare",
    "read_nodes",
    "read_trace",
    "report",
]
