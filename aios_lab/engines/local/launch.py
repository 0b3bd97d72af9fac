"""Start a forkserver for the calling process."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from aios_lab.credentials import CREDENTIALS
from aios_lab.engines.processes import MARKER, EngineId

_MODULE = "aios_lab.engines.local.forkserver"

# One thread in every library, or the process could not be forked; no setproctitle over the environment,
# by which processes are known; no GPU, which must not be touched before a fork.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "SPT_NOENV": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


def environment() -> dict[str, str]:
    """What a slice gets of this process's environment."""
    return {name: value for name, value in os.environ.items() if name not in CREDENTIALS}


def launch(
    engine: EngineId | None = None,
    log: Path | None = None,
    preload: Sequence[str] = (),
    folder: Path | None = None,
    embryos: int = 0,
) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a forkserver that ends with this process; returns at once with the request socket.

    Requests sent before it is warm wait in the socket. What it and its children print goes to the end of
    the file ``log``, or where this process prints. ``preload`` are modules to import beside its own. With a
    ``folder``, what this process asked to keep outlives it for a moment (see ``succession``). ``embryos`` is
    how many processes it keeps ready.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    env = environment() | _ENVIRONMENT | {MARKER: str(engine or EngineId.mine())}
    scratch = tempfile.gettempdir() if log is None else str(log.parent)
    line, pid = str(theirs.fileno()), str(os.getpid())
    arguments = [line, pid, str(folder or "-"), str(embryos), scratch, *preload]
    with theirs, contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("ab")) if log is not None else None
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", _MODULE, *arguments],
            pass_fds=[theirs.fileno()],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return ours, process
