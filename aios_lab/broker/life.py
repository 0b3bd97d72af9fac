"""What happens to slices: every step goes into the ledger, then to the engine, and back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, Literal

from aios_lab.allocation import Plan, Snapshot
from aios_lab.broker.acts import Act, acts_of
from aios_lab.broker.errors import Refused
from aios_lab.broker.ledger import Entry, Ledger
from aios_lab.broker.operations import Operations
from aios_lab.broker.slices import UNPINNED, Claim, Slice
from aios_lab.broker.views import fenced_words
from aios_lab.engines.base import Answer, Engine, EngineError
from aios_lab.wire import SliceState

log = logging.getLogger(__name__)

RETRY = 1.0
FINISH = 5.0  # seconds that what is under way may take before its slice is left to another broker
ASLEEP = {"wanted": False, "problem": "", "taken": "", "parked": False}
GONE = {"wanted": False, "gone": True, "parked": False}
Step = Callable[[Slice], Slice]
Changed = Callable[[str], None]


class Life:
    """The living slices, and the engine's work on them. After every step of one, ``moved`` hears what it was
    and what it is, and ``changed`` its id."""

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        moved: Callable[[Slice | None, Slice], None],
        changed: Changed,
        grace: float,
    ) -> None:
        """``grace``: seconds that workers which are to leave get for the tasks that they run."""
        self.slices: dict[str, Slice] = {}
        self.hear: Callable[[str, Mapping[str, Any], Answer], None] = lambda *_: None
        self._moved = moved
        self._engine = engine
        self._ledger = ledger
        self._changed = changed
        self._grace = grace
        self._operations = Operations(on_idle=changed)

    def get(self, slice_id: str) -> Slice:
        """Raises: Refused, 404 'no_slice'."""
        if slice_id not in self.slices:
            raise Refused(
                404,
                f"There is no slice {slice_id}.",
                "no_slice",
                "Its kernel may have ended; the panel and aios.slice() show the living ones.",
            )
        return self.slices[slice_id]

    def workers(self, slice_id: str) -> int:
        info = self._engine.info(slice_id)
        return info.workers if info else 0

    def put(self, kind: str, one: Slice, data: Mapping[str, Any] | None = None) -> None:
        """Make a step: into the ledger first, so that a failed write changes nothing. Raises: Refused."""
        self._put_all([Entry(kind, one, data or {})])

    def _put_all(self, entries: list[Entry]) -> None:
        self._ledger.write(entries, time.time())
        for one in (entry.slice for entry in entries if entry.slice is not None):
            self._moved(self.slices.get(one.id), one)
            if one.ended:
                self.slices.pop(one.id, None)
            else:
                self.slices[one.id] = one
            self._changed(one.id)

    def want(self, one: Slice, claim: Claim) -> None:
        """The claim, in this size, wants units from now on."""
        state = SliceState.REQUESTED if one.state == SliceState.FAILED and not one.held else one.state
        asked = one.asked if one.asks else time.time()
        changes = {"claim": claim, "wanted": True, "asked": asked, "problem": "", "cap": None, "orphaned": ""}
        if one.parked:
            changes |= {"parked": False, "taken": ""}
        self.put("requested", one.step(time.time(), state, **changes))

    def wake(self, slice_id: str) -> None:
        """Something happens in a slice; one that is parked asks for its units again."""
        one = self.slices.get(slice_id)
        if one is None or not one.parked:
            return
        try:
            self.put("woken", one.woken(time.time()))
        except Refused as refused:  # the next look at it wakes it
            log.warning("%s", refused.message)

    def release(self, one: Slice) -> None:
        if one.wanted or one.held or one.state == SliceState.FAILED:
            self._leave(one, "given_back", GONE if one.orphaned == "gone" else ASLEEP)

    def end(self, slice_id: str, why: str) -> None:
        """The owner is gone for good."""
        one = self.slices.get(slice_id)
        if one is not None and not one.gone and not self._goes_on(one, "gone", why):
            self._leave_anyway(one, "owner_ended", GONE, why)

    def crashed(self, slice_id: str, why: str) -> None:
        """The owner died and may come back: it finds its claim asleep."""
        one = self.slices.get(slice_id)
        if one is not None and (one.wanted or one.held) and not self._goes_on(one, "asleep", why):
            self._leave_anyway(one, "given_back", ASLEEP, why)

    def _goes_on(self, one: Slice, then: Literal["asleep", "gone"], why: str) -> bool:
        """Whether it has runs that go on without its owner, and so does it."""
        if one.detached:
            data = {"why": why}
            self._put_in_time(one.id, "orphaned", lambda one: one.without_owner(time.time(), then), data)
        return bool(one.detached)

    def _leave_anyway(self, one: Slice, kind: str, changes: Mapping[str, Any], why: str) -> None:
        """Give everything back; its processes end also where the ledger cannot be written for now."""
        slice_id = one.id
        try:
            self._leave(one, kind, changes, {"why": why})
        except Refused as refused:
            log.warning("%s", refused.message)

            def leave(one: Slice) -> Slice:
                return one.step(time.time(), SliceState.DRAINING, **UNPINNED, **changes)

            async def note_end() -> None:
                await self._note(slice_id, kind, leave, {"why": why})
                await self._close(slice_id)

            self._operations.overtake(slice_id, lambda: self._clear(slice_id), note_end)

    def _leave(
        self,
        one: Slice,
        kind: str,
        changes: Mapping[str, Any],
        data: dict[str, Any] | None = None,
        end: SliceState = SliceState.RELEASED,
    ) -> None:
        """Give everything back: through the engine when it has something of the slice. ``end`` is its state
        then if it is gone."""
        now, slice_id = time.time(), one.id
        if one.held or self._operations.busy(slice_id) or self._engine.info(slice_id) is not None:
            leaving = {"leaving": dict(one.units), **UNPINNED, **changes}
            self.put(kind, one.step(now, SliceState.DRAINING, **leaving), data)
            self._operations.overtake(
                slice_id, lambda: self._clear(slice_id), lambda: self._close(slice_id, end)
            )
        else:
            state = end if changes.get("gone") else SliceState.REQUESTED
            self.put(kind, one.emptied(now, state, **changes), data)

    def recycle(self, one: Slice) -> None:
        slice_id = one.id
        for run_id in one.pins.keys() - set(one.detached):
            self.unpin(slice_id, run_id)
        if self._engine.info(slice_id) is not None and not one.detached:
            turn = self._operations.turn(slice_id)
            self._operations.start(slice_id, lambda: self._restart(slice_id, turn))

    def unpin(self, slice_id: str, run_id: str) -> None:
        """The run is over also where the ledger cannot be written for now."""
        one = self.slices.get(slice_id)
        if one is None or run_id not in one.pins:
            return
        data = {"run": run_id}
        self._put_in_time(slice_id, "unpinned", lambda one: one.unpinned(time.time(), [run_id]), data)
        if one.orphaned and {*one.detached} <= {run_id}:
            kind, changes = ("owner_ended", GONE) if one.orphaned == "gone" else ("given_back", ASLEEP)
            self._leave_anyway(self.slices[slice_id], kind, changes, "Its last run has ended.")

    def _put_in_time(self, slice_id: str, kind: str, make: Step, data: Mapping[str, Any]) -> None:
        """Make a step; where the ledger cannot be written for now, later."""
        try:
            self.put(kind, make(self.slices[slice_id]), data)
        except Refused as refused:
            log.warning("%s", refused.message)
            self._operations.start(slice_id, lambda: self._note(slice_id, kind, make, data))

    def lost(self, slice_id: str, why: str) -> None:
        """The engine says that a slice is gone: it sleeps until its owner asks again."""
        one = self.slices.get(slice_id)
        if one is None or not one.wanted:
            return

        async def rest() -> None:
            await self._fail(slice_id, why, SliceState.REQUESTED, self._operations.turn(slice_id))

        self._operations.overtake(slice_id, lambda: self._clear(slice_id), rest)

    def workers_changed(self, slice_id: str, workers: int) -> None:
        if slice_id in self.slices:
            self._changed(slice_id)

    def computing(self, slice_id: str) -> None:
        """The engine says that tasks run or wait in a slice that was quiet."""
        self.wake(slice_id)

    def told(self, slice_id: str, message: Mapping[str, Any], answer: Answer) -> None:
        """The engine passes on what somebody on the slice says."""
        self.hear(slice_id, message, answer)

    def trouble(self, slice_id: str, what: str) -> None:
        """The engine says what went wrong in a slice that goes on: its owner reads it until the next request
        or release."""
        self._trouble("trouble", slice_id, what, {"what": what})

    def fenced(self, slice_id: str, workers: int, tasks: int) -> None:
        """The engine says that workers did not give way in time, and were ended with their tasks."""
        what = fenced_words(workers, tasks, self._grace)
        self._trouble("fenced", slice_id, what, {"workers": workers, "tasks": tasks})

    def _trouble(self, kind: str, slice_id: str, what: str, data: Mapping[str, Any]) -> None:
        one = self.slices.get(slice_id)
        if one is None or not one.wanted:
            return
        try:
            self.put(kind, one.step(time.time(), problem=what), data)
        except Refused as refused:
            log.warning("%s", refused.message)

    def take_over(self, slices: Iterable[Slice], entries: list[Entry]) -> None:
        """Slices that an earlier broker left are this one's, as ``entries`` say. Raises: Refused."""
        self.slices |= {one.id: one for one in slices}
        self._put_all(entries)

    def go_on(self, slice_id: str, before: Slice) -> None:
        """Order again what was ordered last; where it fails the slice is as ``before``."""
        turn = self._operations.turn(slice_id)
        self._operations.start(slice_id, partial(self._scale, slice_id, before, turn))

    def clear_away(self, slice_id: str) -> None:
        """End in the engine what nobody wants; the slice, where there is one, holds nothing then."""
        self._operations.start(slice_id, partial(self._close, slice_id))

    def expire(self, slice_id: str, why: str) -> None:
        """Nobody has reported for the slice. One that is gone is fine. Raises: Refused."""
        one = self.slices.get(slice_id)
        if one is not None and not one.gone and not self._goes_on(one, "gone", why):
            self._leave(one, "owner_ended", GONE, {"why": why}, SliceState.EXPIRED)

    def reconcile(self) -> None:
        """Nothing of a slice stays that nobody wants: a reaper for what every other way out missed."""
        for slice_id, one in self.slices.items():
            left_over = one.held or one.gone or self._engine.info(slice_id) is not None
            if left_over and not one.wanted and not self._operations.busy(slice_id):
                self._operations.start(slice_id, partial(self._close, slice_id))

    def acting(self, snapshot: Snapshot, plan: Plan) -> dict[str, Act]:
        """The parts of a plan that can begin now: a slice with an operation in flight has its turn later."""
        acts = acts_of(snapshot, plan)
        return {claim: act for claim, act in sorted(acts.items()) if not self._operations.busy(claim)}

    def carry_out(self, acts: Mapping[str, Act], plan: Entry) -> None:
        """Note the plan and what it changes in one write, then begin. Raises: Refused, nothing changed."""
        if not acts:
            return
        now = time.time()
        entries = [plan]
        for slice_id, act in acts.items():
            one = self.slices[slice_id]
            if act.more:
                entries.append(Entry("granted", one.grant(now, act.more)))
            elif act.told:
                parked = one.shrink(now, act.less, act.told, act.idle)
                entries.append(Entry("parked" if act.idle else "preempted", parked, {"by": [*act.by]}))
            else:
                entries.append(Entry("shrinking", one.shrink(now, act.less)))
        before = {slice_id: self.slices[slice_id] for slice_id in acts}
        self._put_all(entries)
        for slice_id, one in before.items():
            turn = self._operations.turn(slice_id)
            self._operations.start(slice_id, partial(self._scale, slice_id, one, turn, acts[slice_id].why))

    async def _scale(self, slice_id: str, before: Slice, turn: int, why: str = "") -> None:
        if self._obsolete(slice_id, turn):
            return
        one = self.slices[slice_id]
        try:
            await self._engine.scale(slice_id, one.unit, one.target, self._grace, why)
        except EngineError as error:
            await self._scale_failed(slice_id, before, str(error), turn)
            return
        except Exception as error:  # whatever is wrong with an engine, units must not stay held for ever
            log.exception("Scaling slice %s failed in a way that its engine did not foresee.", slice_id)
            await self._scale_failed(slice_id, before, f"The engine failed: {error!r}.", turn)
            return
        await self._note(slice_id, "settled", lambda one: one.settled(time.time()), turn=turn)

    async def _scale_failed(self, slice_id: str, before: Slice, why: str, turn: int) -> None:
        """A slice that only failed to grow goes on as it was; any other one has failed."""
        if self._obsolete(slice_id, turn):
            return
        if before.held and not self.slices[slice_id].leaving and self._engine.info(slice_id) is not None:

            def undone(one: Slice) -> Slice:
                now, held = time.time(), before.held
                return one.step(now, SliceState.ACTIVE, units=before.units, cap=held, problem=why)

            await self._note(slice_id, "not_grown", undone, {"why": why}, turn)
        else:
            await self._fail(slice_id, why, SliceState.FAILED, turn)

    async def _fail(self, slice_id: str, why: str, rest: SliceState, turn: int) -> None:
        """Fail, clear away what is left, then rest in a state from which the owner can ask again."""

        def failed(one: Slice) -> Slice:
            gone = one.gone or one.orphaned == "gone"
            changes = {"wanted": False, "gone": gone, "problem": why, "parked": False, **UNPINNED}
            return one.step(time.time(), SliceState.FAILED, **changes)

        def emptied(one: Slice) -> Slice:
            after = SliceState.RELEASED if one.gone else rest
            return one.emptied(time.time(), SliceState.REQUESTED if one.wanted else after)

        await self._note(slice_id, "failed", failed, {"why": why}, turn)
        await self._clear(slice_id)
        await self._note(slice_id, "emptied", emptied, turn=turn)

    async def _clear(self, slice_id: str) -> None:
        """End the slice in the engine, however often it takes: its units are held until then."""
        while True:
            try:
                return await self._engine.close(slice_id)
            except EngineError as error:
                log.warning("Slice %s does not end: %s", slice_id, error)
            except Exception:
                log.exception("Slice %s does not end, in a way that its engine did not foresee.", slice_id)
            await asyncio.sleep(RETRY)

    async def _close(self, slice_id: str, end: SliceState = SliceState.RELEASED) -> None:
        """End the slice and free its units; what an overtaken call opened meanwhile ends too. A slice whose
        owner is gone is in the state ``end`` then, any other asleep or waiting again."""
        turn = self._operations.turn(slice_id)
        await self._clear(slice_id)

        def emptied(one: Slice) -> Slice:
            return one.emptied(time.time(), end if one.gone else SliceState.REQUESTED)

        await self._note(slice_id, "emptied", emptied, turn=turn)

    async def _restart(self, slice_id: str, turn: int) -> None:
        if self._obsolete(slice_id, turn) or self._engine.info(slice_id) is None:
            return
        try:
            await self._engine.restart(slice_id)
        except EngineError as error:
            if not self._obsolete(slice_id, turn):
                await self._fail(slice_id, str(error), SliceState.REQUESTED, turn)

    def _obsolete(self, slice_id: str, turn: int | None) -> bool:
        """Whether the slice is gone, or something urgent overtook what began at this turn."""
        return slice_id not in self.slices or turn not in (None, self._operations.turn(slice_id))

    async def _note(
        self,
        slice_id: str,
        kind: str,
        make: Step,
        data: Mapping[str, Any] | None = None,
        turn: int | None = None,
    ) -> None:
        """Make a step that follows from what the engine did; where the ledger cannot be written, later."""
        while not self._obsolete(slice_id, turn):
            try:
                return self.put(kind, make(self.slices[slice_id]), data)
            except Refused as refused:
                log.warning("%s", refused.message)
                # A disk gives no sign when it has room again.
                await asyncio.sleep(RETRY)

    async def stop(self, leave: Collection[str] = ()) -> None:
        """End all slices and the engine; what is left in the ledger is ended, but the slices to ``leave``."""
        await self._operations.come_to_rest(leave, FINISH)
        await self._engine.stop(leave)
        await self._operations.cancel_all()
        ended = [one for one in self.slices.values() if one.id not in leave]
        try:
            self._put_all([*self._endings(ended)])
        except Refused as refused:
            # The next server on this ledger expires what is written there as living.
            log.warning("%s", refused.message)
        self.slices.clear()

    def _endings(self, slices: Iterable[Slice]) -> Iterable[Entry]:
        now, why = time.time(), {"why": "The server stopped."}
        for one in slices:
            draining = one.step(now, SliceState.DRAINING)
            yield Entry("owner_ended", draining, why)
            yield Entry("emptied", draining.emptied(now, SliceState.RELEASED))
