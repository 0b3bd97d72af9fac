"""Lock files: who holds one is known by process id, and a dead holder's is free at once."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Held(Exception):
    """Another holds the lock; ``by`` is its process id, or "unknown" while it has not written it."""

    def __init__(self, by: str) -> None:
        super().__init__(f"held by process {by}")
        self.by = by


class LockFile:
    """An exclusive lock on the file ``path``. The system lets go of it with the process.

    The file stays: deleting it would let two processes lock two files of one name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def take(self) -> None:
        """
        Raises:
            Held: another has it.
            OSError: the file cannot be opened for writing.
        """
        # O_NOFOLLOW: in a folder that all may write to, a link would have us write into another file.
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            by = os.pread(file, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            raise Held(by) from None
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def free(self) -> None:
        """Let go of it; does nothing when it is not held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
