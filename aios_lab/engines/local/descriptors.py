"""Descriptors that travel over a socket, and the JSON object that one of them may hold."""

from __future__ import annotations

import array
import json
import os
import socket
from typing import Any

_MOST = 64
_LONGEST_OBJECT = 8 << 20


def receive(line: socket.socket) -> tuple[bytes, list[int]]:
    """Like ``socket.recv_fds``, but a message whose descriptors were cut is dropped whole."""
    size = array.array("i").itemsize
    data, ancillary, flags, _ = line.recvmsg(16, socket.CMSG_SPACE(_MOST * size), socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % size])
    if flags & socket.MSG_CTRUNC:
        for fd in fds:
            os.close(fd)
        return data, []
    return data, list(fds)


def read_object(fd: int) -> dict[str, Any]:
    """A JSON object in a file, read in a way that never waits: ``pread`` refuses pipes and sockets.

    Raises:
        OSError, ValueError: there is none.
    """
    size = os.fstat(fd).st_size
    if not 0 < size <= _LONGEST_OBJECT:
        raise ValueError("no request of a sensible size")
    found = json.loads(os.pread(fd, size, 0))
    if not isinstance(found, dict):
        raise ValueError("a request is an object")
    return found
