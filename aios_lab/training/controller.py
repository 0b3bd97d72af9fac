"""Leads one run from the kernel: places its ranks, feeds what happens to the gang, carries out its orders."""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from aios_lab.training import supervisor
from aios_lab.training.bus import bus_of
from aios_lab.training.environment import is_loopback
from aios_lab.training.failures import root_cause
from aios_lab.training.gang import Gang
from aios_lab.training.placement import Place, workers_of
from aios_lab.training.reporter import Reporter
from aios_lab.training.run import Run
from aios_lab.training.spec import End, OrderName, RankSpec
from aios_lab.wire import RunMetric, RunState

log = logging.getLogger("aios_lab.training")

POLL = 0.25  # seconds between looks at deadlines and at the client's connection
SCATTER_ABOVE = 1 << 20  # bytes of packed work that go to the workers apart from the task
RESULT_WAIT = 60.0  # seconds to fetch rank 0's return value
KERNEL_ENDED = "The kernel ended while this run was going on."
LEAVE_WAIT = 2.0  # seconds that a kernel which ends gives its runs to say so
CUT_OFF = "the connection to the slice's scheduler was lost or closed"
LOST_AFTER = 5.0  # seconds without the scheduler until the run counts as lost


class Controller(threading.Thread):
    """One run's thread in the kernel; every event reaches it through the run's inbox."""

    def __init__(
        self,
        run: Run,
        client: Any,
        places: list[Place],
        specs: list[RankSpec],
        work: bytes,
        reporter: Reporter,
    ) -> None:
        super().__init__(name=f"aios-run-{specs[0].run_id}", daemon=True)
        self._run = run
        self._client = client
        self._places = places
        self._specs = specs
        self._work = work
        self._reporter = reporter
        self._gang = Gang(len(specs))
        self._futures: list[Any] = []
        self._port = 0
        self._apart_since: float | None = None
        self._why = ""  # the run is over for a reason that no rank knows

    @property
    def _id(self) -> str:
        return self._specs[0].run_id

    def run(self) -> None:
        atexit.register(self._leave)
        try:
            self._run_to_its_end()
        finally:
            atexit.unregister(self._leave)

    def _leave(self) -> None:
        """The kernel ends, and next closes its clients: say why the run is over while it still can."""
        self._post(-1, "left", KERNEL_ENDED)
        self.join(LEAVE_WAIT)

    def _run_to_its_end(self) -> None:
        try:
            self._reporter.start()
            self._submit()
            self._lead()
        except Exception as error:  # whatever broke here, the kernel's wait() must end and say so
            self._broken(-1, f"the run could not be led any further: {type(error).__name__}: {error}")
        self._conclude()

    # --- what happens ------------------------------------------------------------------------------------

    def _submit(self) -> None:
        addresses = [place.address for place in self._places]
        bus_of(self._client).attach(self._client, self._id, self._post, addresses)
        living = workers_of(self._client)
        work: Any = self._work
        if len(self._work) > SCATTER_ABOVE:
            work = self._client.scatter(self._work, workers=addresses, broadcast=True, hash=False)
        for spec, place in zip(self._specs, self._places, strict=True):
            future = self._client.submit(
                supervisor.supervise,
                spec,
                work,
                key=f"aios-{self._id}-rank-{spec.rank}",
                workers=[place.address],
                allow_other_workers=False,
                pure=False,
                retries=0,
            )
            future.add_done_callback(self._when_done(spec.rank))
            self._futures.append(future)
            if place.address not in living:
                self._post(-1, "lost", place.address)

    def _when_done(self, rank: int) -> Callable[[Any], None]:
        def done(future: Any) -> None:
            if future.status == "error":
                self._post(rank, "broken", repr(future.exception()))
            elif future.status in ("cancelled", "lost"):
                self._post(rank, "broken", CUT_OFF)

        return done

    def _post(self, rank: int, kind: str, body: Any) -> None:
        self._run.inbox.put((kind, rank, body))

    def _lead(self) -> None:
        while not self._gang.over:
            try:
                kind, rank, body = self._run.inbox.get(timeout=POLL)
            except queue.Empty:
                kind, rank, body = "tick", -1, None
            self._carry_out(self._on_event(kind, rank, body))
            self._carry_out(self._gang.tick(time.monotonic()))
            self._watch_connection()
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
            case "progress":
                self._run.live.set(**body)
                self._reporter.tell(**body)
            case "model":
                self._run.live.set(has_model=True)
                self._reporter.tell(model=body)
            case "saving":
                return self._gang.on_saving(body, now)
            case "ended":
                return self._gang.on_end(End(**body), now)
            case "lost":
                return self._worker_lost(body, now)
            case "broken":
                return self._gang.on_end(self._end(rank, "failed", body), now)
            case "left":
                self._why = body
                self._broken(-1, body)
            case "stop":
                return self._gang.on_stop(now)
            case "kill":
                return self._gang.on_kill(now)
            case "order":  # the tracker's; unlike a user's second stop, its echo of a first does not kill
                stopping = self._gang.state is RunState.STOPPING
                return (
                    self._gang.on_kill(now) if body == "kill" else [] if stopping else self._gang.on_stop(now)
                )
        return []

    def _say(self, *lines: str) -> None:
        self._run.live.add_lines(lines)
        self._reporter.add([], list(lines))

    def _metrics(self, batch: list[tuple[int, float, int | None, dict[str, float]]]) -> None:
        metrics = [
            RunMetric(step=step, time=when, epoch=epoch, values=values) for step, when, epoch, values in batch
        ]
        self._run.live.add_metrics(metrics)
        self._reporter.add(metrics, [])

    def _worker_lost(self, address: str, now: float) -> list[OrderName]:
        orders: list[OrderName] = []
        for spec, place in zip(self._specs, self._places, strict=True):
            if place.address == address:
                text = f"its worker {address} was lost (killed, out of memory, or its machine is gone)"
                orders += self._gang.on_end(self._end(spec.rank, "lost", text), now)
        return orders

    def _watch_connection(self) -> None:
        if self._client.status == "running":
            self._apart_since = None
            return
        self._apart_since = self._apart_since or time.monotonic()
        if time.monotonic() - self._apart_since > LOST_AFTER or self._client.status == "closed":
            self._broken(-1, CUT_OFF)

    def _broken(self, rank: int, text: str) -> None:
        """End the whole run from here: nobody else will."""
        for spec in self._specs:
            if rank in (-1, spec.rank):
                self._gang.on_end(self._end(spec.rank, "lost", text), time.monotonic())

    def _end(self, rank: int, outcome: Any, error: str) -> End:
        return End(rank, self._specs[rank].host, outcome, time.time(), error=error)

    # --- what is done about it -----------------------------------------------------------------------------

    def _carry_out(self, orders: list[OrderName]) -> None:
        for order in orders:
            values = {}
            if order == "go":
                host = self._specs[0].host
                address = "127.0.0.1" if is_loopback(host) else host
                values = {"MASTER_ADDR": address, "MASTER_PORT": str(self._port)}
                now = time.time()
                self._run.live.set(started=now)
                self._reporter.tell(started=now)
            self._send(supervisor.deliver, self._id, order, values)

    def _send(self, function: Callable[..., Any], *args: Any) -> None:
        """Call ``function`` on the run's workers without waiting: one that hangs must not hold up others."""
        alive = {
            place.address
            for place, spec in zip(self._places, self._specs, strict=True)
            if not self._gone(spec)
        }

        def call(address: str) -> None:
            try:
                self._client.run(function, *args, workers=[address], on_error="ignore")
            except (
                OSError,
                ValueError,
                RuntimeError,
                KeyError,
            ):  # it has just gone
                return

        for address in sorted(alive):
            threading.Thread(target=call, args=(address,), daemon=True).start()

    def _gone(self, spec: RankSpec) -> bool:
        end = self._gang.ends.get(spec.rank)
        return end is not None and end.outcome == "lost"

    def _show_state(self) -> None:
        state = self._gang.state
        if state is not self._run.live.state and not self._gang.over:
            self._run.live.set(state=state)
            self._reporter.tell(state=state)

    def _conclude(self) -> None:
        state = self._gang.state
        failure = root_cause(list(self._gang.ends.values())) if state is RunState.FAILED else None
        packed, problem = self._fetch()
        self._let_go()
        self._drain()
        if self._gang.saving:
            self._say("[rank 0] its model was not saved: the rank ended before that was done")
        error = self._why or (None if failure is None else str(failure))
        now = time.time()
        self._run.live.set(state=state, ended=now, error=error)
        self._reporter.tell(state=state, error=error, ended=now)
        self._reporter.finish()
        self._run.end(packed, problem, failure)

    def _let_go(self) -> None:
        """Give the workers back. Supervisors whose task is cancelled end their rank by themselves."""
        bus_of(self._client).detach(self._id)
        try:
            for future in self._futures:
                future.cancel()
            self._send(supervisor.release, self._id)
        except Exception as error:  # a closed client raises many kinds; the run has ended anyway
            log.info("run %s: its tasks were left to the scheduler: %s", self._id, error)

    def _fetch(self) -> tuple[bytes | None, str]:
        """Rank 0's packed return value, or why there is none."""
        end = self._gang.ends[0]
        if not end.has_result:
            return None, end.error if end.outcome in ("ok", "stopped") else ""
        try:
            return self._futures[0].result(timeout=RESULT_WAIT), ""
        except Exception as error:  # Dask raises whatever the transfer raised
            return None, f"the result was lost on its way from {end.host}: {type(error).__name__}: {error}"

    def _drain(self) -> None:
        """Take what came while the run was ending, such as the last lines of a killed rank."""
        while True:
            try:
                kind, rank, body = self._run.inbox.get_nowait()
            except queue.Empty:
                return
            if kind in ("metrics", "log", "model", "progress", "saving"):
                self._on_event(kind, rank, body)
