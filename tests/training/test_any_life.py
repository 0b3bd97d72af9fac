"""The state machine of a run over its attempts, through any sequence of what may happen to it."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from aios_lab.training.leader.attempts import Attempts
from aios_lab.training.leader.retries import CRASHES
from aios_lab.training.leader.scaling import Scaling
from aios_lab.training.leader.worlds import Act, Send, Start
from aios_lab.training.spec import Outcome
from aios_lab.wire import RunState
from training.test_attempts import A, B, end


class AnyLife(RuleBasedStateMachine):
    """Ranks that do as they are told, most of them, on workers that come, leave and die at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.count = 2
        self.run = Attempts((A, B), Scaling(1), by_clock=True)
        self.alive: dict[tuple[int, int], str] = {(0, 0): A, (0, 1): B}  # ranks, and where they are
        self.there = {A, B}
        self.going = {0}
        self.how = "at once"
        self.late: list[tuple[int, int]] = []  # ranks that are to get ready
        self.deaf = self.ended = self.broken = self.silent = False
        self.do(self.run.on_ready(0, 0, 0) + self.run.on_ready(0, 1, 0))
        self.run.on_resumable(None, 0)

    def do(self, acts: list[Act]) -> None:
        for act in acts:
            if isinstance(act, Start):
                assert {*act.places} <= self.there - self.run.leaving
                assert not self.run.over
                ranks = [(act.attempt, rank) for rank in range(len(act.places))]
                self.alive |= zip(ranks, act.places, strict=True)
                self.late += ranks if self.how == "late" else []
                for attempt, rank in ranks if self.how == "at once" else []:
                    self.do(self.run.on_ready(attempt, rank, self.now))
            elif isinstance(act, Send):
                self.obey(act)

    def obey(self, act: Send) -> None:
        ranks = [rank for attempt, rank in self.alive if attempt == act.attempt]
        match act.order:
            case "go":
                self.going.add(act.attempt)
                training = {attempt for attempt, _ in self.alive} & self.going
                assert training == {act.attempt}, "two worlds train at once"
                self.run.on_going(act.attempt)
            case "kill":
                self.end(act.attempt, ranks, "killed")
            case "stop" if not self.deaf:
                self.end(act.attempt, ranks, "stopped")
            case "hold" if act.values["why"] == "save" and self.silent:
                pass
            case "hold":
                for rank in ranks:
                    self.do(self.run.on_held(act.attempt, rank, act.values["number"]))
            case "settle" if act.values["why"] == "save":
                self.do(self.run.on_saved(act.attempt, self.now))
            case "settle" if self.broken:
                self.do(self.run.on_saved(act.attempt, self.now, good=False))
            case "settle":
                self.end(act.attempt, ranks, "paused")

    def end(self, attempt: int, ranks: list[int], outcome: Outcome) -> None:
        for rank in ranks:
            if self.alive.pop((attempt, rank), None):
                self.do(self.run.on_end(attempt, end(rank, outcome), self.now))

    @rule(how=st.sampled_from(["at once", "late", "never"]))
    def worlds_get_ready(self, how: str) -> None:
        self.how = how

    @precondition(lambda self: self.late)
    @rule()
    def one_more_is_ready(self) -> None:
        attempt, rank = self.late.pop(0)
        if (attempt, rank) in self.alive:
            self.do(self.run.on_ready(attempt, rank, self.now))

    @precondition(lambda self: self.run.next is not None)
    @rule()
    def a_rank_of_the_next_world_crashes(self) -> None:
        assert self.run.next is not None
        alone, attempt = self.run.world is None, self.run.next.attempt
        rank = min(rank for other, rank in self.alive if other == attempt)
        del self.alive[attempt, rank]
        self.do(self.run.on_end(attempt, end(rank, "failed", code=-9), self.now))
        assert self.run.next is None or not alone, "it is begun again without a pause"

    @rule(silent=st.booleans())
    def ranks_hear_of_no_save(self, silent: bool) -> None:
        self.silent = silent

    @rule(broken=st.booleans())
    def the_disk_is_full(self, broken: bool) -> None:
        self.broken = broken

    @rule()
    def a_worker_comes(self) -> None:
        self.count += 1
        address = f"tcp://h:{self.count}"
        self.there.add(address)
        self.do(self.run.on_worker(address, self.now))

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def some_leave(self, data: st.DataObject) -> None:
        which = data.draw(st.sets(st.sampled_from(sorted(self.there)), min_size=1))
        self.do(self.run.on_leaving(which, self.now))

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def one_dies(self, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from(sorted(self.there)))
        self.there.discard(address)
        self.alive = {key: place for key, place in self.alive.items() if place != address}
        self.do(self.run.on_lost(address, end(-1, "lost"), self.now))

    @rule(seconds=st.floats(0.1, 40))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds
        self.do(self.run.tick(self.now))

    @rule()
    def a_checkpoint_stands(self) -> None:
        if self.run.world is not None:
            self.do(self.run.on_saved(self.run.world.attempt, self.now))

    @precondition(lambda self: not self.run.over)
    @rule(order=st.sampled_from(["", "", "", "", "stop", "kill"]), deaf=st.booleans())
    def somebody_may_end_it(self, order: str, deaf: bool) -> None:
        self.deaf = deaf
        self.ended = self.ended or bool(order)
        if order:
            self.do((self.run.on_stop if order == "stop" else self.run.on_kill)(self.now))

    @rule()
    def nothing_more_happens(self) -> None:
        """With workers that stay, it trains on all of them once everything has had its time, or has ended as
        somebody said, and nothing is left of it."""
        self.how, self.broken, self.silent = "at once", False, False
        while self.late:
            self.one_more_is_ready()
        for _ in range(100):
            self.now += 5
            self.do(self.run.tick(self.now))
        staying = self.there - self.run.leaving
        if self.ended or self.run.over:
            assert self.run.over
            assert not self.alive
            spent = self.run.retries.crashes > CRASHES
            assert self.run.state is (RunState.FAILED if spent else RunState.STOPPED)
            return
        assert {*self.alive.values()} == staying, self.run.state
        assert {attempt for attempt, _ in self.alive} <= self.going
        assert self.run.state is (RunState.RUNNING if staying else RunState.WAITING)

    def teardown(self) -> None:
        self.nothing_more_happens()


AnyLife.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAnyLife = AnyLife.TestCase
