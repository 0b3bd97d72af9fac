"""What Dask loads into every worker of a test that wants them to start slowly, or not at all."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

HOLD = "TEST_HOLD"  # names a file: while it is there workers wait, or end where it says "fail"


async def dask_setup(worker: object) -> None:
    """Dask calls this in a worker before it joins."""
    held = Path(os.environ[HOLD])
    while held.exists():
        if held.read_text() == "fail":
            raise SystemExit("this is meant")
        await asyncio.sleep(0.05)
