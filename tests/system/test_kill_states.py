"""SIGKILL for every process of a slice in every state of it; then processes and leases are counted."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from claims import Claim, Resting, send
from live import until

CONFIG = "c.AIOSLab.inventory = {'cpus': 2, 'memory': '4GB'}\n"
MOVING = ("granted", "resizing", "draining")


@dataclass
class Scene:
    """A claim in some state, and the processes that can be killed in it; ``stopped`` are held by SIGSTOP."""

    server: Resting
    claim: Claim
    others: list[Claim] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    before: set[int] = field(default_factory=set)

    def slice_processes(self) -> list[int]:
        """The host, then its workers, of the slice that has some."""
        return self.server.engine_processes()[1:]

    def has(self, processes: int) -> list[int]:
        """Wait until so many processes of slices are there."""
        until(f"{processes} processes", lambda: len(self.slice_processes()) == processes, 60)
        return self.slice_processes()

    def stop(self, *pids: int) -> None:
        self.stopped += pids
        send(signal.SIGSTOP, *pids)

    def victim(self, who: str) -> int:
        match who:
            case "kernel":
                return self.claim.kernel_pid()
            case "forkserver":
                return self.server.engine_processes()[0]
            case "host":
                return self.slice_processes()[0]
            case "worker":
                return self.slice_processes()[-1]
            case _:
                return self.server.pid


def asleep(scene: Scene) -> None:
    assert scene.claim.view()["dormant"]


def waiting(scene: Scene) -> None:
    """Another claim, whose processes can be killed, holds everything and gives nothing back."""
    other = scene.server.claim()
    scene.others.append(other)
    other.ask(2, min_workers=2, preemptible=False)
    other.reaches("active", 2)
    scene.claim.ask(1)
    scene.claim.reaches("requested", 0)
    assert not scene.claim.view()["dormant"]


def granted(scene: Scene) -> None:
    scene.server.hold()
    scene.claim.ask(1)
    scene.has(2)
    scene.claim.reaches("granted", 0)


def active(scene: Scene) -> None:
    scene.claim.ask(2)
    scene.claim.reaches("active", 2)


def growing(scene: Scene) -> None:
    scene.claim.ask(1)
    scene.claim.reaches("active", 1)
    scene.server.hold()
    scene.claim.ask(2)
    scene.has(3)
    scene.claim.reaches("resizing", 1)


def shrinking(scene: Scene) -> None:
    active(scene)
    scene.stop(scene.slice_processes()[0])  # it hears of the order, but cannot obey
    scene.claim.ask(1)
    scene.claim.reaches("resizing", 2)


def draining(scene: Scene) -> None:
    active(scene)
    scene.stop(*scene.server.engine_processes()[:2])  # nobody ends the workers, nobody tells of their end
    scene.claim.release()
    scene.claim.reaches("draining", 2)


def failed(scene: Scene) -> None:
    scene.server.hold("fail")
    scene.claim.ask(1)
    scene.claim.reaches("failed", 0)


STATES: dict[str, Callable[[Scene], None]] = {
    one.__name__: one for one in (asleep, waiting, granted, active, growing, shrinking, draining, failed)
}
WITHOUT_PROCESSES = ("asleep", "failed")
EVERY = [
    (state, victim)
    for state in STATES
    for victim in ("worker", "host", "kernel", "forkserver")
    if victim in ("kernel", "forkserver") or state not in WITHOUT_PROCESSES
]
SOAK = "AIOS_SOAK" in os.environ
# A forkserver takes seconds to be warm again, and a server to start: of these a part stands for all.
SHORT = [
    (state, victim) for state, victim in EVERY if victim != "forkserver" or state in ("growing", "failed")
]


@contextmanager
def set_up(server: Resting, state: str) -> Iterator[Scene]:
    scene = Scene(server, server.claim(), before=set(server.processes()))
    try:
        STATES[state](scene)
        yield scene
    finally:
        server.let_go()
        send(signal.SIGCONT, *scene.stopped)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_kill_9_in_every_state_leaves_no_process_and_no_lease(tmp_path: Path):
    server = Resting(tmp_path, CONFIG)
    try:
        server.start()
        for state, who in EVERY if SOAK else SHORT:
            forkserver = until("a forkserver", server.engine_processes, 60)[0]
            with set_up(server, state) as scene:
                victim, before = scene.victim(who), len(server.processes())
                os.kill(victim, signal.SIGKILL)
            until("the killed process is gone", lambda victim=victim: victim not in server.processes(), 60)
            comes_to_rest(scene, who)
            for claim in (scene.claim, *scene.others):
                claim.end()
            nothing_is_left(server, f"{state}, {who}")
            assert (server.engine_processes()[0] == forkserver) == (who != "forkserver")
            print(f"{state:9} {who:10} of {before} processes left 2, threads held 0, leases 0", flush=True)
    finally:
        server.stop()


def comes_to_rest(scene: Scene, who: str) -> None:
    """What was under way ends, and the claim can be used, which is what its owner sees of it all."""

    def still() -> bool:
        return all(one.view()["state"] not in MOVING for one in (scene.claim, *scene.others))

    until(f"nothing is under way, {who} killed", still, 90)
    for other in scene.others:
        other.end()
    if who == "kernel":
        until("the dead kernel holds nothing", lambda: scene.claim.view()["target"] == 0, 60)
        assert scene.claim.view()["dormant"]

    def works() -> bool:
        """A forkserver that has just died may cost an attempt."""
        view = scene.claim.view()
        if view["state"] == "active" and view["workers"] == 1:
            return True
        if view["dormant"] or view["state"] == "failed" or view["max_workers"] != 1:
            scene.claim.ask(1)
        return False

    until(f"the claim is granted, {who} killed", works, 90, every=0.2)


def nothing_is_left(server: Resting, after: str) -> None:
    """But the server and its forkserver: no other process, no thread that counts as held, no living lease."""

    def count() -> tuple[int, float, int]:
        return len(server.processes()), server.held(), len(server.living_leases())

    until(f"{after}: only the server and its forkserver", lambda: count() == (2, 0, 0), 90)


@pytest.mark.soak
@pytest.mark.parametrize("state", STATES if SOAK else ["growing"])
def test_kill_9_of_the_server_in_every_state(tmp_path: Path, state: str):
    server = Resting(tmp_path, CONFIG)
    try:
        server.start()
        with set_up(server, state) as scene:
            before = len(server.processes())
            server.kill()
        kernels(scene)
        # Slices wait some seconds for a server that takes them over.
        until("every process is gone", lambda: not server.processes(), 60)
        until("no lease lives", lambda: server.living_leases() == [], 60)
        server.start()
        until("its claims are gone", lambda: not server.ids(), 60)
        nothing_is_left(server, f"{state}, server")
        print(f"{state:9} server     of {before} processes left 0, leases 0")
    finally:
        server.stop()


def kernels(scene: Scene) -> None:
    """Kernels that rest do not see that their server is gone, as ipykernel does."""
    server = scene.server
    send(signal.SIGKILL, *(pid for pid, line in server.processes().items() if line == "sleep infinity"))
