"""Two hundred claims at once from twenty threads, with cancels, restarts, and kills of kernels and server.

What must hold is checked while it goes on, and again on every line of the record afterwards.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from aios_lab.allocation import Resources
from aios_lab.broker import Ledger
from aios_lab.broker.slices import FOLLOWS
from aios_lab.wire import SliceState
from broker.records import agree, decide_again, events, living_leases, steps
from claims import Claim, Resting, send
from live import HTTPProblem, meanwhile, until

CLAIMS, THREADS, UNITS = 200, 20, 8
SECONDS = 60 if "AIOS_SOAK" in os.environ else 10  # before the server is killed, and after
LONG = 600  # seconds that anything may take: a machine may be slow
DEEDS = ["ask"] * 6 + ["activate"] * 3 + ["release"] * 4 + ["restart", "kill", "replace"]


@dataclass
class Storm:
    """What the threads did, and what was seen meanwhile."""

    server: Resting
    done: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    most_processes: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.server.data_dir / "ledger.db")

    def rage(self, claims: list[Claim], random: Random, until_then: float) -> list[Claim]:
        """One thread's part, on claims of its own; the claims that it has in the end."""
        pause = threading.Event()
        while time.monotonic() < until_then:
            number = random.randrange(len(claims))
            deed = random.choice(DEEDS)
            try:
                claims[number] = self.do(claims[number], random, deed)
                self.done[deed] += 1
            except HTTPProblem as problem:
                if claims[number].given_up():
                    claims[number] = self.server.claim()
                    self.done["given up"] += 1
                # Else Jupyter is just starting this kernel again.
                elif deed not in ("restart", "replace"):
                    self.wrong.append(f"{deed}: {problem}")
            pause.wait(random.random() / 10)
        return claims

    def do(self, claim: Claim, random: Random, deed: str) -> Claim:
        match deed:
            case "ask":
                most = random.randint(1, 3)
                claim.ask(most, min_workers=random.randint(1, most), preemptible=random.random() < 0.8)
            case "activate":
                claim.activate()
            case "release":
                claim.release()
            case "restart":
                with suppress(TimeoutError):  # Jupyter waits a minute for one that another deed kills
                    self.server.fetch("POST", f"api/kernels/{claim.kernel}/restart")
            case "kill":
                with suppress(AssertionError):  # one that Jupyter is just starting again
                    send(signal.SIGKILL, claim.kernel_pid())
            case "replace":
                claim.end()
                return self.server.claim()
        return claim

    def look(self) -> None:
        """Neither the ledger nor the machine has more than there is."""
        leased = sum(lease.units for lease in living_leases(self.ledger, 0))
        processes = len(self.server.engine_processes())
        self.looks += 1
        self.most_processes = max(self.most_processes, processes)
        # The forkserver; a host a slice, of which each has a unit; the workers.
        if leased > UNITS or processes > 1 + UNITS + UNITS:
            self.wrong.append(f"{leased} units leased, {processes} processes")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_hundred_claims_from_twenty_threads(tmp_path: Path):
    server = Resting(tmp_path, f"c.AIOSLab.inventory = {{'cpus': {UNITS}, 'memory': '8GB'}}\n")
    storm = Storm(server)
    try:
        server.start()
        rage(storm, claims := file(server), seed=1)
        server.kill()
        send(signal.SIGKILL, *(pid for pid, line in server.processes().items() if line == "sleep infinity"))
        until("nothing outlives the server", lambda: not server.processes(), LONG)
        server.start()
        claims = rage(storm, file(server), seed=2)
        waited = everybody_gets_something(server)
        for part in claims:
            parallel(lambda claim: claim.end(), part)
        until("no claim is left", lambda: not server.ids(), LONG)
        until("the server and its forkserver are left", lambda: len(server.processes()) == 2, LONG)
        assert (server.held(), server.living_leases()) == (0, [])
        assert server.get("aios/api/status")["problems"] == []
        assert storm.wrong == []
        figures = audit(storm.ledger)
    finally:
        server.stop()
    print(
        f"\n{sum(storm.done.values())} deeds of {THREADS} threads on {2 * CLAIMS} claims in {2 * SECONDS} s: "
        f"{dict(sorted(storm.done.items()))}; {storm.looks} looks, {storm.most_processes} slice processes "
        f"at most; {waited} claims waited at the end and all were granted; {figures}"
    )


def parallel(function, things):  # type: ignore[no-untyped-def]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, things))


def file(server: Resting) -> list[list[Claim]]:
    """Two hundred kernels, each with its claim, by thread."""
    kernels = parallel(lambda _: server.fetch("POST", "api/kernels", {"name": "rest"})["id"], range(CLAIMS))
    ids = {one["kernel_id"]: one["id"] for one in server.get("aios/api/slices")}
    claims = [Claim(server, kernel, ids[kernel]) for kernel in kernels]
    return [claims[number::THREADS] for number in range(THREADS)]


def rage(storm: Storm, claims: list[list[Claim]], seed: int) -> list[list[Claim]]:
    end = time.monotonic() + SECONDS
    with meanwhile(storm.look, 0.2):
        turns = enumerate(claims)
        return list(parallel(lambda turn: storm.rage(turn[1], Random(seed * 1000 + turn[0]), end), turns))


def everybody_gets_something(server: Resting) -> int:
    """Whoever waits is granted once others give back; says how many there were."""
    waiting = {one["id"] for one in server.get("aios/api/slices") if awake(one) and not one["workers"]}
    left = set(waiting)

    def served() -> bool:
        for one in server.get("aios/api/slices"):
            if one["state"] == "active" and one["workers"] == one["target"]:
                left.discard(one["id"])
                with suppress(HTTPProblem):  # its kernel has just been given up
                    server.fetch("DELETE", f"aios/api/slices/{one['id']}")
            elif not awake(one):
                left.discard(one["id"])  # its kernel was killed just before
        return not left

    until("everybody who waits is granted", served, LONG)
    until("nobody holds or wants anything", lambda: released(server), LONG)
    return len(waiting)


def awake(view: dict) -> bool:  # type: ignore[type-arg]
    return not view["dormant"] and view["state"] != "failed"


def released(server: Resting) -> bool:
    rest = [one for one in server.get("aios/api/slices") if awake(one) or one["target"]]
    for one in rest:
        with suppress(HTTPProblem):
            server.fetch("DELETE", f"aios/api/slices/{one['id']}")
    return not rest


def audit(ledger: Ledger) -> str:
    """Every line of the record keeps the rules, and all together lead to what the ledger shows."""
    lines, asked, granted, cancelled = 0, 0, 0, 0
    before: dict[str, str] = {}
    waiting: set[str] = set()
    capacity = Resources()
    for event, state in steps(ledger):
        lines += 1
        if event.kind == "plan":
            nodes = event.data["snapshot"]["nodes"]
            capacity = sum((Resources(**node["capacity"]) for node in nodes), Resources())
            assert len(nodes) == 1
            continue
        one = event.slice_id
        name, data = state.claims[one].state, state.claims[one].contents
        held = sum(
            (
                Resources(**state.claims[slice_id].contents["unit"]) * units
                for (slice_id, _), units in state.leases.items()
            ),
            Resources(),
        )
        assert held == Resources() or held.fits_in(capacity), f"line {event.id}: {held}"
        old = before.get(one, name)
        allowed = name == old or name == "expired" or SliceState(name) in FOLLOWS[SliceState(old)]
        assert allowed or not state.claims[one].whole, f"line {event.id}: {old} to {name}"
        before[one] = name
        holds = any(data["units"].values())
        if one in waiting and (holds or not data["wanted"] or name in ("expired", "released")):
            waiting.discard(one)
            granted, cancelled = granted + holds, cancelled + (not holds)
        elif one not in waiting and data["wanted"] and not holds and name == "requested":
            waiting.add(one)
            asked += 1
    assert waiting == set(), "each is granted at last or cancelled"
    assert asked == granted + cancelled
    assert set(agree(ledger).values()) <= {"released", "expired"}
    plans = decide_again(ledger)
    kinds = Counter(event.kind for event in events(ledger))
    return (
        f"{asked} waits, {granted} granted, {cancelled} cancelled, 0 lost; {lines} lines replayed to the same"
        f" state, {plans} plans to the same byte; {dict(sorted(kinds.items()))}"
    )
