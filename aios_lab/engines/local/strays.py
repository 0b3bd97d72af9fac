"""What engines left behind whose own process was killed: processes and folders."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from aios_lab.engines.processes import EngineId, kill, marked

log = logging.getLogger(__name__)

_PREFIX = "aios-engine-"


def folder_name(engine: EngineId) -> str:
    """What the folder of an engine is called, so that it is known for a stray one later."""
    return f"{_PREFIX}{engine}"


def reap(base: Path) -> list[int]:
    """SIGKILL the processes of dead engines and remove their folders in ``base``; returns the pids.

    Engines whose process lives are left alone, whoever they belong to, and so are those of containers.
    """
    strays = [pid for pid, engine in marked() if not engine.alive]
    for pid in strays:
        log.warning("ending process %d: the server that its engine belonged to is gone", pid)
        kill(pid)
    for folder in base.glob(f"{_PREFIX}*"):
        owner = EngineId.parse(folder.name.removeprefix(_PREFIX))
        if owner is not None and not owner.alive:
            shutil.rmtree(folder, ignore_errors=True)
    return strays
