"""What a schedule came to: waits and slowdowns, use of the cluster, and who had how much of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from aios_lab.allocation.simulation.jobs import FinishedJob
from aios_lab.allocation.simulation.tables import text_table
from aios_lab.allocation.types import RESOURCES, Resources

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

# Shorter jobs count as so long in the bounded slowdown; in seconds.
BOUND = 10.0
_SHOWN_USERS = 10


@dataclass(frozen=True, slots=True)
class Figures:
    """Mean, median and 99th percentile, interpolated linearly; None where there is nothing to count."""

    mean: float | None
    p50: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """Times in seconds; utilisation and shares from 0 to 1.

    ``completion`` is the time from the submit to the end. ``slowdown`` is completion / run of the jobs that
    ran longer than 0 s, ``bounded_slowdown`` max(1, completion / max(run, 10 s)) of all (Feitelson et al.,
    JSSPP 1997); for a job that had fewer units for a while, run is what it would have taken with all.
    ``utilisation`` has, of each resource that the cluster has, the part in use from the first submit to the
    last end; the latter is ``makespan``.

    ``jain`` is Jain's index (Jain, Chiu and Hawe 1984), (Σx)² / (n Σx²), over what each user got of what he
    would have got without waiting: x = Σ share · run / Σ share · completion over his jobs, where share is a
    job's dominant share of the cluster. 1 is fair; 1/n is one user served and the others starved.

    ``shares`` has every user's dominant share of the cluster (Ghodsi et al., NSDI 2011), averaged between
    one time of ``times`` and the next, which count from the first submit; ``in_use`` has the same of every
    resource. ``waits`` and ``slowdowns`` (bounded) have the least, every percentile, and the greatest.
    """

    jobs: int
    makespan: float
    wait: Figures
    slowdown: Figures
    bounded_slowdown: Figures
    completion: Figures
    utilisation: Mapping[str, float]
    jain: float
    times: tuple[float, ...]
    shares: Mapping[str, tuple[float, ...]]
    in_use: Mapping[str, tuple[float, ...]]
    waits: tuple[float, ...]
    slowdowns: tuple[float, ...]

    def to_table(self) -> str:
        """The figures, and the ten users who held most, each with his mean share and his greatest."""
        figures = {
            "wait (s)": self.wait,
            "slowdown": self.slowdown,
            "bounded slowdown": self.bounded_slowdown,
            "completion (s)": self.completion,
        }
        used = ", ".join(f"{name} {part:.1%}" for name, part in self.utilisation.items())
        parts = [
            f"{self.jobs:,} jobs of {len(self.shares):,} users in {self.makespan:,.0f} s; "
            f"in use: {used or 'nothing'}; Jain's index {self.jain:.3f}.",
            text_table(
                ["", "mean", "p50", "p99"],
                ([name, _text(f.mean), _text(f.p50), _text(f.p99)] for name, f in figures.items()),
            ),
            text_table(["user", "mean share", "greatest share"], self._users()),
        ]
        return "\n\n".join(parts)

    def _users(self) -> list[list[str]]:
        # The intervals are equally long, so that the mean of shares is the share of the whole time.
        mean = {user: sum(parts) / len(parts) for user, parts in self.shares.items()}
        most = sorted(mean, key=lambda user: (-mean[user], user))[:_SHOWN_USERS]
        return [[user or "–", f"{mean[user]:.2%}", f"{max(self.shares[user]):.2%}"] for user in most]

    def to_json(self) -> dict[str, Any]:
        """Everything, in dictionaries, lists and numbers."""
        return asdict(self)


def report(jobs: Iterable[FinishedJob], capacity: Resources, *, intervals: int = 24) -> Report:
    """Report on finished jobs on a cluster of ``capacity``; shares over ``intervals`` of equal length.

    Raises:
        ValueError: there are no jobs, no intervals, or a job held a resource that the cluster has none of.
    """
    import numpy as np

    finished = list(jobs)
    if not finished:
        raise ValueError("There is nothing to report: no job has finished.")
    if intervals < 1:
        raise ValueError(f"Shares over {intervals} intervals cannot be told: give 1 or more.")
    _check(finished, capacity)
    submit, start, end = (
        np.array([getattr(job, name) for job in finished], dtype=np.float64)
        for name in ("submit", "start", "end")
    )
    origin, makespan = float(submit.min()), float(end.max() - submit.min())
    run = np.array([job.alone for job in finished], dtype=np.float64)
    wait, completion = start - submit, end - submit
    whole = _held(finished, capacity)
    # A job that had fewer units for a while counts in pieces: whose, from when, until when, which part.
    pieces = [(number, *span) for number, job in enumerate(finished) for span in job.spans]
    of, since, until, level = (np.array(column) for column in zip(*pieces, strict=True))
    held = {name: amounts[of] * level for name, amounts in whole.items()}
    users, who = np.unique([job.user for job in finished], return_inverse=True)
    dominant = np.max(list(whole.values()), axis=0) if whole else np.zeros(len(finished))
    times = np.linspace(0.0, makespan, intervals + 1)
    span = since - origin, until - origin
    shares = _shares(held.values(), who[of], len(users), *span, times)
    ran = run > 0
    slowdown = np.maximum(1.0, completion / np.maximum(run, BOUND))
    nobody = np.zeros(len(of), dtype=np.intp)
    return Report(
        jobs=len(finished),
        makespan=makespan,
        wait=_figures(wait),
        slowdown=_figures(completion[ran] / run[ran]),
        bounded_slowdown=_figures(slowdown),
        completion=_figures(completion),
        utilisation={
            name: float(part @ (until - since)) / makespan if makespan else 0.0 for name, part in held.items()
        },
        jain=_jain(_by_user(who, dominant * run), _by_user(who, dominant * completion)),
        times=tuple(times.tolist()),
        shares={str(user): tuple(row.tolist()) for user, row in zip(users, shares, strict=True)},
        in_use={
            name: tuple(_shares([amounts], nobody, 1, *span, times)[0].tolist())
            for name, amounts in held.items()
        },
        waits=_percentiles(wait),
        slowdowns=_percentiles(slowdown),
    )


def _check(jobs: Iterable[FinishedJob], capacity: Resources) -> None:
    for job in jobs:
        for (resource, need), (_, there) in zip(job.need.items(), capacity.items(), strict=True):
            if need > 0 and there <= 0:
                raise ValueError(f"Job {job.id} held {need} of {resource}, and the cluster has none.")


def _held(jobs: Sequence[FinishedJob], capacity: Resources) -> dict[str, Floats]:
    """Of each resource that the cluster has, the part that each job holds."""
    import numpy as np

    return {
        name: np.array([getattr(job.need, name) for job in jobs], dtype=np.float64) / getattr(capacity, name)
        for name in RESOURCES
        if getattr(capacity, name) > 0
    }


def _shares(
    parts: Iterable[Floats],
    who: np.ndarray[Any, np.dtype[np.intp]],
    users: int,
    start: Floats,
    end: Floats,
    times: Floats,
) -> Floats:
    """Users × intervals: the mean part of the resource of which each held most."""
    import numpy as np

    shares = np.zeros((users, len(times) - 1))
    length = times[1] - times[0]
    for part in parts:
        # What had been used up to each time; the differences are what was used in between.
        until = np.stack(
            [
                np.bincount(who, weights=part * (np.clip(time, start, end) - start), minlength=users)
                for time in times
            ],
            axis=1,
        )
        if length > 0:
            shares = np.maximum(shares, np.diff(until, axis=1) / length)
    return shares


def _by_user(who: np.ndarray[Any, np.dtype[np.intp]], amounts: Floats) -> Floats:
    import numpy as np

    return np.bincount(who, weights=amounts).astype(np.float64)


def _jain(got: Floats, wanted: Floats) -> float:
    """Users who never wanted anything do not count; with none who did, all is fair."""
    ratio = got[wanted > 0] / wanted[wanted > 0]
    squares = len(ratio) * float(ratio @ ratio)
    return float(ratio.sum()) ** 2 / squares if squares else 1.0


def _figures(values: Floats) -> Figures:
    import numpy as np

    if not len(values):
        return Figures(None, None, None)
    p50, p99 = np.quantile(values, [0.5, 0.99])
    return Figures(float(values.mean()), float(p50), float(p99))


def _percentiles(values: Floats) -> tuple[float, ...]:
    import numpy as np

    return tuple(np.quantile(values, np.linspace(0.0, 1.0, 101)).tolist())


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}"
