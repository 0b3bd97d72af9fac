"""Which GPUs this kernel's own process sees: those of its slice, and no others."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence


def show(devices: Sequence[int]) -> None:
    """Let this process, and those that it starts, see these devices, by NVML's numbers.

    Does nothing where the server left the GPUs alone: where there are none, or they are simulated. CUDA reads
    which devices it sees once, when it is first used; from then on a warning says what is to be done.
    """
    wanted = ",".join(map(str, devices))
    if os.environ.get("AIOS_DEVICES") in (None, wanted):
        return
    os.environ["AIOS_DEVICES"] = wanted
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        seen = os.environ.get("CUDA_VISIBLE_DEVICES") or "none"
        warnings.warn(
            f"This kernel goes on with the GPUs that it began with ({seen}); its slice has "
            f"{wanted or 'none'} now. CUDA cannot change them in a running process: restart the kernel to "
            "use those of the slice.",
            stacklevel=2,
        )
        return
    os.environ["CUDA_VISIBLE_DEVICES"] = wanted
