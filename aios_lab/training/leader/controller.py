"""Leads one run from the scheduler's process: places its ranks, feeds what happens to the attempts, carries
out what they want."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from aios_lab.training.environment import is_loopback
from aios_lab.training.failures import root_cause
from aios_lab.training.leader.attempts import Attempts
from aios_lab.training.leader.chronicle import Chronicle
from aios_lab.training.leader.gang import KILL_GRACE
from aios_lab.training.leader.leases import Leases
from aios_lab.training.leader.placement import numbered, where
from aios_lab.training.leader.scaling import Scaling
from aios_lab.training.leader.teller import Teller
from aios_lab.training.leader.worlds import Act, Leave, Send, Start
from aios_lab.training.spec import End, Lead, RankSpec
from aios_lab.wire import RankUsage, RunMetric, RunState

log = logging.getLogger("aios_lab.training")

POLL = 0.25  # seconds between looks at deadlines
KERNEL_ENDED = "The kernel ended while this run was going on."
CUT_OFF = "the connection to the slice's scheduler was lost or closed"
# What ranks say that the record is to have.
_SAID = {
    "metrics",
    "log",
    "usage",
    "progress",
    "model",
    "resumed",
    "pausing",
    "saving",
    "checkpoint",
    "unsaved",
}


class Controller:
    """One run. ``post`` is how everything reaches it, on the scheduler's event loop."""

    def __init__(self, lead: Lead, client: Any, teller: Teller, host_of: Callable[[str], str]) -> None:
        """``host_of`` gives the host of a worker's address."""
        self.owner: str | None = lead.owner
        self._lead = lead
        self._teller = teller
        self._host_of = host_of
        self._inbox: asyncio.Queue[tuple[str, int, int, Any]] = asyncio.Queue()
        keeping = lead.specs[0].keeping
        scaling = Scaling(keeping.min_workers or 1, lead.most)
        self._attempts = Attempts(lead.workers, scaling, keeping.checkpoint_every is None, time.time)
        self._chronicle = Chronicle(teller.tell, keeping.checkpoint_keep)
        self._specs: dict[int, list[RankSpec]] = {0: list(lead.specs)}
        self._leases = Leases(lead.run_id, lead.work, client, self._lease_broken)
        self._ports: dict[int, int] = {}
        self._pids: dict[int, dict[int, int]] = {}
        self._shown = RunState.PENDING
        self._saving = False
        self._started = False
        self._why = ""  # the run is over for a reason that no rank knows

    @property
    def id(self) -> str:
        return self._lead.run_id

    @property
    def detached(self) -> bool:
        return self._lead.detached

    def post(self, kind: str, rank: int = -1, body: Any = None, attempt: int = -1) -> None:
        self._inbox.put_nowait((kind, attempt, rank, body))

    async def run(self) -> None:
        """Lead the run to its end; on return its ranks are gone and those who listen know."""
        try:
            self._chronicle.begin(0, self._specs[0], self._lead.workers)
            self._begin(0, self._lead.workers)
            while not self._attempts.over:
                await self._step()
        except Exception as error:  # whatever broke here, the kernel's wait() must end and say so
            log.exception("run %s", self.id)
            self._why = f"the run could not be led any further: {type(error).__name__}: {error}"
        await self._conclude()

    # --- what happens ------------------------------------------------------------------------------------

    async def _step(self) -> None:
        try:
            async with asyncio.timeout(POLL):
                event = await self._inbox.get()
        except TimeoutError:
            event = ("tick", -1, -1, None)
        self._carry_out(self._on_event(*event))
        self._carry_out(self._attempts.tick(time.monotonic()))
        self._show_state()

    def _on_event(self, kind: str, attempt: int, rank: int, body: Any) -> list[Act]:
        now, attempts = time.monotonic(), self._attempts
        if kind in _SAID:
            self._try_to_hear(kind, attempt, rank, body)
        match kind:
            case "pausing":
                attempts.on_pausing(attempt, now)
            case "ready":
                return self._ready(attempt, rank, body, now)
            case "saving" if rank == 0:
                return attempts.on_saving(attempt, body, now)
            case "held":
                return attempts.on_held(attempt, rank, body)
            case "resumable":
                if not attempts.resumable:
                    self._teller.tell(resumable=True, min_workers=self._lead.specs[0].keeping.min_workers)
                return attempts.on_resumable(body["most"], now)
            case "checkpoint":
                return attempts.on_saved(attempt, now)
            case "unsaved":
                return attempts.on_saved(attempt, now, good=False)
            case "going":
                if change := attempts.on_going(attempt):
                    self._chronicle.going(change, len(self._specs[attempt]), body)
            case "ended":
                return self._ended(attempt, End(**body), now)
            case "broken":
                return self._ended(attempt, body, now)
            case "worker":
                return attempts.on_worker(body, now)
            case "leaving":
                return attempts.on_leaving(body, now)
            case "lost":
                return self._worker_lost(body, now)
            case "left":
                return self._end_with_its_kernel(body, now)
            case "stop":
                return attempts.on_stop(now)
            case "kill":
                return attempts.on_kill(now)
            case "order":  # the record's; unlike a user's second stop, its echo of a first does not kill
                if body == "kill":
                    return attempts.on_kill(now)
                return [] if attempts.state is RunState.STOPPING else attempts.on_stop(now)
        return []

    def _try_to_hear(self, kind: str, attempt: int, rank: int, body: Any) -> None:
        """The user's own code can say anything here: what cannot be understood is not told."""
        try:
            self._hear(kind, attempt, rank, body)
        except Exception as error:
            log.warning("run %s: what rank %s says cannot be understood: %s", self.id, rank, error)

    def _hear(self, kind: str, attempt: int, rank: int, body: Any) -> None:
        """What ranks say, but those of a world that another has taken the place of: it may come late, from a
        worker that was given up. Ranks that get ready are only allowed to print."""
        newest = self._attempts.last.attempt
        if attempt < newest or (attempt > newest and kind != "log"):
            return
        match kind:
            case "metrics":
                self._chronicle.metrics(
                    [RunMetric(step=s, time=when, epoch=epoch, values=v) for s, when, epoch, v in body]
                )
            case "log":
                self._say(*(f"[rank {rank}] {line}" for line in body))
            case "usage":
                self._teller.tell(usage=[RankUsage(rank=rank, **body)])
            case "progress":
                self._teller.tell(**body)
            case "model":
                self._teller.tell(model=body)
            case "resumed":
                self._chronicle.resumed(body["step"])
            case "pausing":
                self._chronicle.still(body)
            case "unsaved":
                self._chronicle.moves()
            case "saving" if rank == 0:  # others tell their supervisors
                self._saving = body
                self._chronicle.saving(body)
            case "checkpoint":
                self._chronicle.checkpoint(body["step"], body["time"], body["bytes"])

    def _say(self, *lines: str) -> None:
        self._teller.tell(logs=list(lines))

    def _ready(self, attempt: int, rank: int, body: Any, now: float) -> list[Act]:
        if body["port"]:
            self._ports[attempt] = body["port"]
        self._pids.setdefault(attempt, {})[rank] = body["pid"]
        if self._attempts.world is not None and self._attempts.world.attempt == attempt:
            self._chronicle.ready(rank, body["pid"])
        return self._attempts.on_ready(attempt, rank, now)

    def _ended(self, attempt: int, end: End, now: float) -> list[Act]:
        world = self._attempts.world
        if world is not None and world.attempt == attempt:
            self._chronicle.end(end)
            if end.outcome not in ("ok", "stopped"):
                self._chronicle.still(end.time)
        return self._attempts.on_end(attempt, end, now)

    def _worker_lost(self, address: str, now: float) -> list[Act]:
        self._leases.forget(address)
        text = f"its worker {address} was lost (killed, out of memory, or its machine is gone)"
        world = self._attempts.world
        end = End(-1, address, "lost", time.time(), error=text)
        if world is not None and address in world.places:
            rank = world.places.index(address)
            end = replace(end, rank=rank, host=self._specs[world.attempt][rank].host)
            self._chronicle.end(end)
            self._chronicle.still(end.time)
        return self._attempts.on_lost(address, end, now)

    def _end_with_its_kernel(self, why: str, now: float) -> list[Act]:
        """Nobody waits for the ranks: they are killed, and the run has failed for this reason."""
        if self._attempts.over or self._why:
            return []
        self._why = why
        return self._attempts.on_kill(now)

    # --- what is done about it -----------------------------------------------------------------------------

    def _carry_out(self, acts: list[Act]) -> None:
        for act in acts:
            match act:
                case Start(attempt, places):
                    self._start(attempt, places)
                case Send(attempt, order, values, rank):
                    if order == "go":
                        values = self._go(attempt)
                    awaited = partial(self._attempts.awaits, attempt)
                    self._leases.deliver(self._places(attempt, rank), attempt, order, values, rank, awaited)
                case Leave(places):
                    self._leases.leave(self._leases.addresses - places)

    def _start(self, attempt: int, places: tuple[str, ...]) -> None:
        spots = numbered([(self._host_of(address), address) for address in places])
        first = self._lead.specs[0]
        specs = [
            replace(first, rank=rank, world_size=len(places), attempt=attempt, **where(spot))
            for rank, spot in enumerate(spots)
        ]
        self._specs[attempt] = specs
        self._begin(attempt, places)

    def _begin(self, attempt: int, places: tuple[str, ...]) -> None:
        ranks = list(zip(places, self._specs[attempt], strict=True))
        self._leases.begin(ranks, lambda: self._attempts.gathers(attempt))

    def _lease_broken(self, address: str, why: str) -> None:
        for world in (self._attempts.world, self._attempts.next):
            if world is not None and address in world.places:
                rank = world.places.index(address)
                end = End(rank, self._host_of(address), "failed", time.time(), error=why)
                self.post("broken", rank, end, world.attempt)

    def _go(self, attempt: int) -> dict[str, str]:
        if attempt:
            world = self._attempts.world
            assert world is not None
            self._chronicle.begin(attempt, self._specs[attempt], world.places)
        self._saving = False
        self._chronicle.go(self._pids.get(attempt, {}))
        if not self._started:
            self._started = True
            self._teller.tell(started=time.time())
        host = self._specs[attempt][0].host
        address = "127.0.0.1" if is_loopback(host) else host
        return {"MASTER_ADDR": address, "MASTER_PORT": str(self._ports[attempt])}

    def _places(self, attempt: int, rank: int | None) -> list[str]:
        for world in (
            self._attempts.world,
            self._attempts.next,
            self._attempts.last,
            *self._attempts.dropped,
        ):
            if world is not None and world.attempt == attempt:
                return [place for n, place in enumerate(world.places) if rank in (None, n)]
        return []

    def _show_state(self) -> None:
        state = self._attempts.state
        if state is not self._shown and not self._attempts.over:
            self._shown = state
            self._teller.tell(state=state)

    async def _conclude(self) -> None:
        world = self._attempts.last
        state = RunState.FAILED if self._why else self._attempts.state
        ends = [world.gang.ends[rank] for rank in sorted(world.gang.ends)]
        if self._why:
            hosts = [spec.host for spec in self._specs[world.attempt]]
            ends = [End(n, host, "lost", time.time(), error=self._why) for n, host in enumerate(hosts)]
        failure = root_cause(ends) if state is RunState.FAILED else None
        try:
            self._leases.leave(self._leases.addresses)
        except Exception as error:  # a closed client raises many kinds; the run has ended anyway
            log.info("run %s: its tasks were left to the scheduler: %s", self.id, error)
        await self._leases.finish(KILL_GRACE)
        self._drain()
        if self._saving:
            self._say("[rank 0] its model was not saved: the rank ended before that was done")
        why = self._why or (None if failure is None else str(failure))
        self._teller.tell(state=state, error=why, ended=time.time())
        await self._teller.finish([asdict(end) for end in ends])

    def _drain(self) -> None:
        """Take what came while the run was ending, such as the last lines of a killed rank."""
        while not self._inbox.empty():
            kind, attempt, rank, body = self._inbox.get_nowait()
            if kind in _SAID:
                self._try_to_hear(kind, attempt, rank, body)
