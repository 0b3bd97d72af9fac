"""When a claim will start: the core replayed over what may come."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from aios_lab.allocation.decide import DEFAULT_POLICY, Policy, check, policy_of
from aios_lab.allocation.history import FEWEST, Holdings, Past
from aios_lab.allocation.queueing import Queue, mmc
from aios_lab.allocation.replay import Arrival, Replay
from aios_lab.allocation.room import how_many
from aios_lab.allocation.shares import Tree, total_capacity, weighted_share
from aios_lab.allocation.targets import starting_units
from aios_lab.allocation.types import Demand, Snapshot
from aios_lab.allocation.words import count

REPLAYS = 100
HORIZON = 30 * 86_400.0
LOW, HIGH = 0.1, 0.9
LEAST = 9  # replays below which there is no tenth of them


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a claim will hold ``units``, in seconds from the snapshot's ``now``.

    In half of the replays it is by ``median``, in one of ten by ``low``, in nine of ten by ``high``; infinite
    where that is not within the horizon. ``state`` is "now", "expected", "never", or "unknown" where nothing
    tells how long others hold what it waits for; ``basis`` says what the forecast rests on, or why there is
    none. ``queue`` is what theory says of the waits of claims of this size in the long run (M/M/c, from the
    past alone), as a check of the order of magnitude; None where too little is known.
    """

    claim: str
    units: int
    state: str
    low: float
    median: float
    high: float
    replays: int
    basis: str
    queue: Queue | None = None


def forecast(
    snapshot: Snapshot,
    claim: str,
    policy: str = DEFAULT_POLICY,
    *,
    past: Sequence[Past] = (),
    units: int | None = None,
    replays: int = REPLAYS,
    horizon: float = HORIZON,
    seed: str | None = None,
    enough: Callable[[int], bool] = lambda finished: False,
) -> Forecast:
    """When a claim gets the units it starts with, or the next one where it holds some already.

    Each replay draws how long every other claim holds its units (see ``Holdings``) and which claims come
    meanwhile: those that came in the past after a moment drawn at random, in their order, with their gaps
    (a moving-block bootstrap with one block, Künsch 1989). Then ``policy`` decides at every event, as it
    does live. ``past`` may hold claims up to the snapshot's ``now``; later ones are not looked at.

    ``units`` asks for another amount. ``horizon`` is in seconds. ``seed`` makes other draws; without one, the
    same snapshot gives the same forecast. ``enough`` is asked at every event, with the number of replays that
    are finished: when it says so, no other one counts, and fewer than ``LEAST`` finished ones tell nothing.

    Raises:
        KeyError: the snapshot has no such claim.
        InvalidSnapshot: as in ``decide``.
        ValueError: there is no such policy, or ``replays`` or ``units`` is not positive.
    """
    decided = policy_of(policy)
    check(snapshot)
    demand = next((one for one in snapshot.demands if one.claim == claim), None)
    if demand is None:
        raise KeyError(f"The snapshot has no claim {claim!r}.")
    if replays < 1 or (units is not None and units < 1):
        raise ValueError(f"{replays} replays for {units or 0} units: give 1 or more of each.")
    if not horizon > 0:
        raise ValueError(f"A horizon of {horizon} s: give seconds above 0.")
    held = sum(lease.units for lease in snapshot.leases if lease.claim == claim)
    if units is None and held >= demand.max:
        return _certain(claim, held, "now", 0.0, "It has all that it asked for.")
    goal = units or (held + 1 if held >= max(1, starting_units(demand)) else max(1, starting_units(demand)))
    if not can_hold(snapshot, demand, goal):
        return _certain(claim, goal, "never", math.inf, "No wait can fulfil it.")
    first = Replay(snapshot, decided, {})
    first.settle()
    if first.units(claim) >= goal:
        return _certain(claim, goal, "now", 0.0, "There is room for it, or others give it back, now.")
    draws = _Draws(snapshot, claim, past, replays, seed, horizon)
    starts = _starts(draws, decided, claim, goal, enough)
    queue = long_run(snapshot, demand, draws.holdings)
    return _told(claim, goal, starts, draws, queue)


def can_hold(snapshot: Snapshot, demand: Demand, units: int) -> bool:
    """Whether the claim wants so many units, and limits and an empty cluster would let it have them."""
    tree = Tree(snapshot.principals, total_capacity(snapshot))
    possible = sum(how_many(demand.unit.vector, node.capacity.vector) for node in snapshot.nodes)
    allowed = tree.over_limit(demand.principal, demand.unit * units) is None
    return units <= demand.max and units <= possible and allowed


def long_run(snapshot: Snapshot, demand: Demand, holdings: Holdings) -> Queue | None:
    """The cluster as a queue of claims of this size: M/M/c at the rates of the past.

    Every past claim counts as so many of this size as its dominant share is greater. None where fewer than
    ten claims came, or none has ended.
    """
    capacity, size = total_capacity(snapshot), max(1, starting_units(demand))
    servers = sum(how_many(demand.unit.vector, node.capacity.vector) for node in snapshot.nodes) // size
    share = weighted_share(demand.unit * size, capacity, 1)
    if len(holdings.past) < FEWEST or not servers or not share:
        return None
    sizes = [weighted_share(one.unit * max(1, min(one.min, one.max)), capacity, 1) for one in holdings.past]
    held = [one.held(snapshot.now) for one in holdings.past]
    ended = [(size, length[0]) for size, length in zip(sizes, held, strict=True) if length and length[1]]
    work = math.fsum(size * length for size, length in ended)
    span = snapshot.now - holdings.past[0].submitted
    if not span or not work:
        return None
    served = math.fsum(size for size, _ in ended)
    return mmc(math.fsum(sizes) / share / span, served / work, servers)


class _Draws:
    """What each replay is made of. Draws belong to claims by name, so that a forecast of a changed snapshot
    with the same seed meets the same others."""

    def __init__(
        self,
        snapshot: Snapshot,
        claim: str,
        past: Sequence[Past],
        replays: int,
        seed: str | None,
        horizon: float,
    ) -> None:
        self.snapshot = snapshot
        self.replays = replays
        self.horizon = horizon
        self.holdings = Holdings(past, snapshot.now)
        self.span = snapshot.now - self.holdings.past[0].submitted if self.holdings.past else 0.0
        self.arrivals = len(self.holdings.past) >= FEWEST and self.span > 0
        self._seed = seed_of(snapshot) if seed is None else seed
        others = [demand for demand in snapshot.demands if demand.claim != claim]
        holding = {lease.claim for lease in snapshot.leases if lease.units}
        self.stated = sum(demand.duration is not None for demand in others)
        self.unknown = sum(not self.holdings.knows(demand) for demand in others)
        self._lengths = {demand.claim: self._lengths_of(demand, demand.claim in holding) for demand in others}
        self._offsets = self._parts("when others come")

    def lengths(self, replay: int) -> dict[str, float]:
        return {claim: lengths[replay] for claim, lengths in self._lengths.items()}

    def coming(self, replay: int) -> Iterator[Arrival]:
        """The past once more, from a moment in it on, and round again."""
        if not self.arrivals:
            return
        past, began = self.holdings.past, self.holdings.past[0].submitted
        moment = began + self._offsets[replay] * self.span
        first = next((place for place, one in enumerate(past) if one.submitted > moment), len(past))
        draw = Random(f"{self._seed} arrivals {replay}")
        for number in itertools.count():
            turns, place = divmod(first + number, len(past))
            one = past[place]
            due = one.submitted - moment + turns * self.span
            if due > self.horizon:
                return
            yield self._arrival(one, f"~{number}", self.snapshot.now + due, draw)

    def _arrival(self, one: Past, name: str, time: float, draw: Random) -> Arrival:
        demand = Demand(
            name,
            one.principal,
            one.unit,
            one.min,
            one.max,
            one.priority,
            one.preemptible,
            submitted=time,
            duration=one.duration,
            name=name,
        )
        if one.ended is not None and one.started is not None and one.ended <= self.snapshot.now:
            return Arrival(demand, one.ended - one.started)
        return Arrival(demand, self.holdings.draw(demand, 0.0, draw.random(), draw.random()))

    def _lengths_of(self, demand: Demand, holds: bool) -> list[float]:
        began = demand.started if holds and demand.started is not None else self.snapshot.now
        age = max(0.0, self.snapshot.now - began)
        parts, whose = self._parts(f"length of {demand.claim}"), self._parts(f"whose for {demand.claim}")
        return [self.holdings.draw(demand, age, part, own) for part, own in zip(parts, whose, strict=True)]

    def _parts(self, name: str) -> list[float]:
        """One number of every n-th of 0 to 1, in any order: a Latin hypercube over the replays (McKay,
        Beckman and Conover, Technometrics 1979)."""
        draw = Random(f"{self._seed} {name}")
        places = draw.sample(range(self.replays), self.replays)
        return [(place + draw.random()) / self.replays for place in places]


def seed_of(snapshot: Snapshot) -> str:
    """A text that is the same for the same snapshot."""
    return hashlib.sha256(repr(snapshot).encode()).hexdigest()


def _starts(
    draws: _Draws, policy: Policy, claim: str, goal: int, enough: Callable[[int], bool]
) -> list[float]:
    starts: list[float] = []
    for number in range(draws.replays):
        replay = Replay(draws.snapshot, policy, draws.lengths(number), draws.coming(number))
        start = replay.start_of(claim, goal, draws.horizon, partial(enough, len(starts)))
        if start == math.inf and enough(len(starts)):
            break
        starts.append(start)
    return sorted(starts)


def _told(claim: str, goal: int, starts: list[float], draws: _Draws, queue: Queue | None) -> Forecast:
    if len(starts) < min(LEAST, draws.replays):
        basis = f"there was time for {len(starts)} of {draws.replays} replays, too few to tell an interval."
        return replace(_certain(claim, goal, "unknown", math.inf, basis, queue), replays=len(starts))
    median = quantile(starts, 0.5)
    if draws.unknown and median == math.inf:
        basis = (
            f"no history: nothing tells how long {count(draws.unknown, 'other claim')} will hold units. "
            "It comes when claims have ended, or state a duration."
        )
        return replace(_certain(claim, goal, "unknown", math.inf, basis, queue), replays=len(starts))
    low, high = quantile(starts, LOW), quantile(starts, HIGH)
    basis = _basis(draws, len(starts))
    return Forecast(claim, goal, "expected", low, median, high, len(starts), basis, queue)


def _certain(
    claim: str, goal: int, state: str, start: float, basis: str, queue: Queue | None = None
) -> Forecast:
    return Forecast(claim, goal, state, start, start, start, 0, basis, queue)


def _basis(draws: _Draws, replays: int) -> str:
    parts = []
    if ended := draws.holdings.ended:
        parts.append(f"how long {count(ended, 'past claim')} held units")
    if draws.stated:
        parts.append(f"what the owners of {count(draws.stated, 'claim')} stated")
    if draws.arrivals:
        parts.append("how claims came")
    said = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + "".join(parts[-1:])
    return f"{count(replays, 'replay')} of the policy, with {said or 'nothing known of others'}."


def quantile(ordered: Sequence[float], part: float) -> float:
    """The value that ``part`` of what comes stays below, from sorted draws.

    Between the draws in proportion, at place part × (n + 1), at which one more draw lies below with just that
    probability (Hyndman and Fan, The American Statistician 1996, definition 6).
    """
    place = part * (len(ordered) + 1) - 1
    low = min(max(math.floor(place), 0), len(ordered) - 1)
    high = min(low + 1, len(ordered) - 1)
    rest = min(max(place - low, 0.0), 1.0)
    if not rest or ordered[low] == ordered[high]:
        return ordered[low]
    return ordered[low] + (ordered[high] - ordered[low]) * rest
