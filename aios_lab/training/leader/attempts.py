"""A run over all its attempts, as a pure state machine: what happened goes in, what is to be done comes out.

Each attempt is a world of ranks. A planned change begins with the next world: once all of it is ready, the
present one is held, settles on a step, saves and ends there, and the next one goes. After a crash
what is left of the world is killed, and the next one goes on from the newest checkpoint with the workers that
there are; with too few of them the run waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from aios_lab.training.leader.gang import Gang, Phase
from aios_lab.training.leader.holds import Holds
from aios_lab.training.leader.retries import Retries, is_crash
from aios_lab.training.leader.scaling import GROW_AFTER, Scaling
from aios_lab.training.leader.worlds import Act, Change, Leave, Send, Start, World
from aios_lab.training.spec import End, OrderName
from aios_lab.wire import RunState

READY_WITHIN = 30.0  # seconds that a world has to get ready; twice as long after each that had not, thrice
LATEST_PLAN = 60.0  # seconds after which a world that could not be made is tried again, at most
NEVER_READY = "it did not get ready in time"


class Attempts:
    """The run. Methods return what to do now; times are monotonic seconds, those of ends are ``clock``'s."""

    def __init__(
        self,
        places: tuple[str, ...],
        scaling: Scaling,
        by_clock: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``by_clock``: save every ``SAVE_EVERY`` seconds. ``clock``: seconds since the epoch."""
        self.scaling = scaling
        self.retries = Retries()
        self.holds = Holds(by_clock)
        self.workers: set[str] = set(places)
        self.leaving: set[str] = set()
        self.resumable = False
        self.change: Change | None = None
        self._clock = clock
        self.world: World | None = World(0, places, Gang(len(places), clock), gone=True)
        self.next: World | None = None
        self.last: World = self.world  # the newest whose ranks have gone
        self.dropped: list[World] = []  # that were never to go
        self._attempt = 0
        self._plan_at: float | None = None
        self._announced = False  # the present world lost a worker that was to leave
        self._unmade = 0  # worlds in a row that never got ready
        self._wanted_end = False  # somebody said stop, or kill
        self._ended: RunState | None = None

    @property
    def over(self) -> bool:
        return self._ended is not None

    @property
    def state(self) -> RunState:
        """As people see it."""
        if self._ended is not None:
            return self._ended
        if self.world is None and self.next is None:
            return RunState.WAITING
        if self.world is not None and self.world.gang.phase is Phase.STOPPING:
            return RunState.STOPPING
        if self.change is not None and self.change.since is not None:
            return RunState.RESIZING if self.change.planned else RunState.RECOVERING
        return RunState.PENDING if self.world is None else self.world.gang.state

    @property
    def training(self) -> bool:
        """Whether ranks train, or are about to for the first time."""
        return self.world is not None

    def gathers(self, attempt: int) -> bool:
        """Whether ranks of this attempt are still to come up."""
        world = None if self.over else self._world(attempt)
        return world is not None and world.gang.phase is Phase.GATHERING

    def awaits(self, attempt: int, address: str) -> bool:
        """Whether a rank of this attempt is still to end there."""
        world = None if self.over else self._world(attempt)
        if world is None or address not in world.places:
            return False
        return world.places.index(address) not in world.gang.ends

    @property
    def ends(self) -> dict[int, End]:
        """How the ranks of the last world ended."""
        return self.last.gang.ends

    # --- what happens to the ranks ----------------------------------------------------------------

    def on_ready(self, attempt: int, rank: int, now: float) -> list[Act]:
        world = self._world(attempt)
        if world is None:
            return []
        orders = world.gang.on_ready(rank)
        if world is self.next and orders:
            return self._let_go(now) if self.world is None else self._pause(now)
        return self._sent(world, orders)

    def on_end(self, attempt: int, end: End, now: float) -> list[Act]:
        world = self._world(attempt)
        if world is None:
            return []
        if world is self.next:
            return self._unready(world, end, now)
        orders = world.gang.on_end(end, now)
        if end.outcome == "paused" and self.holds.present is not None:
            self.holds.present.paused = self.holds.present.paused or now
        if self.resumable and is_crash(end) and not world.gang.over and world.gang.phase is Phase.FAILING:
            orders = orders or world.gang.give_up(now)
        acts = self._sent(world, orders)
        return acts + self._after(now) if world.gang.over else acts

    def on_saving(self, attempt: int, saving: bool, now: float) -> list[Act]:
        """Rank 0 began, or ended, to save its model: a stop waits for that."""
        world = self._world(attempt)
        return [] if world is None else self._sent(world, world.gang.on_saving(saving, now))

    def on_held(self, attempt: int, rank: int, number: int) -> list[Act]:
        present = self.world is not None and self.world.attempt == attempt
        return self.holds.on_held(self.last, rank, number) if present else []

    def on_going(self, attempt: int) -> Change | None:
        """The world trains; the change that led to it, which is over."""
        if self.world is None or self.world.attempt != attempt:
            return None
        change, self.change = self.change, None
        return change

    def on_pausing(self, attempt: int, now: float) -> None:
        """The world stands still to save what the next one begins with."""
        if self.world is not None and self.world.attempt == attempt and self.change is not None:
            self.change.since = self.change.since or now

    def on_saved(self, attempt: int, now: float, good: bool = True) -> list[Act]:
        """A checkpoint stands, or could not be written."""
        if self.world is None or self.world.attempt != attempt:
            return []
        if good:
            self.retries.progress()
        if self.holds.on_saved(now):
            return self._pause(now)
        return [] if good or not self.holds.pausing else self._go_on(now)

    def on_resumable(self, most: int | None, now: float) -> list[Act]:
        """The function keeps what it needs to go on; ``most`` is its global batch, and so of its ranks."""
        if most is not None and (self.scaling.most is None or most < self.scaling.most):
            self.scaling = Scaling(self.scaling.least, most)
        if not self.resumable:
            self.resumable, self._plan_at = True, now + GROW_AFTER
            self.holds.on_saved(now)
        return []

    # --- what happens to the workers --------------------------------------------------------------

    def on_worker(self, address: str, now: float) -> list[Act]:
        """A worker is there."""
        self.workers.add(address)
        self.leaving.discard(address)
        self._plan_at = self._plan_at or now + GROW_AFTER
        return []

    def on_leaving(self, addresses: Collection[str], now: float) -> list[Act]:
        """These workers will be gone soon; nobody starts there any more."""
        self.leaving |= {*addresses} & self.workers
        self.holds.give_way(now)
        if self.next is not None and {*self.next.places} & self.leaving:
            return self._drop_next(now)
        return self._plan(now)

    def on_lost(self, address: str, end: End, now: float) -> list[Act]:
        """A worker is gone; ``end`` is that of a rank there, whose number is filled in."""
        announced = address in self.leaving
        self.workers.discard(address)
        self.leaving.discard(address)
        acts: list[Act] = []
        if self.next is not None and address in self.next.places:
            acts += self._drop_next(now)
        if (world := self.world) is not None and address in world.places:
            rank = world.places.index(address)
            self._announced = announced
            acts += self.on_end(world.attempt, End(rank, end.host, "lost", end.time, error=end.error), now)
        return acts

    # --- what people want -------------------------------------------------------------------------

    def on_stop(self, now: float) -> list[Act]:
        """The first stop lets ranks end by themselves; the next kills."""
        acts = self._kill_next()
        self._wanted_end = True
        if self.world is None:
            self._ended = self._ended or RunState.STOPPED
            return acts
        return acts + self._sent(self.world, self.world.gang.on_stop(now))

    def on_kill(self, now: float) -> list[Act]:
        acts = self._kill_next()
        self._wanted_end = True
        if self.world is None:
            self._ended = self._ended or RunState.STOPPED
            return acts
        return acts + self._sent(self.world, self.world.gang.on_kill(now))

    def tick(self, now: float) -> list[Act]:
        """What is due."""
        acts: list[Act] = []
        world, hold = self.world, self.holds.present
        if world is not None:
            acts += self._sent(world, world.gang.tick(now))
            if world.gang.over:
                return acts + self._after(now)
            if hold is not None and hold.hangs(now):
                acts += self._sent(world, world.gang.give_up(now))
        if self.holds.give_up_save(now):
            acts += self._pause(now)
        if self.next is not None and now > self.next.due and self.holds.present is None:
            acts += self._late(self.next, now)
        if self._plan_at is not None and now >= self._plan_at:
            self._plan_at = None
            acts += self._plan(now)
        return acts + self._save_if_due(now)

    # --- from world to world ----------------------------------------------------------------------

    def _plan(self, now: float) -> list[Act]:
        """Begin the next world, where the run should have another size or other places."""
        if self.over or self.next is not None or not self.resumable or self._ending:
            return []
        changing = self.world is not None and self.change is not None
        if self.holds.present is not None or changing:  # one thing at a time
            self._plan_at = now
            return []
        there = () if self.world is None else self.world.places
        wanted = self.scaling.wanted(there, self.workers - self.leaving)
        if wanted is None and self.world is not None and {*there} & self.leaving:
            self.change = Change("Workers were taken away.", len(there), planned=True)
            return self.holds.begin(self.last, "pause", now)
        if wanted is None or {*wanted} == {*there}:
            return []
        if self.change is None:
            grows = len(wanted) > len(there)
            why = (
                "Workers came."
                if grows
                else "Workers leave."
                if len(wanted) < len(there)
                else "Workers change."
            )
            self.change = Change(why, len(self.last.places), planned=True)
        return self._begin(wanted, now)

    def _begin(self, places: tuple[str, ...], now: float) -> list[Act]:
        self._attempt += 1
        due = now + READY_WITHIN * 2 ** min(self._unmade, 3)
        self.next = World(self._attempt, places, Gang(len(places), self._clock), due=due)
        return [Start(self._attempt, places)]

    def _pause(self, now: float) -> list[Act]:
        """All of the next world are ready: have the present one save and end."""
        ready = self.next is not None and len(self.next.gang.ready) == len(self.next.places)
        if not ready or self.world is None or self.holds.present is not None or self._ending:
            return []
        return self.holds.begin(self.world, "pause", now)

    def _let_go(self, now: float) -> list[Act]:
        """The next world is the present one, and goes where all of it is ready."""
        assert self.next is not None
        if len(self.next.gang.ready) < len(self.next.places):
            return []
        self.world = self.last = self.next
        self.next, self._unmade = None, 0
        self.world.gone = True
        self.holds.end()
        self.holds.on_saved(now)
        self._plan_at = self._plan_at or now + GROW_AFTER  # what came meanwhile
        return [Send(self.world.attempt, "go"), Leave(frozenset(self.world.places))]

    def _after(self, now: float) -> list[Act]:
        """The present world has ended."""
        assert self.world is not None
        gang, announced, self._announced = self.world.gang, self._announced, False
        self.holds.end()
        if gang.phase is Phase.STOPPING or not self.resumable:
            return self._conclude(gang.state)
        if not self.retries.goes_on(gang.ends.values(), announced):
            return self._conclude(gang.state)
        if self._wanted_end:  # it failed just then, and would have been begun anew
            return self._conclude(RunState.STOPPED)
        crashed = any(end.outcome != "paused" for end in gang.ends.values())
        if crashed:
            why = "Workers were taken away." if announced else "A rank was lost."
            since = None if self.change is None else self.change.since
            self.change = Change(why, len(self.world.places), planned=False, since=since or now)
        self.world = None
        if self.next is not None:
            return self._let_go(now)
        wanted = self.scaling.wanted((), self.workers - self.leaving)
        return [Leave(frozenset())] if wanted is None else self._begin(wanted, now)

    def _conclude(self, state: RunState) -> list[Act]:
        acts = self._kill_next()
        self._ended = state
        return acts

    def _unready(self, world: World, end: End, now: float) -> list[Act]:
        """A rank ended before its world could go: a run can do without a change, not without a world."""
        if self.world is None and not self.retries.goes_on([end], announced=False):
            self.last = world
            world.gang.ends[end.rank] = end
            return self._conclude(RunState.FAILED)
        return self._try_again(now)

    def _late(self, world: World, now: float) -> list[Act]:
        """It does not get ready in time: as if a rank that is not had crashed."""
        if len(world.gang.ready) == len(world.places):  # the present one is about to save
            return []
        rank = min({*range(len(world.places))} - world.gang.ready)
        end = End(rank, world.places[rank], "failed", self._clock(), error=NEVER_READY)
        return self._unready(world, end, now)

    def _go_on(self, now: float) -> list[Act]:
        """The checkpoint that the next world was to begin with does not stand: the present one goes on."""
        self.holds.end()
        return self._try_again(now)

    def _try_again(self, now: float) -> list[Act]:
        """Another change takes this one's place, later each time."""
        self._unmade += 1
        acts = [*self._kill_next(), Leave(frozenset())] if self.world is None else self._drop_next(now)
        self._plan_at = now + min(LATEST_PLAN, GROW_AFTER * 2**self._unmade)
        return acts

    def _drop_next(self, now: float) -> list[Act]:
        """A world that was being prepared cannot be: another takes its place."""
        acts = self._kill_next()
        hold = self.holds.present
        if hold is not None and hold.why == "pause" and self.world is not None:
            return acts  # the pause goes on, and what follows it is planned then
        if self.world is not None:
            self.change, self._plan_at = None, now + GROW_AFTER
            return acts
        wanted = self.scaling.wanted((), self.workers - self.leaving)
        return [*acts, Leave(frozenset())] if wanted is None else acts + self._begin(wanted, now)

    def _kill_next(self) -> list[Act]:
        dropped, self.next = self.next, None
        if dropped is None:
            return []
        self.dropped = [dropped]
        return [Send(dropped.attempt, "kill")]

    def _save_if_due(self, now: float) -> list[Act]:
        """Also while the next world, which may take long, gets ready."""
        if self.world is None or not self.resumable or self._ending or not self.holds.save_due(now):
            return []
        return self.holds.begin(self.world, "save", now)

    @property
    def _ending(self) -> bool:
        """Whether the present world stops, fails, or has ranks that are done."""
        gang = None if self.world is None else self.world.gang
        return gang is not None and (gang.phase is not Phase.RUNNING or bool(gang.ends))

    def _world(self, attempt: int) -> World | None:
        """What is said by ranks of other attempts is stale."""
        for world in (self.world, self.next):
            if world is not None and world.attempt == attempt:
                return world
        return None

    @staticmethod
    def _sent(world: World, orders: list[OrderName]) -> list[Act]:
        return [Send(world.attempt, order) for order in orders]
