"""The live server of the tests, for benchmarks that need one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from live import Server, serving


@contextmanager
def server(config: str = "") -> Iterator[Server]:
    """As users have it, with a spare slice, which the tests go without; ``config`` may say otherwise."""
    config = "c.AIOSLab.spares = 1\nc.AIOSLab.spare_processes = 2\n" + config
    with (
        tempfile.TemporaryDirectory(prefix="aios-bench-") as folder,
        serving(Path(folder), config=config) as running,
    ):
        yield running
