"""How slices outlive the process of their engine for a moment, so that another engine can take them over.

A forkserver has a door, a socket in its engine's folder. While an engine is there nobody is let in; when its
line breaks, the next one has ``ADOPT`` seconds to knock. So there is one engine at a time.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable, Set
from contextlib import ExitStack
from pathlib import Path

from aios_lab.engines.unix import short

ADOPT = 8.0  # seconds that slices go on without an engine

_DOOR = "forkserver-"
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_AT_ONCE = 100  # processes in a message, each with two of the 253 descriptors that a message takes


class Heritage:
    """Processes that outlive their engine, each with a descriptor of the engine's end of its line."""

    def __init__(self) -> None:
        self._lines: dict[int, int] = {}

    @property
    def pids(self) -> Set[int]:
        return self._lines.keys()

    def add(self, pid: int, line: int) -> None:
        self.remove(pid)
        self._lines[pid] = os.dup(line)

    def remove(self, pid: int) -> None:
        """A process ended; one that is not here is fine."""
        if (line := self._lines.pop(pid, None)) is not None:
            os.close(line)

    def hand_over(self, heir: int, status: Callable[[int], int]) -> None:
        """Send everything over a socket: pids, their lines, and from ``status`` where their ends are told; at
        the end how many these are, for an heir that took a part for all would have the rest twice.

        Raises:
            OSError: no descriptor is left, or the heir is gone.
        """
        pids = list(self._lines)
        with socket.socket(fileno=os.dup(heir)) as answer:
            answer.setblocking(False)
            for some in (pids[at : at + _AT_ONCE] for at in range(0, len(pids), _AT_ONCE)):
                ends: list[int] = []
                try:
                    ends.extend(map(status, some))
                    fds = [*(self._lines[pid] for pid in some), *ends]
                    socket.send_fds(answer, [json.dumps(some).encode()], fds)
                finally:
                    for end in ends:
                        os.close(end)
            answer.send(b"%d" % len(pids))


def receive_heritage(answer: socket.socket) -> list[tuple[int, int, int]]:
    """The heir's side: pid, line and status of every process.

    Raises:
        EOFError: they came only in part, because no descriptor was left here or there.
        OSError: nothing came in time.
    """
    found: list[tuple[int, int, int]] = []
    with ExitStack() as undo:
        while True:
            data, fds, _, _ = socket.recv_fds(answer, 4096, 2 * _AT_ONCE)
            for fd in fds:
                undo.callback(os.close, fd)
            if data == b"%d" % len(found):
                undo.pop_all()
                return found
            pids = json.loads(data) if data.startswith(b"[") else []
            if not pids or len(fds) != 2 * len(pids):
                raise EOFError("what was left came only in part")
            found += zip(pids, fds[: len(pids)], fds[len(pids) :], strict=True)


def make_door(folder: Path) -> socket.socket:
    """The calling process's own door in the engine's folder, which only the user can enter."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path = folder / f"{_DOOR}{os.getpid()}"
    path.unlink(missing_ok=True)  # of a dead one that had this pid
    with short(path) as address:
        door.bind(address)
    door.listen()
    door.setblocking(False)
    return door


def admit(door: socket.socket) -> tuple[socket.socket, int] | None:
    """Whoever knocked first, with its pid; None where that is nobody, or no process of this user here."""
    try:
        visitor, _ = door.accept()
    except OSError:  # gone again
        return None
    pid, uid = _peer(visitor)
    if uid == os.getuid() and pid > 0:  # 0: it is in another container
        return visitor, pid
    visitor.close()
    return None


def knock(folder: Path) -> tuple[socket.socket, int] | None:
    """A line to the forkserver that an earlier engine of this folder left, and its pid; None where none is.

    What is sent waits until that engine is gone. Doors that nobody is behind are cleared away.
    """
    for path in sorted(folder.glob(f"{_DOOR}*")):
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with short(path) as address:
                line.connect(address)
        except OSError:
            line.close()
            path.unlink(missing_ok=True)
            continue
        return line, _peer(line)[0]
    return None


def _peer(line: socket.socket) -> tuple[int, int]:
    pid, uid, _ = _CREDENTIALS.unpack(
        line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    return pid, uid
