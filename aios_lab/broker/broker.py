"""The live state: claims come in, the core decides, the ledger notes it, the engine acts."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from aios_lab import wire
from aios_lab.allocation import Decider, Plan, Snapshot, validate
from aios_lab.broker import views
from aios_lab.broker.accounts import Accounts
from aios_lab.broker.claims import make_claim
from aios_lab.broker.errors import Refused
from aios_lab.broker.holds import Holds
from aios_lab.broker.idleness import Idleness, Windows
from aios_lab.broker.ledger import Entry, Ledger
from aios_lab.broker.life import Life
from aios_lab.broker.outlook import Outlook
from aios_lab.broker.quotas import Quotas
from aios_lab.broker.recovery import CLAIM_WITHIN, Recovery
from aios_lab.broker.slices import Owner, Slice
from aios_lab.broker.snapshot import Member, plan_record, take_snapshot
from aios_lab.broker.troubles import Troubles
from aios_lab.engines.base import GRACE, Engine, EngineError, Spares
from aios_lab.wire import ClaimRequest

log = logging.getLogger(__name__)

TICK = 2.0


class Broker:
    """One server's broker. All methods are called on the loop that ``start`` ran on.

    What changes a slice is in the ledger before anything acts on it; where the ledger cannot be written, the
    method raises Refused and nothing changed.
    """

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        quotas: Quotas,
        default_claim: ClaimRequest | None = None,
        windows: Windows | None = None,
        grace: float = GRACE,
    ) -> None:
        """``windows`` say when a slice lies idle and may be lent, ``grace`` how many seconds workers that are
        to leave get for their tasks."""
        self._idleness = Idleness(engine, windows or Windows())
        self._engine = engine
        self._ledger = ledger
        self._quotas = quotas
        self._default = default_claim or ClaimRequest(workers=1)
        self._tokens: dict[str, str] = {}
        self._reasons: dict[str, str] = {}
        self._callbacks: list[Callable[[str], None]] = []
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._troubles = Troubles()
        self._accounts = Accounts(ledger)
        self._decider = Decider(quotas.policy)
        self._life = Life(engine, ledger, self._accounts.moved, self._slice_changed, grace)
        self.recovery = Recovery(engine, ledger, self._life, self._accounts)
        self.holds = Holds(engine, self._life)
        self._outlook = Outlook(ledger, quotas, self._snapshot)

    async def start(self, claim_within: float = CLAIM_WITHIN) -> None:
        """Take the ledger and what an earlier broker left, start the engine and the loop.

        Args:
            claim_within: seconds that owners of what lives on have to ``reclaim`` it.

        Raises:
            Refused: 'ledger_in_use', 'ledger_unavailable', or what is wrong with the default claim.
            EngineError: the engine did not start.
        """
        async with AsyncExitStack() as undo:
            self._ledger.open()
            undo.callback(self._ledger.close)
            self._accounts.open(self._quotas.sharing)
            await self._engine.start(self._life)
            undo.push_async_callback(lambda: self._engine.stop(leave=self._engine.survivors()))
            await self.recovery.begin(claim_within)
            usual = make_claim(self._default, None, "", self._engine.inventory(), self._quotas)
            self._engine.expect(usual.unit, usual.max)
            undo.pop_all()
        loop = asyncio.get_running_loop()
        self._loop = loop.create_task(self._run(), name="aios broker")
        self._watch = loop.create_task(self._idleness.watch(lambda: self._life.slices), name="aios idleness")

    async def stop(self, leave: Collection[str] = ()) -> None:
        """End every slice; on return no process and no lease is left, but those of the slices to ``leave``:
        their owners live on, and the next broker on this ledger takes them over."""
        if self._loop is None:
            return
        self._loop.cancel()
        self._watch.cancel()
        await asyncio.wait([self._loop, self._watch])
        self._loop = None
        if not leave:
            self._troubles.guard("recovery", self.recovery.end)
        await self._life.stop(leave)
        self._troubles.guard("tick", lambda: self._accounts.beat(time.time()))
        self._tokens.clear()
        self._ledger.close()

    def file(self, request: ClaimRequest | None, owner: Owner, problem: str = "") -> str:
        """File an owner's claim and return its slice id. It sleeps until it is first used.

        A request that cannot be met does not keep a kernel from starting: the default claim stands in for it,
        and the slice's ``problem`` says why, after what the caller knows of already.

        Raises:
            Refused: 'ledger_unavailable'.
        """
        inventory = self._engine.inventory()
        claim = make_claim(self._default, None, owner.user, inventory, self._quotas)
        try:
            asked = request or ClaimRequest()
            if owner.project is not None and asked.project is None:
                asked = asked.model_copy(update={"project": owner.project})
            claim = make_claim(asked, claim, owner.user, inventory, self._quotas)
        except Refused as refused:
            problem = f"{problem} {refused.message} {refused.hint}".strip()
        slice_id = f"s-{secrets.token_hex(4)}"
        now = time.time()
        self._tokens[slice_id] = secrets.token_urlsafe(32)
        try:
            self._life.put("filed", Slice(slice_id, owner, claim, now, now, epoch=1, problem=problem))
        except Refused:
            del self._tokens[slice_id]
            raise
        return slice_id

    def request(self, slice_id: str, request: ClaimRequest) -> None:
        """Ask for another size; the claim is awake from now on.

        Raises:
            Refused: the slice is gone (404), or the request cannot be met (422).
        """
        one = self._life.get(slice_id)
        claim = make_claim(request, one.claim, one.owner.user, self._engine.inventory(), self._quotas)
        self._life.want(one, claim)
        self._reasons.pop(slice_id, None)  # it was about the old size
        self._wake.set()

    def activate(self, slice_id: str) -> None:
        """First use: the claim wants its units from now on. Does nothing when it is awake already."""
        one = self._life.get(slice_id)
        if not one.asks or one.cap is not None or one.orphaned:
            self._life.want(one, one.claim)
            self._wake.set()

    def executing(self, slice_id: str, busy: bool) -> None:
        """The slice's kernel begins to run something, or has done all of it. What was lent comes back."""
        self._idleness.kernel(slice_id, busy)
        one = self._life.slices.get(slice_id)
        if busy and one is not None and one.wanted and one.target < one.claim.max:
            self._life.wake(slice_id)
            self._wake.set()

    def release(self, slice_id: str) -> None:
        """Give all units back; the claim sleeps until its next use."""
        self._life.release(self._life.get(slice_id))

    def crashed(self, slice_id: str, why: str) -> None:
        """The owner's process died: it gives all back, and the claim sleeps until somebody uses it."""
        self._life.crashed(slice_id, why)

    def reclaim(self, slice_id: str, token: str) -> bool:
        """An owner that lived through a change of brokers says so, with the secret of its kernel: the slice
        is its own again. False for a slice that nobody knows: its owner files another claim.

        Raises:
            Refused: 'ledger_unavailable'.
        """
        if self.recovery.reclaim(slice_id):
            self._tokens[slice_id] = token
            self._wake.set()
        known = self._tokens.get(slice_id)
        return known is not None and hmac.compare_digest(known.encode(), token.encode())

    def end(self, slice_id: str, why: str) -> None:
        """The owner is gone. Unknown ids are fine: ends may come more than once."""
        self._tokens.pop(slice_id, None)
        self._life.end(slice_id, why)

    def recycle(self, slice_id: str) -> None:
        """The owner restarted: it keeps its slice, with clean workers and no runs."""
        self._life.recycle(self._life.get(slice_id))

    def living(self, slice_id: str) -> bool:
        return slice_id in self._life.slices

    def owner(self, slice_id: str) -> Owner:
        """Whose slice it is. Raises: Refused (404)."""
        return self._life.get(slice_id).owner

    def token(self, slice_id: str) -> str:
        """The secret of the slice's kernel. Raises: Refused (404)."""
        self._life.get(slice_id)
        return self._tokens[slice_id]

    async def connection(self, slice_id: str, wait: float = 0.0) -> wire.Connection | None:
        """How to reach the slice's scheduler, once its minimum of workers, and at least one, is up.

        Waits up to ``wait`` seconds; None when it is not ready then, or when it sleeps or has failed.

        Raises:
            Refused: the slice is gone (404).
        """
        await self._until(slice_id, lambda one: self._ready(slice_id) is not None or not one.wanted, wait)
        return self._ready(slice_id)

    async def decided(self, slice_id: str, wait: float) -> None:
        """Return once it is decided what the slice gets of what it asked for last, or after ``wait`` seconds.

        Raises:
            Refused: the slice is gone (404).
        """

        def decided(one: Slice) -> bool:
            return bool(one.problem) or one.target == one.claim.max or slice_id in self._reasons

        await self._until(slice_id, decided, wait)

    async def _until(self, slice_id: str, condition: Callable[[Slice], bool], wait: float) -> None:
        """Return once the slice is as it should be, or after ``wait`` seconds. Raises: Refused (404)."""
        changed = asyncio.Event()

        def note(which: str) -> None:
            if which == slice_id:
                changed.set()

        self.subscribe(note)
        try:
            async with asyncio.timeout(wait):
                while not condition(self._life.get(slice_id)):
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            return
        finally:
            self.unsubscribe(note)

    def _ready(self, slice_id: str) -> wire.Connection | None:
        one = self._life.get(slice_id)
        info = self._engine.info(slice_id) if one.wanted and one.target else None
        if info is None or info.workers < min(one.claim.min, one.target):
            return None
        return views.connection_view(info)

    async def dashboard(self, slice_id: str) -> Path:
        """The Unix socket of the slice's Dask dashboard. Raises: Refused (404; 409 'no_dashboard')."""
        self._life.get(slice_id)
        try:
            return await self._engine.dashboard(slice_id)
        except EngineError as error:
            hint = "Call aios.client() in its notebook, then load the page again."
            raise Refused(409, str(error), "no_dashboard", hint) from error

    def view(self, slice_id: str) -> wire.Slice:
        """The slice as its owner sees it. Raises: Refused (404)."""
        return self._view(self._life.get(slice_id), mine=True)

    def views(self, user: str | None, slice_id: str | None = None) -> list[wire.Slice]:
        """All slices, oldest first, as a user sees them, or as the kernel of one slice does.

        With neither, as the server itself does: nothing is left out, and nothing is ``mine``.
        """
        everyone = sorted(self._life.slices.values(), key=lambda one: (one.created, one.id))
        if user is None and slice_id is None:
            return [self._view(one, mine=True).model_copy(update={"mine": False}) for one in everyone]
        return [
            self._view(one, mine=one.id == slice_id if slice_id is not None else one.owner.user == user)
            for one in everyone
        ]

    def _view(self, one: Slice, mine: bool) -> wire.Slice:
        waits = self.recovery.waits_for(one.id)
        reason = views.WAITS_FOR_OWNER if waits else views.reason_of(one, self._reasons.get(one.id, ""))
        simulated = self._engine.inventory().simulated
        is_open = self._engine.info(one.id) is not None
        return views.slice_view(one, mine, self._life.workers(one.id), reason, simulated, is_open)

    def cluster(self) -> wire.Cluster:
        inventory, slices = self._engine.inventory(), list(self._life.slices.values())
        members = {(one.claim.project, one.owner.user) for one in slices}
        principals = self._quotas.principals(sorted(members))
        paths = (one.path for one in principals)
        recent = self._accounts.recent(paths, inventory.capacity, time.time())
        return views.cluster_view(inventory, self._quotas, slices, principals, recent)

    async def spares(self) -> Mapping[str, Spares]:
        """What the engine keeps ready, by kind."""
        return await self._engine.spares()

    async def forecast(self, slice_id: str) -> wire.Forecast:
        """When the slice gets what it waits for. Raises: Refused (404; 409 'ledger_unavailable')."""
        return await self._outlook.forecast(self._life.get(slice_id))

    async def what_if(self, slice_id: str, request: ClaimRequest) -> wire.WhatIf:
        """What would be if the slice asked for this; nothing is asked for.

        Raises:
            Refused: as ``request``; 409 'ledger_unavailable'.
        """
        one, living = self._life.get(slice_id), dict(self._life.slices)
        return await self._outlook.what_if(one, request, living, self._engine.inventory())

    def problems(self) -> list[wire.Problem]:
        """What an administrator should mend now: the quota file, the ledger's disk."""
        quotas = [self._quotas.problem.problem] if self._quotas.problem else []
        return quotas + self._troubles.problems

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call back with a slice's id whenever what is seen of it changed."""
        self._callbacks.append(callback)

    def unsubscribe(self, callback: Callable[[str], None]) -> None:
        self._callbacks.remove(callback)

    def _slice_changed(self, slice_id: str) -> None:
        self._wake.set()
        self._call_back(slice_id)

    def _call_back(self, slice_id: str) -> None:
        """Whoever listens must not keep a step from being made whole."""
        for callback in list(self._callbacks):
            try:
                callback(slice_id)
            except Exception:
                log.exception("A listener failed at a change of slice %s.", slice_id)

    async def _run(self) -> None:
        """Decide after every change; heartbeat and look at the quota file at every tick."""
        ticked = 0.0
        while True:
            try:
                async with asyncio.timeout(TICK):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if time.monotonic() - ticked >= TICK:
                ticked = time.monotonic()
                self._troubles.guard("tick", self._tick)
            self._troubles.guard("decision", self._decide)

    def _tick(self) -> None:
        self._accounts.beat(time.time())
        known = self._quotas.problem
        self._quotas.reload()
        if (problem := self._quotas.problem) is not None and problem is not known:
            log.warning("%s The last good one counts until it is mended.", problem.message)
        self._life.reconcile()
        self.recovery.passed(TICK)
        for one in list(self._life.slices.values()):
            if one.parked and not self._idleness.idle(one):
                self._life.wake(one.id)

    def _decide(self) -> None:
        policy, snapshot = self._quotas.policy, self._snapshot(time.time())
        if self._decider.policy != policy:
            self._decider = Decider(policy)
        plan = self._decider.decide(snapshot)
        validate(snapshot, plan)
        acting = self._life.acting(snapshot, plan)
        self._life.carry_out(acting, Entry("plan", data=plan_record(snapshot, policy, plan)))
        self._tell(plan)
        self._troubles.policy(policy, plan.note)

    def _snapshot(self, now: float, others: Iterable[Member] = ()) -> Snapshot:
        inventory, slices = self._engine.inventory(), self._life.slices.values()
        return take_snapshot(
            inventory, self._quotas, slices, self._accounts, self._idleness.idle, now, others
        )

    def _tell(self, plan: Plan) -> None:
        """Hand on the reasons that changed."""
        before, self._reasons = self._reasons, dict(plan.reasons)
        for slice_id in sorted({*before, *self._reasons}):
            if before.get(slice_id) != self._reasons.get(slice_id):
                self._call_back(slice_id)
