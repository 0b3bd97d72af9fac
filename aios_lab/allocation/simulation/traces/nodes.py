"""The nodes of a cluster, as Alibaba's traces list them."""

from __future__ import annotations

import os
from pathlib import Path

from aios_lab.allocation.simulation.traces.errors import TraceError
from aios_lab.allocation.simulation.traces.lines import text_lines
from aios_lab.allocation.simulation.traces.table import read_rows
from aios_lab.allocation.types import Node, Resources

NEEDED = ("sn", "cpu_milli", "memory_mib", "gpu")


def read_nodes(path: str | os.PathLike[str]) -> tuple[Node, ...]:
    """Read the nodes of a CSV file, plain or gzip: their names, milli-CPU, MiB of memory and whole GPUs.

    Raises:
        TraceError: a column is missing, a field is no whole number or negative, a name is there twice, or
            there are no nodes.
        OSError: the file cannot be opened or read.
    """
    source = str(path)
    nodes: dict[str, Node] = {}
    for place, (name, cpu, memory, gpus) in read_rows(text_lines(Path(path)), source, NEEDED):
        if name in nodes:
            raise place.wrong("sn", f"node {name!r} is there twice.")
        capacity = Resources(
            cpu=place.whole("cpu_milli", cpu),
            memory=place.whole("memory_mib", memory),
            gpu=place.whole("gpu", gpus) * 1000,
        )
        nodes[name] = Node(name, capacity)
    if not nodes:
        raise TraceError(source, "there are no nodes in it.")
    return tuple(nodes.values())
