"""Execute a notebook file cell by cell in a kernel of a real server."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat

from live import Kernel, Server

EXAMPLES = Path(__file__).parents[2] / "examples"


def execute(server: Server, name: str) -> tuple[Kernel, list[str]]:
    """Run all code cells of ``examples/<name>``; return its kernel and what each cell printed."""
    shutil.copy(EXAMPLES / name, server.work / name)
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    kernel = server.kernel(name)
    return kernel, [
        kernel.run(cell.source, timeout=240) for cell in notebook.cells if cell.cell_type == "code"
    ]
