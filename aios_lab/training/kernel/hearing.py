"""The kernel's side of a run: hands it to the leader, hears how it goes, passes on what its user wants."""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import time
from typing import Any

from aios_lab.training.failures import root_cause
from aios_lab.training.kernel.reporter import Reporter
from aios_lab.training.kernel.run import Run
from aios_lab.training.leader import plugin as leader
from aios_lab.training.leader.bus import bus_of
from aios_lab.training.leader.controller import CUT_OFF, KERNEL_ENDED
from aios_lab.training.spec import ORDERS, End, Lead
from aios_lab.wire import RunState, RunUpdate

log = logging.getLogger("aios_lab.training")

POLL = 0.25  # seconds between looks at the client's connection
LEAVE_WAIT = 2.0  # seconds that a kernel which ends gives its runs to say so
MAY_GO_ON = "it was detached and may go on: aios.attach() finds it again"
LOST_AFTER = 5.0  # seconds without the scheduler until the run counts as lost


class Hearing(threading.Thread):
    """One run's thread in the kernel; everything reaches it through the run's inbox."""

    def __init__(self, run: Run, client: Any, lead: Lead, reporter: Reporter) -> None:
        super().__init__(name=f"aios-run-{lead.run_id}", daemon=True)
        self._run = run
        self._client = client
        self._lead = lead
        self._reporter = reporter
        self._reports = False  # whether the record is kept from here
        self._ends: list[End] | None = None  # how the ranks ended, once it is over
        self._apart_since: float | None = None
        self._line: Any = None  # the client's connection on which the run's leader is heard
        self._heard = 0  # the number of its last message

    def run(self) -> None:
        atexit.register(self._leave)
        try:
            self._hear()
        except Exception as error:  # whatever broke here, the kernel's wait() must end and say so
            self._give_up(f"the run could not be led: {type(error).__name__}: {error}")
        finally:
            bus_of(self._client).detach(self._lead.run_id)
            if self._reports:
                self._reporter.finish()
            atexit.unregister(self._leave)
        self._run.end(self._ends or [])

    def _leave(self) -> None:
        """The kernel ends, and next closes its clients: say why the run is over while it still can."""
        if self._lead.detached:
            return
        self._run.inbox.put(("order", {"order": "left", "body": KERNEL_ENDED}))
        self.join(LEAVE_WAIT)

    def _hear(self) -> None:
        run_id, inbox = self._lead.run_id, self._run.inbox
        self._line = self._client.scheduler_comm
        bus_of(self._client).attach(run_id, lambda message: inbox.put(("told", message)))
        if not self._client.run_on_scheduler(leader.lead, self._lead):
            self._reporter.start()
            self._reports = True
        while self._ends is None:
            try:
                kind, body = inbox.get(timeout=POLL)
            except queue.Empty:
                self._watch_connection()
                continue
            if kind == "order":
                self._pass_on(body)
            else:
                self._told(body)

    def _told(self, message: dict[str, Any]) -> None:
        """The leader says this, perhaps for the second time."""
        if message["number"] <= self._heard:
            return
        if message["number"] > self._heard + 1:
            self._run.live.say("Some of what this run told is missing here: the connection was cut.")
        self._heard = message["number"]
        if "update" in message:
            self._take(RunUpdate.model_validate(message["update"]))
        else:
            self._ends = [End(**end) for end in message["over"]]

    def _pass_on(self, order: dict[str, Any]) -> None:
        try:
            self._client.log_event(ORDERS, {"run": self._lead.run_id, **order})
        except Exception as error:  # a client that was cut raises many kinds, and is watched anyway
            log.info("run %s: an order did not reach its leader: %s", self._lead.run_id, error)

    def _take(self, update: RunUpdate) -> None:
        self._run.live.take(update)
        if self._reports:
            self._reporter.tell(**{name: getattr(update, name) for name in update.model_fields_set})

    def _watch_connection(self) -> None:
        if self._client.status == "running":
            self._apart_since = None
            if self._client.scheduler_comm is not self._line:
                self._hear_again()
            return
        self._apart_since = self._apart_since or time.monotonic()
        if time.monotonic() - self._apart_since > LOST_AFTER or self._client.status == "closed":
            self._give_up(f"{CUT_OFF}; {MAY_GO_ON}" if self._lead.detached else CUT_OFF)

    def _hear_again(self) -> None:
        """The connection was lost and is there again, but Dask does not subscribe again by itself."""
        line = self._client.scheduler_comm
        try:
            told, goes_on = self._client.run_on_scheduler(
                leader.hear_again, self._lead.run_id, self._client.id
            )
        except Exception as error:  # it was cut again, which raises many kinds, and is tried again
            log.info("run %s is not heard: %s", self._lead.run_id, error)
            return
        self._line = line
        for message in told:
            self._told(message)
        if not goes_on and self._ends is None:
            self._give_up(CUT_OFF)

    def _give_up(self, why: str) -> None:
        """Nobody will say how the run ended."""
        now = time.time()
        self._ends = [End(spec.rank, spec.host, "lost", now, error=why) for spec in self._lead.specs]
        self._take(RunUpdate(state=RunState.FAILED, error=str(root_cause(self._ends)), ended=now))
