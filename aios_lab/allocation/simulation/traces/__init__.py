"""Traces of jobs, and lists of nodes, out of files."""

from aios_lab.allocation.simulation.traces.errors import TraceError
from aios_lab.allocation.simulation.traces.nodes import read_nodes
from aios_lab.allocation.simulation.traces.reading import FORMATS, read_trace
from aios_lab.allocation.simulation.traces.trace import Trace

__all__ = ["FORMATS", "Trace", "TraceError", "read_nodes", "read_trace"]
