"""Processes forked ahead of their need: warm, and nobody's until they are told what to become.

A fork takes some hundredths of a second, and what a process does for the first time takes as long again. An
embryo has both behind it. It waits for its birth on a line of its own, with a session, random seeds and
descriptors of its own; environment, folder, threads and all else come with its birth.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from aios_lab.engines.local.budget import affordable
from aios_lab.engines.local.descriptors import read_object, receive
from aios_lab.engines.local.newborn import Birth
from aios_lab.engines.local.rehearsal import rehearse
from aios_lab.engines.pauses import pause
from aios_lab.engines.processes import kill

_QUIET = 1.0  # seconds after a birth in which whoever asked for it has the machine for himself
_LOOK = 10.0  # seconds between two looks at the memory
_GROWING = 0.1  # seconds between two looks at one that is not ready yet
_LATE = 60.0  # seconds after which one that is not ready never will be
_LONGEST_PAUSE = 60.0  # seconds between two tries where embryos do not come to life
_READY = b"ready"

Fork = Callable[[Collection[int], Callable[[], Birth]], int]


@dataclass(slots=True)
class _Embryo:
    line: socket.socket
    since: float
    ready: bool = False


class Nursery:
    """Has ``size`` embryos; fewer, or none, while memory is short. For the forkserver, whose one thread it
    does not hold up.

    ``fork`` makes a child of the forkserver, with nothing but some descriptors, that becomes what a function
    returns.
    """

    def __init__(self, size: int, folder: str, fork: Fork) -> None:
        self._size = size
        self._folder = folder
        self._fork = fork
        self._embryos: dict[int, _Embryo] = {}
        self._hits = self._misses = self._failures = 0
        self._next = 0.0

    @property
    def pids(self) -> frozenset[int]:
        return frozenset(self._embryos)

    @property
    def counts(self) -> dict[str, int]:
        """How many are ready, and how often one was there for who asked and how often not."""
        ready = sum(self._is_ready(one) for one in self._embryos.values())
        return {"ready": ready, "hits": self._hits, "misses": self._misses}

    def take(self, header: int, birth: Birth) -> int | None:
        """One that becomes what ``birth`` says and the request in ``header``; None where none is ready."""
        if not self._failures:
            self._next = time.monotonic() + _QUIET
        requests = [] if birth.requests is None else [birth.requests]
        for pid, one in list(self._embryos.items()):
            if not self._is_ready(one):
                continue
            del self._embryos[pid]
            with one.line:
                try:
                    socket.send_fds(
                        one.line,
                        [b"%d" % len(requests)],
                        [header, birth.payload, *requests, *birth.fds.values()],
                    )
                except OSError:  # killed just now
                    continue
            self._hits += 1
            return pid
        self._misses += bool(self._size)
        return None

    def tend(self) -> tuple[float, ...]:
        """Do what is to be done now; returns in how many seconds to come again, nothing for never."""
        if not self._size:
            return ()
        now = time.monotonic()
        if now >= self._next:
            try:
                rest = self._step(now)
            except OSError as error:  # no process, memory or descriptor is to be had
                print(f"forkserver: no process can be kept ready: {error.strerror}", file=sys.stderr)
                rest = _LOOK
            self._next = now + rest
        return (self._next - now,)

    def bury(self, pid: int) -> None:
        """A child of the forkserver has ended."""
        one = self._embryos.pop(pid, None)
        if one is None:
            return
        if not self._is_ready(one):
            self._failures += 1
        one.line.close()
        self._next = time.monotonic() + pause(self._failures, _LONGEST_PAUSE)

    def close(self) -> list[int]:
        """Have none any more; returns the pids of those that were killed."""
        self._size = 0
        return self._end(len(self._embryos))

    def forget(self) -> None:
        """In a child of the forkserver: its embryos are nothing of ours."""
        for one in self._embryos.values():
            one.line.close()

    def _step(self, now: float) -> float:
        """End one too many, or begin one; returns seconds until the next step. Raises: OSError."""
        room = min(self._size, affordable(1, len(self._embryos)))
        self._end(len(self._embryos) - room)
        growing = {pid: one for pid, one in self._embryos.items() if not self._is_ready(one)}
        if growing:
            for pid in (pid for pid, one in growing.items() if now - one.since > _LATE):
                kill(pid)
            return _GROWING
        self._failures = 0 if self._embryos else self._failures
        if len(self._embryos) >= room:
            return _LOOK
        self._begin(now)
        return _GROWING

    def _begin(self, now: float) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                pid = self._fork([theirs.fileno()], lambda: _grow(theirs, self._folder))
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        self._embryos[pid] = _Embryo(ours, now)

    def _end(self, count: int) -> list[int]:
        """Kill so many; the forkserver reaps them as it does orphans."""
        pids = list(self._embryos)[: max(0, count)]
        for pid in pids:
            self._embryos.pop(pid).line.close()
            kill(pid)
        return pids

    def _is_ready(self, one: _Embryo) -> bool:
        if not one.ready:
            try:
                one.ready = one.line.recv(len(_READY)) == _READY
            except OSError:  # it has said nothing yet, or is gone
                return False
        return one.ready


def _grow(line: socket.socket, folder: str) -> Birth:
    """In an embryo: become ready, and wait for its birth."""
    rehearse(folder)
    line.send(_READY)
    data, fds = receive(line)
    line.close()
    if not fds:
        os._exit(0)  # the forkserver is gone
    header, payload, *rest = fds
    request = read_object(header)
    os.close(header)
    requests = rest.pop(0) if data == b"1" else None
    return Birth.of(request, payload, rest, requests)
