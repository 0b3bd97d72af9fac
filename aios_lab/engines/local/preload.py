"""What the forkserver has imported, and so every process of a slice when it starts."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

_PRELOADED = (
    "cloudpickle",
    "distributed.diagnostics.plugin",
    "distributed.nanny",
    "distributed.scheduler",
    "distributed.worker",
    "tornado.platform.asyncio",
    "torch._dynamo",
    "aios_lab.engines.local.host",
    "aios_lab.engines.local.rehearsal",
    "aios_lab.engines.local.worker",
)


def preload(more: Sequence[str]) -> None:
    """Import what slices use and run the paths that are slow the first time, without threads or CUDA.

    ``more`` are modules that the administrator wants; one that cannot be imported is said in the log.

    No ``backward()``: with a CUDA build it starts autograd's device threads, which no fork survives.
    """
    for module in _PRELOADED:
        importlib.import_module(module)
    for module in more:
        try:
            importlib.import_module(module)
        except ImportError as error:
            print(f"forkserver: {module} is not imported beforehand: {error}", file=sys.stderr)
    import distributed.versions
    import torch

    distributed.versions.get_versions()  # every client and worker asks for them
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.zeros(2)
    for optimizer in (torch.optim.SGD, torch.optim.Adam):
        optimizer([weight], lr=0.1).step()
