"""A rank's output: everything (up to a bound) to a file, and a rate-limited stream of lines to the kernel."""

from __future__ import annotations

import time
from pathlib import Path
from typing import BinaryIO

FILE_LIMIT = 64 * 2**20  # bytes of a rank's log file
LINE_LIMIT = 1_000  # characters of a streamed line
LINES_A_SECOND = 200
BURST = 400
TAIL = 20  # newest lines that are streamed in the end whatever was left out


WHAT = b"what():"  # how C++ tells of an exception that nobody caught


class LogFile:
    """``rank<k>.log``: append only, bounded; a disk that refuses it costs the file, never the run."""

    def __init__(self, path: Path) -> None:
        self._room = FILE_LIMIT
        self._file: BinaryIO | None = None
        self.problem = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            self.problem = f"no log file: {error}"

    def write(self, data: bytes) -> None:
        if self._file is None or self._room <= 0:
            return
        try:
            self._file.write(data[: self._room])
            self._room -= len(data)
            if self._room <= 0:
                self._file.write(b"\n... the rest is left out: the log reached its bound\n")
        except OSError:  # the disk is full: training goes on without the file
            self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class Output:
    """Takes what a rank writes to its two streams; ``take`` gives the lines to show people now.

    Memory is bounded: beyond ``LINES_A_SECOND`` lines are only counted, and a line without end is cut.
    """

    def __init__(self, path: Path) -> None:
        self._file = LogFile(path)
        self._rest = {"stdout": b"", "stderr": b""}
        self._lines: list[str] = [self._file.problem] if self._file.problem else []
        self._tokens = float(BURST)
        self._then = time.monotonic()
        self._left_out = 0
        self._tail = b""
        self.last_words = ""  # of native code that gave up

    def feed(self, stream: str, data: bytes) -> None:
        head, newline, rest = (self._rest[stream] + data).rpartition(b"\n")
        if len(rest) > 64 * LINE_LIMIT:
            head, newline, rest = head + newline + rest, b"\n", b""
        self._rest[stream] = rest
        if whole := head + newline:
            self._file.write(whole)
            if stream == "stderr" and WHAT in whole:
                self.last_words = _readable(whole.rpartition(WHAT)[2].partition(b"\n")[0]).strip()
            self._stream(whole)

    def take(self) -> list[str]:
        """The lines since the last call."""
        lines, self._lines = self._lines, []
        return lines

    def finish(self) -> list[str]:
        """Complete unfinished lines, close the file, and give the rest with the newest of those left out."""
        for stream, rest in self._rest.items():
            if rest:
                self.feed(stream, b"\n")
        self._file.close()
        self._tell_left_out()
        return self.take()

    def _stream(self, whole: bytes) -> None:
        now = time.monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._then) * LINES_A_SECOND)
        self._then = now
        room = int(self._tokens)
        if room and self._left_out:
            self._tell_left_out()
        *passed, rest = whole.split(b"\n", room)
        self._lines += map(_readable, passed)
        self._tokens -= len(passed)
        if rest:
            self._left_out += rest.count(b"\n")
            self._tail = (self._tail + rest)[-TAIL * LINE_LIMIT :]

    def _tell_left_out(self) -> None:
        newest = self._tail.split(b"\n")[:-1][-min(TAIL, self._left_out) :] if self._left_out else []
        if hidden := self._left_out - len(newest):
            self._lines.append(f"... {hidden} lines left out here; they are in the rank's log file")
        self._lines += map(_readable, newest)
        self._left_out, self._tail = 0, b""


def _readable(line: bytes) -> str:
    """One line as a terminal would leave it: after its last carriage return, at most LINE_LIMIT long."""
    text = line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
    return text if len(text) <= LINE_LIMIT else text[:LINE_LIMIT] + "..."
