"""The time of one decision, from 10 to 10,000 claims over 1,000 nodes and 4 resources.

Full decisions in four situations: a cold start, where everybody waits; a cluster at rest in which one claim
arrives or ends; and one where half of the projects come to a cluster that the others have filled. And the
decision that follows another one, after a single event among 10,000 claims.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping

from aios_lab.allocation import Decider, Plan, Snapshot, decide, validate
from benchmarks.clusters import (
    at_rest,
    waiting,
    with_arrival,
    with_change,
    with_crowd,
    with_end,
    with_lease_gone,
)
from benchmarks.figure import Figure

RUNS = 5
SIZES = (10, 100, 1_000, 10_000)
SCARCE = (5_000, 10_000, 20_000)  # so many want more than there is: a harder case than plenty
# Seconds that one full decision may take, by the number of claims.
FULL = {10: 0.020, 100: 0.020, 1_000: 0.020, 10_000: 0.300}
EVENT = 0.010  # seconds that the decision after one event may take
EVENTS: Mapping[str, Callable[[Snapshot], Snapshot]] = {
    "a claim arrives": with_arrival,
    "a waiting claim changes": with_change,
    "a claim ends": with_end,
    "a lease goes": with_lease_gone,
}


def measure() -> list[Figure]:
    seconds: dict[str, dict[int, tuple[float, ...]]] = {}
    for size in sorted({*SIZES, *SCARCE}):
        cold = waiting(size)
        rest = at_rest(cold)
        situations = {
            "cold start": cold,
            "a claim arrives": with_arrival(rest),
            "a claim ends": with_end(rest),
            "mass reclaim": with_crowd(size),
        }
        for name, snapshot in situations.items():
            validate(snapshot, decide(snapshot))
            samples = tuple(_seconds(decide, snapshot) for _ in range(RUNS))
            seconds.setdefault(name, {})[size] = samples
            _tell(f"{name}, {size} claims", samples)
    figures = [figure for name, by_size in seconds.items() for figure in _figures(name, by_size)]
    rest = at_rest(waiting(SIZES[-1]))
    return figures + [_after(rest, name, event(rest)) for name, event in EVENTS.items()]


def _seconds(deciding: Callable[[Snapshot], Plan], snapshot: Snapshot) -> float:
    begin = time.perf_counter()
    deciding(snapshot)
    return time.perf_counter() - begin


def _tell(name: str, samples: tuple[float, ...]) -> None:
    print(f"  {name}: {statistics.median(samples) * 1e3:.1f} ms", flush=True)


def _figures(name: str, seconds: Mapping[int, tuple[float, ...]]) -> list[Figure]:
    figures = [
        Figure(f"decide, {name}, {size} claims", "the limit", "s", seconds[size], (FULL[size],), 1.0)
        for size in SIZES
    ]
    medians = {size: statistics.median(samples) for size, samples in seconds.items()}
    for sizes in (SIZES, SCARCE):
        exponent = growth({size: medians[size] for size in sizes})
        said = f"growth of decide, {name}, {sizes[0]} to {sizes[-1]} claims"
        figures.append(Figure(said, "n log n", "", (exponent,), (1.0,), 1.0))
    return figures


def _after(rest: Snapshot, name: str, snapshot: Snapshot) -> Figure:
    """The decision of a decider that knows the cluster at rest."""
    samples = []
    for _ in range(RUNS):
        decider = Decider()
        decider.decide(rest)
        samples.append(_seconds(decider.decide, snapshot))
        if decider.decide(snapshot) != decide(snapshot):
            raise RuntimeError(f"After the event that {name}, the plan is not that of the full decision.")
    _tell(f"after the event that {name}", tuple(samples))
    said = f"decide after one event, {name}, {len(rest.demands)} claims"
    return Figure(said, "the limit", "s", tuple(samples), (EVENT,), 1.0)


def growth(seconds: Mapping[int, float]) -> float:
    """The power of n log n that fits the times best (least squares of logarithms): 1 is n log n itself."""
    work = [math.log(size * math.log(size)) for size in seconds]
    return statistics.linear_regression(work, [math.log(time) for time in seconds.values()]).slope
