"""What the tests run in spawned processes and in workers."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def echo(payload: bytes, fds: dict[str, int]) -> int:
    """Write what it was given and what it sees of the world to the descriptor ``out``."""
    import torch

    seen = {
        "size": len(payload),
        "cwd": os.getcwd(),
        "env": os.environ.get("COLOUR"),
        "secret": os.environ.get("SECRET"),
        "fds": sorted(int(fd) for fd in os.listdir("/proc/self/fd")),
        "out": fds["out"],
        "session": os.getsid(0) == os.getpid(),
        "parent_threads": len(os.listdir(f"/proc/{os.getppid()}/task")),
        "parent_maps_cuda": "libcuda.so" in Path(f"/proc/{os.getppid()}/maps").read_text(),
        "cuda": torch.cuda.is_initialized(),
        "warm": "distributed" in sys.modules,
        "random": [random.random(), float(np.random.random()), float(torch.rand(()))],
        "threads": torch.get_num_threads(),
    }
    os.write(fds["out"], json.dumps(seen).encode())
    return 7


def shout(payload: bytes, fds: dict[str, int]) -> None:
    print("to stdout")
    print("to stderr", file=sys.stderr)


def fail(payload: bytes, fds: dict[str, int]) -> None:
    raise ValueError("this is meant")


def leave(payload: bytes, fds: dict[str, int]) -> None:
    sys.exit(5)


def rest(payload: bytes, fds: dict[str, int]) -> None:
    """Live until killed."""
    time.sleep(3600)


def litter(payload: bytes, fds: dict[str, int]) -> None:
    """Start processes in every way that escapes a parent, say so on ``out``, and live until killed."""
    from aios_lab.engines import spawn

    spawn.spawn("targets:rest", requests=False)
    daemon()
    subprocess.Popen(["sleep", "3600"], start_new_session=True)
    os.write(fds["out"], b"ready")
    if payload != b"end":
        rest(payload, fds)


def daemon(command: tuple[str, ...] = ("sleep", "3600")) -> int:
    """Double-fork a daemon in a session of its own; returns its pid."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        pid = os.fork()
        if pid == 0:
            os.execvp(command[0], command)
        os.write(write, str(pid).encode())
        os._exit(0)
    os.close(write)
    with open(read) as file:
        return int(file.read())


def hoard(payload: bytes, fds: dict[str, int]) -> None:
    """Take ``payload`` (a number of bytes) of memory, and live until killed."""
    kept = np.ones(int(payload), dtype=np.uint8)
    rest(payload, {"kept": int(kept[0])})


def recount(payload: bytes, fds: dict[str, int]) -> int:
    """Tell three things, the last as long as ``payload``, and end with 4; without a payload, never."""
    from aios_lab.engines.telling import telling

    with telling(fds) as tell:
        for said in ("one", "two", payload.decode()):
            tell(said=said)
        if not payload:
            rest(payload, fds)
    return 4


def bomb(forks: int, seconds: int, shape: str) -> None:
    """Start processes that start processes, ``forks`` of them in all, each of which ends after ``seconds``.

    In a "tree" each goes on forking, in a "chain" only the youngest does, and "orphans" lose their parents.
    """
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.write(write, b"x" * forks)
    signal.alarm(seconds)
    while _token(read):
        child = os.fork() == 0
        if child:
            os.setsid()
            signal.alarm(seconds)
        elif shape == "chain":
            break
        elif shape == "orphans" and os.fork() != 0:
            os._exit(0)
    signal.pause()


def _token(read: int) -> bool:
    try:
        return bool(os.read(read, 1))
    except BlockingIOError:
        return False


def bomb_below(payload: bytes, fds: dict[str, int]) -> None:
    shape, forks, seconds = payload.decode().split()
    subprocess.run(
        [sys.executable, "-c", f"import targets; targets.bomb({forks}, {seconds}, {shape!r})"], check=False
    )
