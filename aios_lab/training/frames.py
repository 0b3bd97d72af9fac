"""Length-prefixed pickles over a pipe, between a rank and its supervisor.

Both ends belong to the same user and slice. Reading is apart from the descriptor, so that the supervisor
never waits for the rest of a frame: a rank may be killed in the middle of one.
"""

from __future__ import annotations

import os
import pickle
import struct
import threading
from typing import Any

_HEADER = struct.Struct("!Q")


class FrameWriter:
    """Writes frames to a blocking descriptor; safe to share among threads."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def send(self, message: Any) -> None:
        """Raises OSError when the other end is gone."""
        body = pickle.dumps(message, protocol=5)
        with self._lock:
            for part in (_HEADER.pack(len(body)), body):
                view = memoryview(part)
                while view:
                    view = view[os.write(self._fd, view) :]


class FrameReader:
    """Collects bytes, as they come, into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """The messages that ``data`` completed."""
        self._buffer += data
        return self._complete()

    def _complete(self) -> list[Any]:
        messages = []
        while len(self._buffer) >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._buffer)
            end = _HEADER.size + length
            if len(self._buffer) < end:
                break
            messages.append(pickle.loads(bytes(self._buffer[_HEADER.size : end])))
            del self._buffer[:end]
        return messages
