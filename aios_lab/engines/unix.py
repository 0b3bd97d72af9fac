"""Unix sockets by file, however long the path of their folder is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short(path: Path) -> Iterator[str]:
    """Another name of ``path``, to bind or connect to: a socket's address has room for 107 bytes only.

    Raises:
        OSError: its folder is not there.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
