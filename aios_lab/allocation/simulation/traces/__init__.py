"""Traces of real clusters, read line by line."""

from aios_lab.allocation.simulation.traces.errors import TraceError
from aios_lab.allocation.simulation.traces.reading import FORMATS, read_trace
from aios_lab.allocation.simulation.traces.trace import Trace

__all__ = ["FORMATS", "Trace", "TraceError", "read_trace"]
