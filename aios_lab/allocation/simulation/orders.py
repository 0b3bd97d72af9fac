"""Orders of a queue: pure functions that give every waiting job a key; the smallest key goes first.

Times are in seconds, sizes in processors. Equal keys keep the order that the queue had.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

# Keeps UNICEP's logarithm from 0 for one processor, and a job that has just come from a tie with all others;
# the published table was computed with this very number.
_EPSILON = 1e-15


class Waiting(NamedTuple):
    """What an order may know of a job: submit and requested time in seconds, and its processors."""

    submit: float
    requested: float
    processors: int


Key = float | tuple[float, float]


def fcfs(job: Waiting, now: float) -> Key:
    """First come, first served."""
    return job.submit


def sjf(job: Waiting, now: float) -> Key:
    """Shortest job first, by requested time; equal ones by who came first."""
    return (job.requested, job.submit)


def saf(job: Waiting, now: float) -> Key:
    """Smallest area first: requested time × processors (Carastan-Santos et al., CCGrid 2019)."""
    return job.requested * job.processors


def wfp3(job: Waiting, now: float) -> Key:
    """(wait / requested)³ × processors, the greatest first (Tang et al., CLUSTER 2009): favours jobs that
    have waited long for their length, and large ones."""
    waits = (now - job.submit) / job.requested
    return -(waits * waits * waits) * job.processors


def unicep(job: Waiting, now: float) -> Key:
    """wait / (log₂ processors × requested), the greatest first (Tang et al., CLUSTER 2009): favours small
    jobs that have waited long for their length."""
    return -(now - job.submit + _EPSILON) / (math.log2(job.processors + _EPSILON) * job.requested)


def f1(job: Waiting, now: float) -> Key:
    """log₁₀ requested × processors + 870 × log₁₀ submit, fitted to simulated schedules (Carastan-Santos and
    de Camargo, SC 2017). A time of 0 counts as 0.1."""
    return _log10(job.requested) * job.processors + 870 * _log10(job.submit)


def _log10(seconds: float) -> float:
    return math.log10(seconds if seconds > 0 else 0.1)


@dataclass(frozen=True, slots=True)
class Order:
    """``ages`` says that keys change with time, so that a queue has to be sorted anew at every decision."""

    title: str
    key: Callable[[Waiting, float], Key]
    ages: bool = False


ORDERS: Mapping[str, Order] = {
    "fcfs": Order("FCFS", fcfs),
    "wfp3": Order("WFP3", wfp3, ages=True),
    "unicep": Order("UNICEP", unicep, ages=True),
    "sjf": Order("SJF", sjf),
    "f1": Order("F1", f1),
    "saf": Order("SAF", saf),
}
