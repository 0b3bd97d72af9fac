"""Start processes from the warm forkserver, from inside any process of a slice.

Processes form a tree: a process that ends takes along everything it spawned, and every process those
started in any way. Where no forkserver is connected (a plain Dask worker, a bare interpreter), the first
``spawn`` starts one for the calling process; what it offers is the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aios_lab.engines.local.launch import launch
from aios_lab.engines.local.succession import receive_heritage

KILL = b"k"  # begins a message that asks for the end of a process; any other but STAY comes with descriptors
STAY = b"s"  # begins a message by which a process says whether it is to go on without an engine

_AGAIN = 0.1  # seconds between two looks at a process where nothing can tell of its end

_lock = threading.Lock()
_spawner: Spawner | None = None
_forkserver: subprocess.Popen[bytes] | None = None  # one that serves this process alone


class SpawnError(Exception):
    """A process could not be started; the message says why."""


class Child:
    """A process that ``spawn`` started. Forgetting this object leaves the process alone.

    Exit means that the process and all that it left behind are gone. Only when the forkserver itself
    was killed that is not known: ``told`` is false then.
    """

    def __init__(self, pid: int, status: int, spawner: Spawner, rest: bytes = b"") -> None:
        self.pid = pid
        self.told = True
        self._status = status
        self._spawner = spawner
        self._read = rest
        self._code: int | None = None
        self._reading = threading.Lock()
        self._close = weakref.finalize(self, os.close, status)

    def fileno(self) -> int:
        """A descriptor that becomes readable at exit, for ``select``."""
        return self._status

    def poll(self) -> int | None:
        """The exit code, negative for a signal (-9 when the forkserver is gone); None while it runs."""
        with self._reading:
            while self._code is None and _readable(self._status, 0):
                chunk = os.read(self._status, 4096)
                self._read += chunk
                if not chunk:
                    self._code, self.told = -signal.SIGKILL, False
                elif b"\n" in self._read:
                    self._code = int(json.loads(self._read)["exit"])
        return self._code

    def join(self, timeout: float | None = None) -> int:
        """Block until exit and return the code.

        Raises:
            TimeoutError: it still runs after ``timeout`` seconds.
        """
        while (code := self.poll()) is None:
            if not _readable(self._status, timeout):
                raise TimeoutError(f"process {self.pid} still runs after {timeout:g} s")
        return code

    async def wait(self, timeout: float | None = None) -> int:
        """Await exit and return the code.

        Raises:
            TimeoutError: it still runs after ``timeout`` seconds.
        """
        async with asyncio.timeout(timeout):
            while (code := self.poll()) is None:
                await _until_readable(self._status)
        return code

    def kill(self) -> None:
        """SIGKILL the process and everything that it started or spawned; await ``wait`` to see it gone."""
        if self.poll() is None:
            self._spawner.kill(self.pid)


class Spawner:
    """Asks a forkserver for processes, over one request socket that it owns."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def spawn(
        self,
        target: str,
        payload: bytes = b"",
        fds: Mapping[str, int] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        requests: bool = True,
        ready: bool = False,
        timeout: float = 60.0,
    ) -> Child:
        """See the function ``spawn``."""
        named = dict(fds or {})
        request = {
            "op": "spawn",
            "target": target,
            "fds": list(named),
            "env": dict(os.environ if env is None else env),
            "cwd": os.getcwd() if cwd is None else cwd,
            "requests": requests,
            "ready": ready,
        }
        status, answers = os.pipe()
        try:
            try:
                with _memory(payload) as body:
                    self._send(request, [body.fileno(), answers, *named.values()])
            finally:
                os.close(answers)
            line, rest = _line(status, timeout)
            answer = json.loads(line)
            if "error" in answer:
                raise SpawnError(f"The forkserver could not start a process: {answer['error']}.")
        except BaseException:
            os.close(status)
            raise
        return Child(int(answer["pid"]), status, self, rest)

    def family(self, timeout: float = 10.0) -> dict[int, int]:
        """See the function ``family``."""
        return {int(pid): int(parent) for pid, parent in self._ask("family", timeout).items()}

    def embryos(self, timeout: float = 10.0) -> dict[str, int]:
        """How many processes are kept ready, and how often one was there: ``ready``, ``hits``, ``misses``.

        Raises:
            SpawnError: the forkserver is gone or did not answer in ``timeout`` seconds.
        """
        return self._ask("embryos", timeout)

    def _ask(self, op: str, timeout: float) -> dict[str, int]:
        answer, reply = os.pipe()
        try:
            try:
                self._send({"op": op}, [reply])
            finally:
                os.close(reply)
            line, _ = _line(answer, timeout)
        finally:
            os.close(answer)
        found: dict[str, int] = json.loads(line)
        return found

    def keep(self, child: Child, line: socket.socket) -> None:
        """Have a process outlive this one for a moment; its heir gets ``line`` (see ``succession``)."""
        self._send({"op": "keep", "pid": child.pid}, [line.fileno()])

    def inherit(self, timeout: float = 5.0) -> list[tuple[Child, socket.socket]]:
        """What the forkserver's earlier engine had kept, each with its line.

        Raises:
            SpawnError: the forkserver ended, or another engine was still there after ``timeout`` seconds,
                or what was left came only in part.
        """
        answer, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with answer:
            answer.settimeout(timeout)
            with theirs:
                self._send({"op": "inherit"}, [theirs.fileno()])
            try:
                heritage = receive_heritage(answer)
            except EOFError as error:
                raise SpawnError(f"The forkserver does not give up all: {error}.") from error
            except TimeoutError:
                raise SpawnError(f"The forkserver did not answer within {timeout:g} s.") from None
        return [(Child(pid, status, self), socket.socket(fileno=line)) for pid, line, status in heritage]

    def kill(self, pid: int) -> None:
        """SIGKILL one process of ``family`` and all it started; one that is gone already is fine.

        It takes no descriptor: what is to end can be ended also where none is left.
        """
        with suppress(OSError):  # with the forkserver all that it started is gone
            self._channel.send(KILL + b"%d" % pid)

    def stay(self, wanted: bool) -> None:
        """See the function ``stay``."""
        try:
            self._channel.send(STAY + b"%d" % wanted)
        except OSError as error:
            message = f"The forkserver that starts processes is gone ({error.strerror})."
            raise SpawnError(message) from error

    def close(self) -> None:
        """Hang up; what was spawned lives on until this process ends."""
        self._channel.close()

    def _send(self, request: dict[str, Any], fds: list[int]) -> None:
        """One message a request: the request itself travels in a memory file, so its size has no limit."""
        with _memory(json.dumps(request).encode()) as header:
            try:
                socket.send_fds(self._channel, [b"?"], [header.fileno(), *fds])
            except OSError as error:
                message = f"The forkserver that starts processes is gone ({error.strerror})."
                raise SpawnError(message) from error


def connect(spawner: Spawner) -> None:
    """Make ``spawner`` the one that this process uses (the forkserver and the engine do this)."""
    global _spawner
    with _lock:
        _spawner = spawner


def disconnect(spawner: Spawner | None = None) -> None:
    """Use no spawner any more (or: not this one), and close it.

    A forkserver that was started for this process alone ends, with all that it spawned.
    """
    global _spawner, _forkserver
    with _lock:
        if _spawner is None or (spawner is not None and spawner is not _spawner):
            return
        _spawner.close()
        if _forkserver is not None:
            _forkserver.wait()
        _spawner = _forkserver = None


def spawn(
    target: str,
    payload: bytes = b"",
    fds: Mapping[str, int] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    requests: bool = True,
    ready: bool = False,
    timeout: float = 60.0,
) -> Child:
    """Run ``target(payload, fds)`` in a new process of its own session; blocks until it is forked.

    Args:
        target: ``"package.module:function"``; an int it returns is the exit code, None is 0, an uncaught
            exception is printed and is 1.
        payload: bytes handed to the function; no limit but memory.
        fds: descriptors for the child by name; the child gets duplicates under the same names, with other
            numbers. ``"stdout"`` and ``"stderr"`` become its streams instead.
        env: the child's whole environment, as for ``subprocess``; this process's when left out.
            ``OMP_NUM_THREADS`` sets torch's threads.
        cwd: its working folder; this process's when left out.
        requests: whether it may spawn in its turn.
        ready: whether somebody waits for it, so that it may be one of the few that are kept ready.
        timeout: seconds to wait for the forkserver; its first start imports torch.

    Raises:
        SpawnError: the forkserver is gone, did not answer in time, or could not fork.
    """
    return _connected().spawn(
        target, payload, fds, env=env, cwd=cwd, requests=requests, ready=ready, timeout=timeout
    )


def family(timeout: float = 10.0) -> dict[int, int]:
    """Everything spawned below this process: pid to the pid that asked for it (0: the engine's own process).

    Raises:
        SpawnError: the forkserver is gone or did not answer in ``timeout`` seconds.
    """
    return _connected().family(timeout)


def kill(pid: int) -> None:
    """SIGKILL one process of ``family`` and all it started; one that is gone already is fine."""
    _connected().kill(pid)


def stay(wanted: bool) -> None:
    """Whether this process is to go on while there is no engine, however long; else it does for a moment, if
    the engine kept it.

    Raises:
        SpawnError: the forkserver is gone.
    """
    _connected().stay(wanted)


def _connected() -> Spawner:
    """This process's spawner; where there is none, a forkserver is started."""
    global _spawner, _forkserver
    with _lock:
        if _forkserver is not None and _forkserver.poll() is not None:
            _spawner = _forkserver = None
        if _spawner is None:
            channel, _forkserver = launch()
            _spawner = Spawner(channel)
        return _spawner


class _memory:
    """Bytes in an anonymous file, for handing over by descriptor."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __enter__(self) -> Any:
        self._file = open(os.memfd_create("aios"), "wb+", buffering=0)
        view = memoryview(self._data)
        while view:
            view = view[self._file.write(view) or 0 :]
        self._file.seek(0)
        return self._file

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _line(fd: int, timeout: float) -> tuple[bytes, bytes]:
    data = b""
    while b"\n" not in data:
        if not _readable(fd, timeout):
            raise SpawnError(f"The forkserver did not answer within {timeout:g} s.")
        chunk = os.read(fd, 65536)
        if not chunk:
            raise SpawnError(
                "The forkserver that starts processes refused the request or ended; its log says why."
            )
        data += chunk
    line, _, rest = data.partition(b"\n")
    return line, rest


def _readable(fd: int, timeout: float | None) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(None if timeout is None else timeout * 1000))


async def _until_readable(fd: int) -> None:
    """Await data or end of file; on a duplicate, since a loop keeps one callback a descriptor.

    Where no descriptor is left for that it returns after a while, and the caller looks again.
    """
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        copy = os.dup(fd)
    except OSError:
        await asyncio.sleep(_AGAIN)
        return
    loop.add_reader(copy, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(copy)
        os.close(copy)
