"""The warm init of all slices: it has imported torch and distributed, and forks every process from there.

One thread, one loop, no blocking call. The engine's process holds one end of the first request socket;
every process may get its own. What a process spawned, and the orphans that come home because every process
here is a subreaper, are killed when it ends; when the engine's process ends, everything is, but what it had
kept: that goes on for as long as another engine may come for it (see ``succession``).
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aios_lab.engines.local import strays
from aios_lab.engines.local.descriptors import read_object, receive
from aios_lab.engines.local.embryos import Nursery
from aios_lab.engines.local.newborn import Birth, live
from aios_lab.engines.local.preload import preload
from aios_lab.engines.local.succession import ADOPT, Heritage, admit, make_door
from aios_lab.engines.processes import adopt_orphans, be_forkserver, children, kill
from aios_lab.engines.spawn import KILL, STAY

ENGINE = 0  # stands for the engine's process, which is no child of ours
_ORPHANS_MAY_TAKE = 10.0  # seconds that an exit is held back for the orphans it left


@dataclass(slots=True)
class Process:
    """One of our children: who asked for it, where its fate is written, what it may ask with."""

    pid: int
    parent: int
    status: int
    requests: socket.socket | None
    stays: bool = False  # also when no engine comes
    code: int | None = None
    ended: float = 0.0
    spawned: set[int] = field(default_factory=set)


class Forkserver:
    """Forks, reaps and kills. ``engine`` is our end of the socket that the engine's process holds, ``door``
    where the next engine knocks; without one nothing outlives the engine. ``embryos`` processes are kept
    ready, with files in the folder ``scratch``."""

    def __init__(
        self,
        engine: socket.socket,
        engine_pid: int,
        door: socket.socket | None = None,
        embryos: int = 0,
        scratch: str = "",
    ) -> None:
        self._pid = os.getpid()
        self._nursery = Nursery(embryos, scratch, self._fork)
        self._processes: dict[int, Process] = {}
        self._roots: set[int] = set()
        self._heritage = Heritage()
        self._orphans: dict[int, float] = {}  # pid to when it came home
        self._reserve = socket.socket()
        self._serving = True
        self._selector = selectors.DefaultSelector()
        self._door = door
        self._waits_until: float | None = None  # for an engine, where none is there
        self._serve_engine(engine, engine_pid)
        self._hear_children()

    def run(self) -> None:
        """Serve until no engine is there nor to be awaited, then leave nothing behind."""
        while self._serving:
            self._turn()
        if self._door is not None:
            self._door.close()
        self._end(self._processes)
        self._orphans |= dict.fromkeys(self._nursery.close(), time.monotonic())
        deadline = time.monotonic() + 10.0
        while (self._processes or self._orphans) and time.monotonic() < deadline:
            self._turn()

    def _turn(self) -> None:
        registered = self._selector.get_map()
        for key, _ in self._selector.select(self._patience()):
            if registered.get(key.fd) is not key:  # what came before it in this turn hung up on it
                continue
            handle: Callable[[], None] = key.data
            handle()
        self._tell_exits()
        if self._waits_in_vain():
            self._serving = False

    def _waits_in_vain(self) -> bool:
        """Whether an engine has nothing to come for; what does not stay is ended when none came in time."""
        if self._waits_until is None:
            return False
        stays = kept = self._heritage.pids
        if time.monotonic() >= self._waits_until:
            stays = {pid for pid in kept if self._processes[pid].stays}
            self._end(kept - stays)
        return not stays

    def _patience(self) -> float | None:
        """Seconds until something has to be looked at though nothing happened."""
        if self._closing() or not self._serving:
            return 0.02
        left = (self._waits_until or 0.0) - time.monotonic()
        return min((*([left] * (left > 0)), *self._nursery.tend()), default=None)

    def _listen(self, client: socket.socket, pid: int) -> None:
        client.setblocking(False)
        self._selector.register(client, selectors.EVENT_READ, lambda: self._receive(client, pid))

    def _serve_engine(self, engine: socket.socket, pid: int) -> None:
        """Obey this engine until its line breaks. A copy of its socket may have leaked into some process: its
        death ends it too."""
        self._engine, self._waits_until = engine, None
        self._listen(engine, ENGINE)
        try:
            self._engine_process = os.pidfd_open(pid)
        except ProcessLookupError:
            self._engine_process = -1
            self._engine_gone()
        else:
            self._selector.register(self._engine_process, selectors.EVENT_READ, self._engine_gone)

    def _engine_gone(self) -> None:
        """Nobody hears of what it did not keep; for the rest another may come."""
        self._selector.unregister(self._engine)
        self._engine.close()
        if self._engine_process >= 0:
            self._selector.unregister(self._engine_process)
            os.close(self._engine_process)
        self._end(self._roots - self._heritage.pids)
        if self._heritage.pids and self._door is not None:
            self._waits_until = time.monotonic() + ADOPT
            self._selector.register(self._door, selectors.EVENT_READ, self._open_door)
        else:
            self._serving = False

    def _open_door(self) -> None:
        assert self._door is not None
        found = admit(self._door)
        if found is not None:
            self._selector.unregister(self._door)
            self._serve_engine(*found)

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
            data, fds = receive(client)
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
        if pid == ENGINE:
            self._engine_gone()
            return
        self._selector.unregister(client)
        client.close()
        if pid in self._processes:
            self._processes[pid].requests = None

    def _obey(self, pid: int, data: bytes, fds: list[int]) -> None:
        """Do what one request asks; the descriptors stay ours to close.

        What is no proper request is dropped: the sender sees its pipe close, and no other slice is harmed.
        """
        try:
            if data.startswith(STAY):
                self._processes[pid].stays = data != STAY + b"0"
            elif data.startswith(KILL):
                self._kill(pid, int(data.removeprefix(KILL)))
            elif fds:
                self._serve(pid, read_object(fds[0]), fds)
            else:
                raise ValueError("its descriptors did not arrive; too many may be open here")
        except Exception as error:  # whatever a sender made of it, such as objects in objects without end
            print(f"forkserver: dropped a request of process {pid}: {error!r}", file=sys.stderr)

    def _serve(self, pid: int, request: dict[str, Any], fds: list[int]) -> None:
        match request.get("op"):
            case "spawn" if len(fds) >= 3:
                self._spawn(pid, request, fds)
            case "family" if len(fds) == 2:
                _tell(fds[1], {str(child): parent for child, parent in self._family(pid)})
            case "keep" if len(fds) == 2 and pid == ENGINE:
                self._keep_line(int(request["pid"]), fds[1])
            case "inherit" if len(fds) == 2 and pid == ENGINE:
                self._heritage.hand_over(fds[1], self._new_status)
            case "embryos" if len(fds) == 2:
                _tell(fds[1], self._nursery.counts)

    def _keep_line(self, pid: int, line: int) -> None:
        process = self._processes.get(pid)
        if process is not None and process.code is None:
            self._heritage.add(pid, line)

    def _new_status(self, pid: int) -> int:
        """Where the end of a process will be told from now on."""
        process = self._processes[pid]
        reading, writing = os.pipe()
        os.close(process.status)
        process.status = writing
        return reading

    def _spawn(self, parent: int, request: dict[str, Any], fds: list[int]) -> None:
        """``fds`` are the request itself, the payload, where its fate is written, and those that it names."""
        if not self._serving or (parent != ENGINE and parent not in self._processes):
            return
        header, payload, status, *named = fds
        with ExitStack() as stack, ExitStack() as undo:
            try:
                fate = os.dup(status)
                undo.callback(os.close, fate)
                ours = theirs = None
                if request["requests"]:
                    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                    undo.callback(ours.close)
                    stack.callback(theirs.close)
                birth = Birth.of(request, payload, named, theirs.fileno() if theirs else None)
                pid = self._nursery.take(header, birth) if request["ready"] else None
                pid = pid or self._fork(birth.descriptors, lambda: birth)
            except OSError as error:
                _tell(status, {"error": error.strerror})
                raise
            undo.pop_all()
            self._keep(Process(pid, parent, fate, ours))

    def _fork(self, keep: Collection[int], await_birth: Callable[[], Birth]) -> int:
        """A child that lives with these descriptors and no others. Raises: OSError."""
        pid = os.fork()
        if pid == 0:
            try:
                self._forget()
            finally:
                live(self._pid, keep, await_birth)
        return pid

    def _keep(self, process: Process) -> None:
        self._processes[process.pid] = process
        self._siblings(process).add(process.pid)
        if process.requests is not None:
            self._listen(process.requests, process.pid)
        _tell(process.status, {"pid": process.pid})

    def _siblings(self, process: Process) -> set[int]:
        parent = self._processes.get(process.parent)
        return self._roots if parent is None else parent.spawned

    def _forget(self) -> None:
        """In a child: close what is the forkserver's through its own objects, which must not close later."""
        self._selector.close()
        for held in (self._engine, self._door, self._bell, self._ringer, self._reserve):
            if held is not None:
                held.close()
        self._nursery.forget()
        for process in self._processes.values():
            if process.requests is not None:
                process.requests.close()

    def _family(self, pid: int) -> list[tuple[int, int]]:
        spawned = self._roots if pid == ENGINE else self._processes[pid].spawned
        below = [(child, pid) for child in spawned]
        return below + [pair for child in spawned for pair in self._family(child)]

    def _kill(self, asker: int, pid: int) -> None:
        if pid in dict(self._family(asker)):
            self._end([pid])

    def _end(self, pids: Iterable[int]) -> None:
        """Kill those that run: the pid of one that was reaped may be somebody else's by now."""
        for pid in pids:
            if self._processes[pid].code is None:
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
            self._nursery.bury(pid)
            if (process := self._processes.get(pid)) is not None:
                self._bury(process, os.waitstatus_to_exitcode(status))
        self._kill_orphans()

    def _bury(self, process: Process, code: int) -> None:
        process.code, process.ended = code, time.monotonic()
        self._heritage.remove(process.pid)
        self._end(process.spawned)
        if process.requests is not None:
            self._hang_up(process.requests, process.pid)

    def _kill_orphans(self) -> None:
        """A child that nobody spawned is an orphan, and of a dead process: the living adopt their own.

        Looking takes a descriptor, and one was put by for when there is none left.
        """
        alive = {pid for pid, process in self._processes.items() if process.code is None} | self._nursery.pids
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


def _tell(fd: int, message: dict[str, Any]) -> None:
    os.set_blocking(fd, False)
    with suppress(OSError):  # nobody reads any more, or it is nothing to write to
        os.write(fd, json.dumps(message).encode() + b"\n")


def _drain(bell: socket.socket) -> bytes:
    with suppress(BlockingIOError):
        return bell.recv(4096)
    return b""


def main() -> None:
    """Run as a module: ``<socket fd> <engine pid> <folder> <embryos> <scratch folder> [module …]``.

    Slices outlive the engine where it has a folder; "-" is none.
    """
    line, engine_pid, folder, embryos, scratch, *modules = sys.argv[1:]
    engine = socket.socket(fileno=int(line))
    os.set_inheritable(engine.fileno(), False)
    adopt_orphans()
    preload(modules)
    gc.collect()
    gc.freeze()
    be_forkserver()
    door = None
    if folder != "-":
        strays.hold(Path(folder))
        door = make_door(Path(folder))
    Forkserver(engine, int(engine_pid), door, int(embryos), scratch).run()


if __name__ == "__main__":
    main()
