"""What the engine asks of Linux about processes: parentage, death signals, and whose a process is."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import select
import signal
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import psutil

MARKER = "AIOS_ENGINE"
EXHAUSTED = (errno.EMFILE, errno.ENFILE)  # no descriptor is left: it says nothing about what was asked

_FORKSERVER = "aios-forkserver"  # a process's name has at most 15 characters

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int | str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    given = ctypes.c_char_p(value.encode()) if isinstance(value, str) else ctypes.c_ulong(value)
    if libc.prctl(option, given, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def die_with(parent: int) -> None:
    """Have the kernel SIGKILL this process when ``parent`` ends; exits at once when it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def adopt_orphans() -> None:
    """Make descendants whose parent ends children of this process instead of init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def be_forkserver(*, yes: bool = True) -> None:
    """Have this process known for a forkserver that serves, or no longer in a fork of one."""
    _prctl(_PR_SET_NAME, _FORKSERVER if yes else "python")


def is_forkserver(pid: int) -> bool:
    """Whether a process is one that serves: what comes from it is no stray, whoever it serves now."""
    try:
        with open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as file:
            return file.read().strip() == _FORKSERVER
    except OSError:  # gone
        return False


def kill(pid: int) -> None:
    """SIGKILL a process and its process group; one that is gone, or another user's by now, is left alone."""
    for end in (os.kill, os.killpg):
        try:
            end(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def await_end(pids: Iterable[int], seconds: float) -> list[int]:
    """Block until processes have ended, whoever reaps them; returns those that outlived ``seconds``.

    One that ended holds neither memory nor devices, even while its entry waits to be reaped. A missing
    environment does not say that: a process loses it first and its open files, devices among them, after.
    """
    deadline = time.monotonic() + seconds
    return [pid for pid in pids if not _ends(pid, deadline - time.monotonic())]


def _ends(pid: int, seconds: float) -> bool:
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:  # gone, or its number is a thread's by now; or there is nothing to be told by
        return error.errno not in EXHAUSTED
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        return bool(poller.poll(max(0.0, seconds) * 1000))
    finally:
        os.close(pidfd)


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (field 22 of proc's stat); None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return None


def said(error: Exception) -> str:
    """What went wrong, and, where it is that too many files are open, what would help."""
    if not isinstance(error, OSError) or error.errno not in EXHAUSTED:
        return str(error)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (
        f"no file can be opened any more, {most} at once are allowed. Shut down kernels that are not in use, "
        "or start the server with a higher limit (ulimit -n)"
    )


def children(pid: int) -> list[int]:
    """The direct children of a process, zombies included; empty when it is gone."""
    if _KERNEL_LISTS_NO_CHILDREN:
        return _children_by_scan(pid)
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return []
    found: list[int] = []
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
        except (FileNotFoundError, ProcessLookupError):  # the thread ended meanwhile
            continue
    return found


_KERNEL_LISTS_NO_CHILDREN = not os.path.exists("/proc/thread-self/children")


def _children_by_scan(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.NoSuchProcess:
        return []


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for one in found:  # it grows meanwhile: a chain of forks may be longer than calls can be nested
        found += children(one)
    return found


def resident(pid: int) -> int:
    """Bytes of memory resident for a process, pages it shares counted in full; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (FileNotFoundError, ProcessLookupError):
        return 0


def proportional(pid: int) -> int:
    """Bytes of memory that a process uses, pages shared by n processes counted as 1/n; 0 when it is gone.

    Slower than ``resident``: the kernel walks the page tables.
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(b"Pss:"))
    except PermissionError:  # another user's, such as a setuid child
        return resident(pid)
    except (FileNotFoundError, ProcessLookupError, StopIteration):
        return 0


_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class EngineId:
    """Names an engine by the process it serves, so that anybody can tell whether that process still lives.

    ``namespace`` is the one (an inode) in which the process has that pid: a container has pids of its own.
    """

    pid: int
    started: int
    namespace: int
    nonce: str

    @classmethod
    def mine(cls) -> EngineId:
        """A new engine of this process."""
        started = start_time(os.getpid())
        if started is None:
            raise OSError("/proc does not show this process: the local engine needs Linux with /proc mounted")
        return cls(os.getpid(), started, _namespace(), uuid.uuid4().hex[:8])

    @classmethod
    def parse(cls, text: str) -> EngineId | None:
        """The id that ``str`` made; None for any other text."""
        *numbers, nonce = text.split(".")
        if len(numbers) != 3 or not all(map(str.isdigit, numbers)) or not nonce:
            return None
        pid, started, namespace = map(int, numbers)
        return cls(pid, started, namespace, nonce)

    def __str__(self) -> str:
        return f"{self.pid}.{self.started}.{self.namespace}.{self.nonce}"

    @property
    def alive(self) -> bool:
        """Whether the process that this engine serves still runs, or may: of those in another namespace of
        pids, such as a container's, nothing can be told from here."""
        return self.namespace != _namespace() or start_time(self.pid) == self.started


def _namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def marked() -> Iterator[tuple[int, EngineId]]:
    """Every process this user may look at that an engine started, with that engine's id.

    Raises:
        OSError: no descriptor is left to look with.
    """
    for pid in psutil.pids():
        engine = mark_of(pid)
        if engine is not None:
            yield pid, engine


def mark_of(pid: int) -> EngineId | None:
    """The engine that started a process; None where none did, it is gone, or another user's.

    Raises:
        OSError: no descriptor is left to look with.
    """
    prefix = f"{MARKER}=".encode()
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise
        return None
    found = [entry for entry in entries if entry.startswith(prefix)]
    return EngineId.parse(found[0][len(prefix) :].decode(errors="replace")) if found else None


def of_engine(engine: EngineId) -> list[int]:
    """The processes of one engine that are alive; those that wait to be reaped have no environment left."""
    return [pid for pid, owner in marked() if owner == engine and pid != os.getpid()]


def sweep(engine: EngineId, seconds: float = 10.0) -> list[int]:
    """SIGKILL every process of an engine until none is left; returns those that outlived ``seconds``.

    Raises:
        OSError: no descriptor is left to look with.
    """
    deadline = time.monotonic() + seconds
    while pids := of_engine(engine):
        for pid in pids:
            kill(pid)
        late = await_end(pids, deadline - time.monotonic())
        if late:
            return late
    return []
