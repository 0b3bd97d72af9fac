"""How processes ask the forkserver for something: one message a request, which itself is in a memory file."""

from __future__ import annotations

import array
import json
import os
import socket
from typing import Any

_MOST_FDS = 64
_LONGEST_HEADER = 8 << 20


def receive(client: socket.socket) -> tuple[bytes, list[int]]:
    """Like ``socket.recv_fds``, but a message whose descriptors were cut is dropped whole."""
    size = array.array("i").itemsize
    data, ancillary, flags, _ = client.recvmsg(
        16, socket.CMSG_SPACE(_MOST_FDS * size), socket.MSG_CMSG_CLOEXEC
    )
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % size])
    if flags & socket.MSG_CTRUNC:
        for fd in fds:
            os.close(fd)
        return data, []
    return data, list(fds)


def header(fds: list[int]) -> dict[str, Any]:
    """The request, read in a way that never waits: ``pread`` refuses pipes and sockets.

    Raises:
        OSError, ValueError, LookupError: it is no proper request.
    """
    size = os.fstat(fds[0]).st_size
    if not 0 < size <= _LONGEST_HEADER:
        raise ValueError("no request of a sensible size")
    request = json.loads(os.pread(fds[0], size, 0))
    if not isinstance(request, dict):
        raise ValueError("a request is an object")
    return request


def tell(fd: int, message: dict[str, Any]) -> None:
    """Answer on a pipe, or not at all where nobody reads any more."""
    os.set_blocking(fd, False)
    try:
        os.write(fd, json.dumps(message).encode() + b"\n")
    except (BrokenPipeError, BlockingIOError):
        return
