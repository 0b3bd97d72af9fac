"""The evaluation protocol of RLScheduler (Zhang et al., SC 2020, tables V and VI).

Ten sequences of 1,024 jobs, each on an empty cluster of processors that are all alike. Read out of the code
that printed the table (DIR-LAB/deep-batch-scheduler, commit cd433e3d) and written anew.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

from aios_lab.allocation.simulation.orders import Key, Order, Waiting
from aios_lab.allocation.simulation.traces import Trace
from aios_lab.allocation.simulation.traces.trace import Columns

# What the authors' generator drew with seed 1.
STARTS = (1981, 2756, 4299, 8850, 3316, 2714, 5228, 7762, 4022, 7085)
LENGTH = 1024
# A run time below zero says that the log lost it.
LOST_RUN = 10.0
# Shorter jobs count as so long, so that a second's wait of a second's job weighs little; in seconds.
BOUND = 10.0


@dataclass(frozen=True, slots=True)
class Workload:
    """Jobs that ran, by their number in the trace, and the processors of the cluster."""

    source: str
    processors: int
    ids: tuple[int, ...]
    jobs: tuple[Waiting, ...]
    run: tuple[float, ...]

    def part(self, first: int, length: int) -> Workload:
        """``length`` jobs from index ``first``.

        Raises:
            ValueError: there are not so many.
        """
        end = first + length
        if first < 0 or length < 1 or end > len(self.jobs):
            raise ValueError(
                f"A sequence of {length:,} jobs from job {first:,} needs {end:,} jobs that ran, and "
                f"{self.source} has {len(self.jobs):,}: choose other starts or a shorter length."
            )
        cut = slice(first, end)
        return Workload(self.source, self.processors, self.ids[cut], self.jobs[cut], self.run[cut])


def prepare(trace: Trace, processors: int | None = None) -> Workload:
    """The trace as the protocol takes it: without jobs that ran 0 seconds, by the numbers that a Standard
    Workload Format file gives them; by submit time where it is another format, which has no numbers.

    A requested time that is not known is the run time, and a run time that is not known counts as 10 s. Where
    a log knows neither, the requested time stays -1, as it does in the published table.

    Raises:
        ValueError: nobody says how many processors there are, a job needs more, or jobs are not made of
            processors (or GPUs) that are all alike.
    """
    if len(trace.shapes) > 1:
        raise ValueError(
            f"{trace.source} has jobs of several shapes, and the protocol knows processors only: "
            "give a Standard Workload Format file."
        )
    capacity = trace.processors if processors is None else processors
    if capacity is None:
        raise ValueError(
            f"{trace.source} does not say how many processors its cluster has: name it with --processors."
        )
    if capacity < 1:
        raise ValueError(f"A cluster of {capacity} processors runs nothing: name 1 or more.")
    columns = trace.columns
    kept = [i for i in range(len(trace)) if columns.run[i] != 0]
    if trace.format == "swf":
        kept.sort(key=columns.ids.__getitem__)
    for i in kept:
        if columns.count[i] > capacity:
            raise ValueError(
                f"Job {columns.ids[i]} of {trace.source} needs {columns.count[i]:,} processors, "
                f"and the cluster has {capacity:,}."
            )
    return Workload(
        trace.source,
        capacity,
        tuple(columns.ids[i] for i in kept),
        tuple(_waiting(columns, i) for i in kept),
        tuple(columns.run[i] if columns.run[i] > 0 else LOST_RUN for i in kept),
    )


def _waiting(columns: Columns, index: int) -> Waiting:
    requested = columns.requested[index]
    # 0 seconds are no estimate either, and WFP3 and UNICEP divide by it.
    return Waiting(
        columns.submit[index], requested if requested > 0 else columns.run[index], columns.count[index]
    )


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the jobs of a sequence started; ``slowdown`` is the mean bounded slowdown, and ``utilisation`` is
    all work over what the cluster could do between the first submit and the last start, as the published
    table has it: above 1 where much of the work is done later, None where no time lies between."""

    starts: tuple[float, ...]
    slowdown: float
    utilisation: float | None


def play(work: Workload, order: Order, *, backfill: bool, defect: bool = False) -> Schedule:
    """Schedule a sequence on the empty cluster.

    At each decision the queue is sorted and its first job committed to. While that does not fit, events are
    stepped through, and with ``backfill`` jobs that fit may start by order of arrival if by their requested
    time they end before the first one's shadow time: when, by requested times, enough will be free. It is
    worked out once, when the first job blocks, and no spare processors are counted (unlike EASY).

    ``defect`` repeats a mistake of the published table: queued jobs have the start time -1 there, so that
    orders that age see a wait of -1 - submit.
    """
    return _Cluster(work, order, defect).play(backfill)


class _Cluster:
    """Jobs are indices. ``queue`` keeps the order of its last sort, and ``running`` is sorted by end: both
    decide between equals."""

    def __init__(self, work: Workload, order: Order, defect: bool) -> None:
        self.work, self.order = work, order
        self.submit = [job.submit for job in work.jobs]
        self.processors = [job.processors for job in work.jobs]
        self.requested = [job.requested for job in work.jobs]
        # Keys that do not change are worked out once.
        self.keys: list[Key] | None = None
        if defect or not order.ages:
            self.keys = [order.key(job, -1.0) for job in work.jobs]
        self.now = self.submit[0]
        self.free = work.processors
        self.arrived = 0
        self.queue: list[int] = []
        self.running: list[int] = []
        self.start = [0.0] * len(work.jobs)
        self.end = [0.0] * len(work.jobs)

    def play(self, backfill: bool) -> Schedule:
        while self.queue or self.arrived < len(self.start):
            while not self.queue:
                self.step()
            first = self.choose()
            # Without a blocked job there is no shadow; and before time began, nothing can be backfilled.
            shadow = self.shadow(first) if backfill and self.blocked(first) else -math.inf
            while self.blocked(first):
                if backfill:
                    self.fill(shadow)
                self.step()
            self.begin(first)
        return self.schedule()

    def choose(self) -> int:
        """Sort the queue; the job to commit to."""
        if self.keys is not None:
            self.queue.sort(key=self.keys.__getitem__)
        else:
            jobs, key, now = self.work.jobs, self.order.key, self.now
            self.queue.sort(key=lambda job: key(jobs[job], now))
        return self.queue[0]

    def blocked(self, job: int) -> bool:
        return self.processors[job] > self.free

    def shadow(self, first: int) -> float:
        """When the running jobs will have freed enough, if they take the time they requested."""
        ends = {job: self.start[job] + self.requested[job] for job in self.running}
        self.running.sort(key=ends.__getitem__)
        free, shadow = self.free, self.now
        for job in self.running:
            free, shadow = free + self.processors[job], ends[job]
            if free >= self.processors[first]:
                break
        self.running.sort(key=self.end.__getitem__)
        return shadow

    def fill(self, shadow: float) -> None:
        """Start all that fits and ends before the shadow time, by order of arrival."""
        self.queue.sort(key=self.submit.__getitem__)
        for job in tuple(self.queue):
            if self.processors[job] <= self.free and self.now + self.requested[job] < shadow:
                self.begin(job)

    def step(self) -> None:
        """The next event: an arrival, if it is not later than the next end; else that end."""
        end = self.end[self.running[0]] if self.running else math.inf
        if self.arrived < len(self.submit) and self.submit[self.arrived] <= end:
            self.now = max(self.now, self.submit[self.arrived])
            self.queue.append(self.arrived)
            self.arrived += 1
        else:
            self.now = max(self.now, end)
            self.free += self.processors[self.running.pop(0)]

    def begin(self, job: int) -> None:
        self.queue.remove(job)
        self.start[job], self.end[job] = self.now, self.now + self.work.run[job]
        self.free -= self.processors[job]
        insort(self.running, job, key=self.end.__getitem__)

    def schedule(self) -> Schedule:
        # The clock stands at the last start.
        span = (self.now - self.submit[0]) * self.work.processors
        busy = sum(run * processors for run, processors in zip(self.work.run, self.processors, strict=True))
        return Schedule(
            tuple(self.start),
            mean_bounded_slowdown(self.submit, self.start, self.work.run),
            busy / span if span else None,
        )


def mean_bounded_slowdown(submit: Sequence[float], start: Sequence[float], run: Sequence[float]) -> float:
    """The mean of max(1, (wait + run) / max(run, 10 s)) (Feitelson et al., JSSPP 1997)."""
    slowdowns = (
        max(1.0, (began - came + took) / max(took, BOUND))
        for came, began, took in zip(submit, start, run, strict=True)
    )
    return math.fsum(slowdowns) / len(run)
