"""What would have happened: traces, published protocols and reports."""

from aios_lab.allocation.simulation.jobs import FinishedJob, Job
from aios_lab.allocation.simulation.traces import Trace, TraceError, read_trace

__all__ = ["FinishedJob", "Job", "Trace", "TraceError", "read_trace"]
