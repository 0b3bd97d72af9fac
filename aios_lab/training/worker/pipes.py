"""The four pipes between a supervisor and its rank."""

from __future__ import annotations

import os
from types import TracebackType

INCOMING = ("stdout", "stderr", "messages")
_CHUNK = 1 << 18
_DRAIN_LIMIT = 64 * 2**20  # bytes read from a pipe once its writer is gone


class Pipes:
    """One pipe a stream, so that ranks cannot garble each other's lines; ``theirs`` are the child's ends."""

    def __init__(self) -> None:
        self.ours: dict[str, int] = {}
        self.theirs: dict[str, int] = {}

    def __enter__(self) -> Pipes:
        for name in INCOMING:
            self.ours[name], self.theirs[name] = os.pipe()
            os.set_blocking(self.ours[name], False)
        self.theirs["control"], self.ours["control"] = os.pipe()
        return self

    def close_theirs(self) -> None:
        """Leave the child's ends to the child, so that its end is seen as end of file."""
        while self.theirs:
            os.close(self.theirs.popitem()[1])

    def read(self, name: str) -> bytes | None:
        """What is there to read now; None at the end of the stream, empty when there is nothing."""
        try:
            return os.read(self.ours[name], _CHUNK) or None
        except BlockingIOError:
            return b""

    def drain(self, name: str) -> list[bytes]:
        """What is left in a pipe whose writer is gone; a process it left behind cannot hold this up."""
        chunks: list[bytes] = []
        while sum(map(len, chunks)) < _DRAIN_LIMIT and (chunk := self.read(name)):
            chunks.append(chunk)
        return chunks

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close_theirs()
        while self.ours:
            os.close(self.ours.popitem()[1])
