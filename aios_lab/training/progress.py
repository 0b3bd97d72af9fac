"""What the metrics of a run amount to: latest values, series for plots, throughput and the time left.

The kernel derives it for its displays and the server for the panel, from the same metrics by this one rule,
so that both show the same figures.
"""

from __future__ import annotations

import math
from array import array
from collections import deque

from aios_lab.wire import Point, Run, RunMetric, RunUpdate

SERIES_LIMIT = 500  # points
RATE_WINDOW = 10.0  # seconds over which the throughput is taken
RATE_GRAIN = 0.05  # seconds; of metrics closer than this the window keeps one
RESIZES = 200  # the newest of a run that are kept
NEWS = (
    "total_steps",
    "total_epochs",
    "note",
    "world_size",
    "attempt",
    "resumable",
    "min_workers",
    "ranks",
    "checkpoints",
    "lost",
    "data",
)


def take(run: Run, update: RunUpdate) -> bool:
    """Take in what an update says beside state, metrics and log; true where something lasting changed."""
    news = {name: getattr(update, name) for name in NEWS}
    changed = {name: one for name, one in news.items() if one is not None and one != getattr(run, name)}
    for name, value in changed.items():
        setattr(run, name, value)
    run.resizes = [*run.resizes, *update.resizes][-RESIZES:]
    _take_usage(run, update)
    return bool(changed or update.resizes)


def _take_usage(run: Run, update: RunUpdate) -> None:
    for one in update.usage:
        run.usage = sorted([one, *(old for old in run.usage if old.rank != one.rank)], key=lambda u: u.rank)
        if one.joules is not None:
            run.joules = (run.joules or 0.0) + one.joules
    run.usage = [one for one in run.usage if one.rank < run.world_size]


class Progress:
    """Brings ``run`` up to date with each metric; its series are kept beside it, thinned."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.series: dict[str, Series] = {}
        self._recent: deque[tuple[float, int]] = deque()
        self._first: tuple[float, int] | None = None  # time and epoch; those before are another run's

    def add(self, metric: RunMetric) -> list[str]:
        """Take in one metric; the answer is lines for the log, one for each value that is no finite number:
        JSON and a plot have no place for it, and the value before it would mislead."""
        run, odd = self.run, []
        run.step = max(run.step, metric.step)
        run.epoch = run.epoch if metric.epoch is None else metric.epoch
        for name, value in metric.values.items():
            if math.isfinite(value):
                run.metrics[name] = value
                self.series.setdefault(name, Series()).put(metric.step, metric.time, value)
            else:
                run.metrics.pop(name, None)
                odd.append(f"step {metric.step}: {name} is {value}")
        self._estimate(metric)
        return odd

    def points(self) -> dict[str, list[Point]]:
        return {name: series.points() for name, series in self.series.items()}

    def _estimate(self, metric: RunMetric) -> None:
        """Steps a second over the last seconds, and seconds left: by steps where their number is known,
        else by finished epochs."""
        run, recent = self.run, self._recent
        if recent and metric.step < recent[-1][1]:  # it went back, to a checkpoint
            recent.clear()
        if len(recent) > 1 and metric.time - recent[-2][0] < RATE_GRAIN:
            recent.pop()
        recent.append((metric.time, metric.step))
        while metric.time - recent[0][0] > RATE_WINDOW:
            recent.popleft()
        (began, first), (now, last) = recent[0], recent[-1]
        if last > first and now > began:
            run.throughput = (last - first) / (now - began)
        if run.total_steps and run.throughput:
            run.eta = max(0.0, (run.total_steps - run.step) / run.throughput)
        elif run.total_epochs and run.epoch and run.started is not None:
            self._first = self._first or ((run.started, 0) if run.resumed is None else (now, run.epoch))
            since, begun = self._first
            if run.epoch > begun:
                run.eta = max(0.0, (now - since) / (run.epoch - begun) * (run.total_epochs - run.epoch))


class Series:
    """A metric over steps in at most ``limit`` points: evenly thinned, first and last always kept."""

    def __init__(self, limit: int = SERIES_LIMIT) -> None:
        self._limit = limit
        self._steps, self._times, self._values = array("q"), array("d"), array("d")
        self._stride = 1
        self._seen = 0
        self._last: tuple[int, float, float] | None = None
        self._shown: list[Point] = []  # of the first steps, since somebody looked: points are shared

    @classmethod
    def of(cls, points: list[Point]) -> Series:
        """A series that has been thinned before; it keeps these points."""
        series = cls(limit=max(SERIES_LIMIT, len(points) + 1))
        for point in points:
            series.put(point.step, point.time, point.value)
        return series

    def put(self, step: int, time: float, value: float) -> None:
        self._last = None
        if self._seen % self._stride == 0:
            self._steps.append(step)
            self._times.append(time)
            self._values.append(value)
            if len(self._steps) >= self._limit:
                self._steps, self._times, self._values = self._steps[::2], self._times[::2], self._values[::2]
                self._shown = self._shown[::2]
                self._stride *= 2
                self._last = step, time, value
        else:
            self._last = step, time, value
        self._seen += 1

    def points(self) -> list[Point]:
        """The points, oldest first; at most ``limit`` of them."""
        begin = len(self._shown)
        self._shown += (
            Point.model_construct(step=step, time=time, value=value)
            for step, time, value in zip(
                self._steps[begin:], self._times[begin:], self._values[begin:], strict=True
            )
        )
        kept = self._shown[:]
        if self._last is not None:
            step, time, value = self._last
            kept.append(Point.model_construct(step=step, time=time, value=value))
        return kept


def thin(points: list[Point], limit: int) -> list[Point]:
    """At most ``limit`` (≥ 2) of ``points``, the first and the last among them."""
    if len(points) <= limit:
        return points
    last = len(points) - 1
    return [points[round(i * last / (limit - 1))] for i in range(limit)]
