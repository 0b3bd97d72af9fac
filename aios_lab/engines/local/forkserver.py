"""The warm init of all slices: it has imported torch and distributed, and forks every process from there.

One thread, one loop, no blocking call. The engine's process holds one end of the first request socket;
every process may get its own. What a process spawned, and the orphans that come home because every process
here is a subreaper, are killed when it ends; when the engine's process ends, everything is.
"""

from __future__ import annotations

import array
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aios_lab.engines.local.newborn import Birth, live
from aios_lab.engines.processes import adopt_orphans, children, kill
from aios_lab.engines.spawn import KILL

ENGINE = 0  # stands for the engine's process, which is no child of ours
_MOST_FDS = 64
_LONGEST_HEADER = 8 << 20
_PRELOADED = (
    "cloudpickle",
    "distributed.diagnostics.plugin",
    "distributed.nanny",
    "distributed.scheduler",
    "distributed.worker",
    "tornado.platform.asyncio",
    "torch._dynamo",
    "aios_lab.engines.local.host",
    "aios_lab.engines.local.worker",
)
_ORPHANS_MAY_TAKE = 10.0  # seconds that an exit is held back for the orphans it left


@dataclass(slots=True)
class Process:
    """One of our children: who asked for it, where its fate is written, what it may ask with."""

    pid: int
    parent: int
    status: int
    requests: socket.socket | None
    code: int | None = None
    ended: float = 0.0
    spawned: set[int] = field(default_factory=set)


class Forkserver:
    """Forks, reaps and kills. ``engine`` is our end of the socket that the engine's process holds."""

    def __init__(self, engine: socket.socket, engine_pid: int) -> None:
        self._pid = os.getpid()
        self._processes: dict[int, Process] = {}
        self._roots: set[int] = set()
        self._orphans: dict[int, float] = {}  # pid to when it came home
        self._reserve = socket.socket()
        self._serving = True
        self._selector = selectors.DefaultSelector()
        self._engine = engine
        self._listen(engine, ENGINE)
        self._watch(engine_pid)
        self._hear_children()

    def run(self) -> None:
        """Serve until the engine's process is gone, then leave nothing behind."""
        while self._serving:
            self._turn()
        for process in self._processes.values():
            kill(process.pid)
        deadline = time.monotonic() + 10.0
        while (self._processes or self._orphans) and time.monotonic() < deadline:
            self._turn()

    def _turn(self) -> None:
        registered = self._selector.get_map()
        for key, _ in self._selector.select(0.02 if self._closing() or not self._serving else None):
            if registered.get(key.fd) is not key:  # what came before it in this turn hung up on it
                continue
            handle: Callable[[], None] = key.data
            handle()
        self._tell_exits()

    def _listen(self, client: socket.socket, pid: int) -> None:
        client.setblocking(False)
        self._selector.register(client, selectors.EVENT_READ, lambda: self._receive(client, pid))

    def _watch(self, engine_pid: int) -> None:
        """A copy of the engine's socket may have leaked into some process: its death ends us too."""
        try:
            self._engine_process = os.pidfd_open(engine_pid)
        except ProcessLookupError:
            self._serving = False
            return
        self._selector.register(self._engine_process, selectors.EVENT_READ, self._stop)

    def _stop(self) -> None:
        self._serving = False
        self._selector.unregister(self._engine_process)

    def _hear_children(self) -> None:
        self._bell, ringer = socket.socketpair()
        self._bell.setblocking(False)
        ringer.setblocking(False)
        self._ringer = ringer
        signal.set_wakeup_fd(ringer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._bell, selectors.EVENT_READ, self._reap)

    # Requests

    def _receive(self, client: socket.socket, pid: int) -> None:
        try:
            data, fds = _receive_fds(client)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self._hang_up(client, pid)
            return
        try:
            self._obey(pid, data, fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _hang_up(self, client: socket.socket, pid: int) -> None:
        self._selector.unregister(client)
        client.close()
        if pid == ENGINE:
            self._serving = False
        elif pid in self._processes:
            self._processes[pid].requests = None

    def _obey(self, pid: int, data: bytes, fds: list[int]) -> None:
        """Do what one request asks; the descriptors stay ours to close.

        What is no proper request is dropped: the sender sees its pipe close, and no other slice is harmed.
        """
        try:
            if data.startswith(KILL):
                self._kill(pid, int(data.removeprefix(KILL)))
            else:
                self._serve(pid, _header(fds), fds)
        except (OSError, ValueError, TypeError, LookupError) as error:
            print(f"forkserver: dropped a request of process {pid}: {error!r}", file=sys.stderr)

    def _serve(self, pid: int, request: dict[str, Any], fds: list[int]) -> None:
        match request.get("op"):
            case "spawn" if len(fds) >= 3:
                self._spawn(pid, request, fds[1], fds[2], fds[3:])
            case "family" if len(fds) == 2:
                _tell(fds[1], {str(child): parent for child, parent in self._family(pid)})

    def _spawn(self, parent: int, request: dict[str, Any], payload: int, status: int, fds: list[int]) -> None:
        if not self._serving or (parent != ENGINE and parent not in self._processes):
            return
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            fate = os.dup(status)
        except OSError as error:
            _tell(status, {"error": error.strerror})
            raise
        birth = Birth(
            target=str(request["target"]),
            env=request["env"],
            cwd=str(request["cwd"]),
            payload=payload,
            fds=dict(zip(request["fds"], fds, strict=True)),
            requests=theirs.detach() if request["requests"] else None,
        )
        try:
            pid = os.fork()
        except OSError as error:
            _tell(status, {"error": error.strerror})
            os.close(fate)
            ours.close()
        else:
            if pid == 0:
                try:
                    self._forget(ours)
                finally:
                    live(birth, self._pid)
            self._keep(Process(pid, parent, fate, ours if birth.requests is not None else None), ours)
        if birth.requests is not None:
            os.close(birth.requests)
        else:
            theirs.close()

    def _keep(self, process: Process, ours: socket.socket) -> None:
        self._processes[process.pid] = process
        self._siblings(process).add(process.pid)
        if process.requests is not None:
            self._listen(process.requests, process.pid)
        else:
            ours.close()
        _tell(process.status, {"pid": process.pid})

    def _siblings(self, process: Process) -> set[int]:
        parent = self._processes.get(process.parent)
        return self._roots if parent is None else parent.spawned

    def _forget(self, ours: socket.socket) -> None:
        """In a child: close what is the forkserver's through its own objects, which must not close later."""
        self._selector.close()
        for held in (self._engine, self._bell, self._ringer, self._reserve, ours):
            held.close()
        for process in self._processes.values():
            if process.requests is not None:
                process.requests.close()

    def _family(self, pid: int) -> list[tuple[int, int]]:
        spawned = self._roots if pid == ENGINE else self._processes[pid].spawned
        below = [(child, pid) for child in spawned]
        return below + [pair for child in spawned for pair in self._family(child)]

    def _kill(self, asker: int, pid: int) -> None:
        process = self._processes.get(pid)
        if process is not None and process.code is None and pid in dict(self._family(asker)):
            kill(pid)

    # Deaths

    def _reap(self) -> None:
        while _drain(self._bell):
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pid = 0
            if pid == 0:
                break
            self._orphans.pop(pid, None)
            if (process := self._processes.get(pid)) is not None:
                self._bury(process, os.waitstatus_to_exitcode(status))
        self._kill_orphans()

    def _bury(self, process: Process, code: int) -> None:
        process.code, process.ended = code, time.monotonic()
        for pid in process.spawned:
            if self._processes[pid].code is None:
                kill(pid)
        if process.requests is not None:
            self._hang_up(process.requests, process.pid)

    def _kill_orphans(self) -> None:
        """A child that nobody spawned is an orphan, and of a dead process: the living adopt their own.

        Looking takes a descriptor, and one was put by for when there is none left.
        """
        alive = {pid for pid, process in self._processes.items() if process.code is None}
        now = time.monotonic()
        self._reserve.close()
        try:
            home = children(self._pid)
            self._reserve = socket.socket()
        except OSError as error:
            print(f"forkserver: orphans are not looked for: {error}", file=sys.stderr)
            return
        self._orphans = {pid: self._orphans.get(pid, now) for pid in home if pid not in alive}
        for pid in self._orphans:
            kill(pid)

    def _closing(self) -> bool:
        return any(process.code is not None for process in self._processes.values())

    def _tell_exits(self) -> None:
        """An exit is told when all that the process spawned is gone, and all that it left behind."""
        now = time.monotonic()
        dying = any(now - since < _ORPHANS_MAY_TAKE for since in self._orphans.values())
        for process in list(self._processes.values()):
            if process.code is None or process.spawned:
                continue
            if dying and now - process.ended < _ORPHANS_MAY_TAKE:
                continue
            _tell(process.status, {"exit": process.code})
            os.close(process.status)
            del self._processes[process.pid]
            self._siblings(process).discard(process.pid)


def _receive_fds(client: socket.socket) -> tuple[bytes, list[int]]:
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


def _header(fds: list[int]) -> dict[str, Any]:
    """The request, read in a way that never waits: ``pread`` refuses pipes and sockets."""
    if not fds:
        raise ValueError("its descriptors did not arrive; too many may be open here")
    size = os.fstat(fds[0]).st_size
    if not 0 < size <= _LONGEST_HEADER:
        raise ValueError("no request of a sensible size")
    request = json.loads(os.pread(fds[0], size, 0))
    if not isinstance(request, dict):
        raise ValueError("a request is an object")
    return request


def _tell(fd: int, message: dict[str, Any]) -> None:
    os.set_blocking(fd, False)
    try:
        os.write(fd, json.dumps(message).encode() + b"\n")
    except (BrokenPipeError, BlockingIOError):  # nobody reads any more
        return


def _drain(bell: socket.socket) -> bytes:
    try:
        return bell.recv(4096)
    except BlockingIOError:
        return b""


def preload(more: Sequence[str]) -> None:
    """Import what slices use and run the paths that are slow the first time, without threads or CUDA.

    ``more`` are modules that the administrator wants; one that cannot be imported is said in the log.

    No ``backward()``: with a CUDA build it starts autograd's device threads, which no fork survives.
    """
    for module in _PRELOADED:
        importlib.import_module(module)
    for module in more:
        try:
            importlib.import_module(module)
        except ImportError as error:
            print(f"forkserver: {module} is not imported beforehand: {error}", file=sys.stderr)
    import distributed.versions
    import torch

    distributed.versions.get_versions()  # every client and worker asks for them
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.zeros(2)
    for optimizer in (torch.optim.SGD, torch.optim.Adam):
        optimizer([weight], lr=0.1).step()


def main() -> None:
    """``python -m aios_lab.engines.local.forkserver <socket fd> <engine pid> [module …]``."""
    engine = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(engine.fileno(), False)
    adopt_orphans()
    preload(sys.argv[3:])
    gc.collect()
    gc.freeze()
    Forkserver(engine, int(sys.argv[2])).run()


if __name__ == "__main__":
    main()
