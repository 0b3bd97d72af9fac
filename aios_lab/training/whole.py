"""Files that are there as a whole or not at all, whoever reads them and whatever is killed."""

from __future__ import annotations

import errno
import os
import platform
import stat
from pathlib import Path
from typing import BinaryIO


def write(path: Path, content: str | bytes, mode: int = 0o666) -> None:
    """Have ``path`` hold this in place of what it held, also after a crash of the machine. Other processes
    may write there at the same time: the last one counts.

    Args:
        mode: of the file, less the process's umask.

    Raises:
        OSError: the disk refuses; the file is as it was.
    """
    draft = draft_of(path)
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def opened(path: Path) -> BinaryIO:
    """A file to read where others may have put anything: neither does a pipe hold up who reads, nor does a
    link lead elsewhere.

    Raises:
        OSError: there is no such file, it cannot be read, or it is none.
    """
    return os.fdopen(regular(path, os.O_RDONLY), "rb")


def regular(path: Path, flags: int, mode: int = 0o666) -> int:
    """As ``opened``, but the descriptor; arguments as of ``os.open``."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, mode)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return descriptor


def draft_of(path: Path) -> Path:
    """Where this process writes what is to become ``path``; hosts may share a disk, and have equal pids."""
    return path.with_name(f".{path.name}-{platform.node()}-{os.getpid()}")


def _sync(folder: Path) -> None:
    """Keep the names in it, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
