"""Leads one run from the scheduler's process: places its ranks, feeds what happens to the gang, carries out
its orders."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from aios_lab.training import supervisor
from aios_lab.training.environment import is_loopback
from aios_lab.training.failures import root_cause
from aios_lab.training.gang import Gang
from aios_lab.training.spec import End, Lead, OrderName, RankSpec
from aios_lab.training.teller import Teller
from aios_lab.wire import RankUsage, RunMetric, RunState

log = logging.getLogger("aios_lab.training")

POLL = 0.25  # seconds between looks at deadlines
SCATTER_ABOVE = 1 << 20  # bytes of packed work that go to the workers apart from the task
KERNEL_ENDED = "The kernel ended while this run was going on."
CUT_OFF = "the connection to the slice's scheduler was lost or closed"
RESTARTED = "its task was cancelled: the workers were restarted, or the slice has ended"


class Controller:
    """One run. ``post`` is how everything reaches it, on the scheduler's event loop."""

    def __init__(self, lead: Lead, client: Any, teller: Teller) -> None:
        self.owner: str | None = lead.owner
        self._lead = lead
        self._client = client
        self._teller = teller
        self._inbox: asyncio.Queue[tuple[str, int, Any]] = asyncio.Queue()
        self._gang = Gang(len(lead.specs))
        self._futures: list[Any] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._port = 0
        self._shown = RunState.PENDING
        self._why = ""  # the run is over for a reason that no rank knows

    @property
    def id(self) -> str:
        return self._lead.run_id

    @property
    def detached(self) -> bool:
        return self._lead.detached

    def post(self, kind: str, rank: int = -1, body: Any = None) -> None:
        self._inbox.put_nowait((kind, rank, body))

    async def run(self) -> None:
        """Lead the run to its end; on return its ranks are gone and those who listen know."""
        try:
            await self._submit()
            while not self._gang.over:
                await self._step()
        except Exception as error:  # whatever broke here, the kernel's wait() must end and say so
            log.exception("run %s", self.id)
            self._broken(-1, f"the run could not be led any further: {type(error).__name__}: {error}")
        await self._conclude()

    # --- what happens ------------------------------------------------------------------------------------

    async def _submit(self) -> None:
        workers = list(self._lead.workers)
        work: Any = self._lead.work
        if len(work) > SCATTER_ABOVE:
            work = await self._client.scatter(work, workers=workers, broadcast=True, hash=False)
        for spec, address in zip(self._lead.specs, workers, strict=True):
            future = self._client.submit(
                supervisor.supervise,
                spec,
                work,
                key=f"aios-{self.id}-rank-{spec.rank}",
                workers=[address],
                allow_other_workers=False,
                pure=False,
                retries=0,
            )
            future.add_done_callback(self._when_done(spec.rank))
            self._futures.append(future)

    def _when_done(self, rank: int) -> Callable[[Any], None]:
        loop = asyncio.get_running_loop()

        def done(future: Any) -> None:  # in a thread of Dask's
            if future.status == "error":
                loop.call_soon_threadsafe(self.post, "broken", rank, repr(future.exception()))
            elif future.status in ("cancelled", "lost"):
                loop.call_soon_threadsafe(self.post, "broken", rank, RESTARTED)

        return done

    async def _step(self) -> None:
        try:
            async with asyncio.timeout(POLL):
                event = await self._inbox.get()
        except TimeoutError:
            event = ("tick", -1, None)
        self._carry_out(self._on_event(*event))
        self._carry_out(self._gang.tick(time.monotonic()))
        self._show_state()

    def _on_event(self, kind: str, rank: int, body: Any) -> list[OrderName]:
        now = time.monotonic()
        match kind:
            case "ready":
                self._port = body["port"] or self._port
                return self._gang.on_ready(rank)
            case "metrics":
                self._metrics(body)
            case "log":
                self._say(*(f"[rank {rank}] {line}" for line in body))
            case "usage":
                self._teller.tell(usage=[RankUsage(rank=rank, **body)])
            case "progress":
                self._teller.tell(**body)
            case "model":
                self._teller.tell(model=body)
            case "saving":
                return self._gang.on_saving(body, now)
            case "ended":
                return self._gang.on_end(End(**body), now)
            case "lost":
                return self._worker_lost(body, now)
            case "broken":
                return self._gang.on_end(self._end(rank, "failed", body), now)
            case "left":
                return self._end_with_its_kernel(body, now)
            case "stop":
                return self._gang.on_stop(now)
            case "kill":
                return self._gang.on_kill(now)
            case "order":  # the record's; unlike a user's second stop, its echo of a first does not kill
                stopping = self._gang.state is RunState.STOPPING
                return (
                    self._gang.on_kill(now) if body == "kill" else [] if stopping else self._gang.on_stop(now)
                )
        return []

    def _say(self, *lines: str) -> None:
        self._teller.tell(logs=list(lines))

    def _metrics(self, batch: list[tuple[int, float, int | None, dict[str, float]]]) -> None:
        metrics = [
            RunMetric(step=step, time=when, epoch=epoch, values=values) for step, when, epoch, values in batch
        ]
        self._teller.tell(metrics=metrics)

    def _worker_lost(self, address: str, now: float) -> list[OrderName]:
        orders: list[OrderName] = []
        for spec, place in zip(self._lead.specs, self._lead.workers, strict=True):
            if place == address:
                text = f"its worker {address} was lost (killed, out of memory, or its machine is gone)"
                orders += self._gang.on_end(self._end(spec.rank, "lost", text), now)
        return orders

    def _end_with_its_kernel(self, why: str, now: float) -> list[OrderName]:
        """Nobody waits for the ranks: they are killed, and the run has failed for this reason."""
        if self._gang.over or self._why:
            return []
        self._why = why
        return self._gang.on_kill(now)

    def _broken(self, rank: int, text: str) -> None:
        """End the whole run from here: nobody else will."""
        for spec in self._lead.specs:
            if rank in (-1, spec.rank):
                self._gang.on_end(self._end(spec.rank, "lost", text), time.monotonic())

    def _end(self, rank: int, outcome: Any, error: str) -> End:
        return End(rank, self._lead.specs[rank].host, outcome, time.time(), error=error)

    # --- what is done about it -----------------------------------------------------------------------------

    def _carry_out(self, orders: list[OrderName]) -> None:
        for order in orders:
            values = {}
            if order == "go":
                host = self._lead.specs[0].host
                address = "127.0.0.1" if is_loopback(host) else host
                values = {"MASTER_ADDR": address, "MASTER_PORT": str(self._port)}
                self._teller.tell(started=time.time())
            self._send(supervisor.deliver, self.id, order, values)

    def _send(self, function: Callable[..., Any], *args: Any) -> None:
        """Call ``function`` on the run's workers without waiting: one that hangs must not hold up others."""
        alive = {
            address
            for address, spec in zip(self._lead.workers, self._lead.specs, strict=True)
            if not self._gone(spec)
        }

        async def call(address: str) -> None:
            try:
                await self._client.run(function, *args, workers=[address], on_error="ignore")
            except (OSError, ValueError, RuntimeError, KeyError):  # it has just gone
                return

        for address in sorted(alive):
            task = asyncio.create_task(call(address))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    def _gone(self, spec: RankSpec) -> bool:
        end = self._gang.ends.get(spec.rank)
        return end is not None and end.outcome == "lost"

    def _show_state(self) -> None:
        state = self._gang.state
        if state is not self._shown and not self._gang.over:
            self._shown = state
            self._teller.tell(state=state)

    async def _conclude(self) -> None:
        state = RunState.FAILED if self._why else self._gang.state
        ends = [self._gang.ends[rank] for rank in sorted(self._gang.ends)]
        if self._why:
            ends = [self._end(end.rank, "lost", self._why) for end in ends]
        failure = root_cause(ends) if state is RunState.FAILED else None
        await self._let_go()
        self._drain()
        if self._gang.saving:
            self._say("[rank 0] its model was not saved: the rank ended before that was done")
        error = self._why or (None if failure is None else str(failure))
        self._teller.tell(state=state, error=error, ended=time.time())
        await self._teller.finish([asdict(end) for end in ends])

    async def _let_go(self) -> None:
        """Give the workers back. Supervisors whose task is cancelled end their rank by themselves."""
        try:
            if self._futures:
                await self._client.cancel(self._futures)
            self._send(supervisor.release, self.id)
        except Exception as error:  # a closed client raises many kinds; the run has ended anyway
            log.info("run %s: its tasks were left to the scheduler: %s", self.id, error)

    def _drain(self) -> None:
        """Take what came while the run was ending, such as the last lines of a killed rank."""
        while not self._inbox.empty():
            kind, rank, body = self._inbox.get_nowait()
            if kind in ("metrics", "log", "model", "progress", "saving"):
                self._on_event(kind, rank, body)
