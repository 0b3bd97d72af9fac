"""What engines left behind whose own process was killed: processes and folders."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
from pathlib import Path

from aios_lab.engines.base import EngineError
from aios_lab.engines.processes import EngineId, await_end, is_forkserver, kill, marked

log = logging.getLogger(__name__)

_PREFIX = "aios-engine-"
_DIE = 10.0  # seconds that killed processes may take to give everything back


def folder_name(serves: str) -> str:
    """What the folder of an engine is called: the next one that serves the same finds it by that. Of one that
    serves nothing in particular nobody does."""
    key = serves or str(EngineId.mine())
    return _PREFIX + hashlib.sha256(f"{os.getuid()} {key}".encode()).hexdigest()[:16]


def hold(folder: Path) -> int:
    """Make an engine's folder where it is not there, and have it in use for as long as this process lives, or
    until the descriptor that this returns is closed.

    Raises:
        EngineError: it belongs to another user.
        OSError: it cannot be made.
    """
    while True:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        mine = os.fstat(held)
        if mine.st_uid != os.getuid() or mine.st_mode & 0o077:
            os.close(held)
            raise EngineError(f"The folder {folder} is not private to this user. Remove it, and restart.")
        fcntl.flock(held, fcntl.LOCK_SH)
        if folder.exists() and os.path.samestat(folder.stat(), mine):
            return held
        os.close(held)  # it was cleared away just then


def reap(base: Path) -> list[int]:
    """SIGKILL the processes of dead engines and remove their folders in ``base``; returns the pids when they
    have ended.

    What has an engine or waits for another is left alone, whoever it belongs to, and so is what containers
    have.
    """
    found = list(marked())
    served = {engine for pid, engine in found if is_forkserver(pid)}
    strays = [pid for pid, engine in found if engine not in served and not engine.alive]
    for pid in strays:
        log.warning("ending process %d: the server that its engine belonged to is gone", pid)
        kill(pid)
    if late := await_end(strays, _DIE):
        log.error("processes %s were killed, but have not ended", late)
    for folder in base.glob(f"{_PREFIX}*"):
        _remove_unheld(folder)
    return strays


def _remove_unheld(folder: Path) -> None:
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # gone, or another user's
        return
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        return
    finally:
        os.close(held)
