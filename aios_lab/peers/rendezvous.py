"""Where servers of one user and one data folder find each other: a Unix socket in Jupyter's runtime folder.

The file system lets nobody else in, and both sides ask the kernel whom they speak with: no port, no password,
no certificate, and nothing that a page in a browser could call.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aios_lab.broker.errors import Refused
from aios_lab.engines.unix import short

_CREDENTIALS = struct.Struct("3i")  # process, user, group

Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def meeting_place(runtime: Path, folder: Path) -> Path:
    """The socket of whoever has the data folder ``folder``."""
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return runtime / f"aios-lab-{name}.sock"


@asynccontextmanager
async def listen(place: Path, accept: Accept) -> AsyncIterator[None]:
    """Be found there. Only who holds the data folder's lock may: a socket that lies there is a dead server's.

    Raises:
        Refused: 409 'runtime_dir_unavailable'.
    """
    try:
        server = await asyncio.start_unix_server(accept, sock=_bound(place))
    except OSError as error:
        raise Refused(
            409,
            f"Jupyter's runtime folder {place.parent} cannot be used: {error.strerror or error}.",
            "runtime_dir_unavailable",
            "Give the server's user the right to write there, or set JUPYTER_RUNTIME_DIR; then restart.",
        ) from error
    try:
        yield
    finally:
        server.close()
        place.unlink(missing_ok=True)


def _bound(place: Path) -> socket.socket:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listening.fileno(), 0o600)  # before it has a name
        with short(place) as path:
            listening.bind(path)
    except BaseException:
        listening.close()
        raise
    return listening


async def connect(place: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises: OSError, nobody is there, or it is not this user."""
    with short(place) as path:
        reader, writer = await asyncio.open_unix_connection(path)
    if process_of(writer) is None:
        writer.close()
        raise PermissionError(f"the server at {place} is another user's")
    return reader, writer


def process_of(writer: asyncio.StreamWriter) -> int | None:
    """The process at the other end, as the kernel knows it; None when it is not this user's, or is in a
    container of its own."""
    end: Any = writer.get_extra_info("socket")
    pid, user, _ = _CREDENTIALS.unpack(
        end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    return int(pid) if pid and user == os.getuid() else None
