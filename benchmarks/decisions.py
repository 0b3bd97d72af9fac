"""The time of one decision, from 10 to 10,000 claims over 1,000 nodes and 4 resources.

Two situations: a cold start, where everybody waits, and a cluster at rest in which one claim arrives or ends.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping

from aios_lab.allocation import Snapshot, decide, validate
from benchmarks.clusters import at_rest, waiting, with_arrival, with_end
from benchmarks.figure import Figure

RUNS = 5
SIZES = (10, 100, 1_000, 10_000)
# Seconds that one full decision may take, by the number of claims.
FULL = {10: 0.020, 100: 0.020, 1_000: 0.020, 10_000: 0.300}
# Seconds after one event among 10,000 claims. Nothing yet decides anew on only what an event changed, so the
# full decision is held against it.
EVENT = 0.010


def measure() -> list[Figure]:
    seconds: dict[str, dict[int, tuple[float, ...]]] = {}
    for size in SIZES:
        for name, snapshot in _situations(size).items():
            samples = _seconds(snapshot)
            seconds.setdefault(name, {})[size] = samples
            print(f"  {name}, {size} claims: {statistics.median(samples) * 1e3:.1f} ms", flush=True)
    return [figure for name, by_size in seconds.items() for figure in _figures(name, by_size)]


def _situations(size: int) -> dict[str, Snapshot]:
    cold = waiting(size)
    rest = at_rest(cold)
    return {"cold start": cold, "a claim arrives": with_arrival(rest), "a claim ends": with_end(rest)}


def _seconds(snapshot: Snapshot) -> tuple[float, ...]:
    validate(snapshot, decide(snapshot))
    samples = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        decide(snapshot)
        samples.append(time.perf_counter() - begin)
    return tuple(samples)


def _figures(name: str, seconds: Mapping[int, tuple[float, ...]]) -> list[Figure]:
    figures = [
        Figure(f"decide, {name}, {size} claims", "the limit", "s", samples, (FULL[size],), 1.0)
        for size, samples in seconds.items()
    ]
    largest = max(seconds)
    if name != "cold start":
        event = f"decide after an event, {name}, {largest} claims"
        figures.append(Figure(event, "the limit", "s", seconds[largest], (EVENT,), 1.0))
    medians = {size: statistics.median(samples) for size, samples in seconds.items()}
    for sizes in (SIZES, SIZES[-2:]):
        exponent = growth({size: medians[size] for size in sizes})
        said = f"growth of decide, {name}, {sizes[0]} to {sizes[-1]} claims"
        figures.append(Figure(said, "n log n", "", (exponent,), (1.0,), 1.0))
    return figures


def growth(seconds: Mapping[int, float]) -> float:
    """The power of n log n that fits the times best (least squares of logarithms): 1 is n log n itself."""
    work = [math.log(size * math.log(size)) for size in seconds]
    return statistics.linear_regression(work, [math.log(time) for time in seconds.values()]).slope
