"""Which owners do nothing at present, by what Jupyter knows of their kernels."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from jupyter_server.services.kernels.kernelmanager import MappingKernelManager

from aios_lab.broker import Owner

QUIET = timedelta(seconds=60)


def idle_kernels(kernels: MappingKernelManager) -> Callable[[Owner], bool]:
    """Says of an owner whether its kernel has run nothing for a minute. Who has no kernel is never idle."""

    def idle(owner: Owner) -> bool:
        if owner.kernel_id is None or owner.kernel_id not in kernels:
            return False
        kernel = kernels.get_kernel(owner.kernel_id)
        quiet = datetime.now(UTC) - getattr(kernel, "last_activity", datetime.now(UTC))
        return getattr(kernel, "execution_state", "busy") == "idle" and quiet >= QUIET

    return idle
