"""The child's side of a fork of the forkserver: from a copy of it to a process of its own.

It settles, which needs no more than the fork, and then becomes what it was asked for: at once, or, as an
embryo, when somebody needs it.
"""

from __future__ import annotations

import importlib
import io
import os
import random
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from aios_lab.engines import spawn
from aios_lab.engines.processes import MARKER, adopt_orphans, be_forkserver, die_with


@dataclass(frozen=True, slots=True)
class Birth:
    """All that a new process is given; ``requests`` is its own request socket, if it may spawn."""

    target: str
    env: dict[str, str]
    cwd: str
    payload: int
    fds: dict[str, int]
    requests: int | None

    @classmethod
    def of(cls, request: Mapping[str, Any], payload: int, fds: Sequence[int], requests: int | None) -> Birth:
        """What a request for a process asks for; ``fds`` are those that it names.

        Raises:
            LookupError, TypeError, ValueError: it is no proper request.
        """
        named = dict(zip(request["fds"], fds, strict=True))
        return cls(str(request["target"]), request["env"], str(request["cwd"]), payload, named, requests)

    @property
    def descriptors(self) -> list[int]:
        return [self.payload, *([] if self.requests is None else [self.requests]), *self.fds.values()]


def live(parent: int, keep: Collection[int], await_birth: Callable[[], Birth]) -> NoReturn:
    """Settle, with none but the descriptors to ``keep``; become the process that is born, run it, and end."""
    code = 1
    try:
        _settle(parent, keep)
        birth = await_birth()
        _become(birth)
        code = _run(birth)
    except SystemExit as error:
        code = _exit_code(error)
    except BaseException:  # whatever it was, the parent learns of it by the code and people by the text
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _settle(parent: int, keep: Collection[int]) -> None:
    os.setsid()
    die_with(parent)
    adopt_orphans()
    be_forkserver(yes=False)
    _reset_signals()
    _close_all_but(keep)
    _reseed()


def _become(birth: Birth) -> None:
    _take_streams(birth.fds)
    _take_environment(birth.env)
    _move_to(birth.cwd)
    if birth.requests is not None:
        spawn.connect(spawn.Spawner(socket.socket(fileno=birth.requests)))


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _close_all_but(keep: Collection[int]) -> None:
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and fd not in keep:
            try:
                os.close(fd)
            except OSError:  # the descriptor of the listing itself
                continue


def _take_streams(fds: dict[str, int]) -> None:
    for name, number in (("stdout", 1), ("stderr", 2)):
        if name in fds:
            fd = fds.pop(name)
            os.dup2(fd, number)
            os.close(fd)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


def _take_environment(env: dict[str, str]) -> None:
    marker = os.environ[MARKER]
    os.environ.clear()
    os.environ.update(env)
    os.environ[MARKER] = marker
    for folder in reversed(env.get("PYTHONPATH", "").split(os.pathsep)):
        if folder and folder not in sys.path:
            sys.path.insert(0, folder)
    threads = env.get("OMP_NUM_THREADS", "")
    if threads.isdigit() and int(threads) > 1 and (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(int(threads))  # OpenMP read the forkserver's own value long ago


def _move_to(folder: str) -> None:
    """Modules beside a notebook can be imported, but shadow none that is installed."""
    os.chdir(folder)
    if folder not in sys.path:
        sys.path.append(folder)


def _reseed() -> None:
    """Give every generator a state of its own; the forkserver's would be the same in all its children."""
    random.seed()
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()
    if (torch := sys.modules.get("torch")) is not None:
        torch.default_generator.seed()


def _run(birth: Birth) -> int:
    with open(birth.payload, "rb") as file:
        file.seek(0)
        payload = file.read()
    module, _, name = birth.target.partition(":")
    function: Callable[[bytes, dict[str, int]], int | None] = getattr(importlib.import_module(module), name)
    return function(payload, birth.fds) or 0


def _exit_code(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr)
    return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # its reader is gone, or the target closed it
            continue
