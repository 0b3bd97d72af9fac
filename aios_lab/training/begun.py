"""How the record of a run begins, whoever keeps it."""

from __future__ import annotations

import secrets
import time

from aios_lab.wire import Run, RunRequest, RunState


def new_run_id() -> str:
    return f"r-{secrets.token_hex(5)}"


def begun(request: RunRequest, run_id: str, slice_id: str, user: str) -> Run:
    """The run that is asked for, as it is before anything has happened."""
    return Run(
        id=run_id,
        name=request.name,
        slice_id=slice_id,
        user=user,
        mine=True,
        state=RunState.PENDING,
        strategy=request.strategy,
        world_size=request.world_size,
        created=time.time(),
        total_steps=request.total_steps,
        total_epochs=request.total_epochs,
        options=request.options,
        parameters=request.parameters,
        detached=request.detached,
        resumed=request.resumed,
    )
