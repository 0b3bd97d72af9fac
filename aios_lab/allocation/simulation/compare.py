"""Policies side by side on one trace."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from aios_lab.allocation.placement import DEFAULT_PLACEMENT, typical_units
from aios_lab.allocation.simulation import plots
from aios_lab.allocation.simulation.jobs import FinishedJob, Job
from aios_lab.allocation.simulation.report import Report, report
from aios_lab.allocation.simulation.tables import text_table
from aios_lab.allocation.simulation.world import play
from aios_lab.allocation.types import Node, Placement, Principal, Resources

PAST = "as it was"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A report by policy, and how many jobs could not run, by the reason why not. What really happened, where
    that is known, is the first report."""

    reports: Mapping[str, Report]
    refused: Mapping[str, int]

    def to_table(self) -> str:
        """A row a policy; times in seconds, slowdowns bounded at 10 s."""
        headings = ("policy", "wait (s) mean", "p50", "p99", "slowdown mean", "p50", "p99", "in use", "Jain")
        rows = []
        for policy, one in self.reports.items():
            figures = (one.wait, one.bounded_slowdown)
            numbers = [f"{value or 0:,.1f}" for f in figures for value in (f.mean, f.p50, f.p99)]
            used = max(one.utilisation.values(), default=0.0)
            rows.append((policy, *numbers, f"{used:.1%}", f"{one.jain:.3f}"))
        jobs = next(iter(self.reports.values())).jobs
        notes = "".join(f"\n{_jobs(count)} left out: {why}." for why, count in self.refused.items())
        return f"{_jobs(jobs)}\n\n{text_table(headings, rows)}{notes}"

    def to_json(self) -> dict[str, Any]:
        """Everything, in dictionaries, lists and numbers."""
        reports = {policy: one.to_json() for policy, one in self.reports.items()}
        return {"policies": reports, "refused": dict(self.refused)}

    def to_html(self, title: str) -> str:
        """A page with the table and plots, for a file; ``title`` stands above them."""
        return plots.page(self.reports, self.to_table(), title)


def _jobs(count: int) -> str:
    return f"{count:,} job" if count == 1 else f"{count:,} jobs"


def compare(
    jobs: Iterable[Job],
    nodes: Sequence[Node],
    policies: Sequence[str],
    tell: Callable[[str, int], None] | None = None,
    *,
    principals: Sequence[Principal] = (),
    elastic: bool = False,
    past: Sequence[FinishedJob] = (),
    placements: Sequence[str] = (DEFAULT_PLACEMENT,),
) -> Comparison:
    """Play the same jobs on the same nodes under each policy; ``tell`` hears a policy and its finished jobs.
    ``jobs`` is gone through once a policy.

    ``principals`` and ``elastic`` are those of ``play``; ``past`` is what really became of the jobs. With
    several ``placements`` each policy is played with each; what "fgd" expects is what the jobs ask for.

    Raises:
        ValueError: as ``play``; no policy is named, or no job can run.
    """
    if not policies:
        raise ValueError("Name a policy or several to compare.")
    capacity = sum((node.capacity for node in nodes), Resources())
    reports: dict[str, Report] = {PAST: report(past, capacity)} if past else {}
    refused: Counter[str] = Counter()
    expected = typical_units((job.unit, job.count) for job in jobs) if "fgd" in placements else ()
    for policy, rule in itertools.product(policies, placements):
        name = policy if len(placements) == 1 else f"{policy}, {rule}"
        outcome = play(
            jobs,
            nodes,
            policy,
            principals=principals,
            elastic=elastic,
            placement=Placement(rule, expected),
            tell=tell and partial(tell, name),
        )
        refused = Counter(why for _, why in outcome.refused)
        if not outcome.finished:
            raise ValueError(f"Nothing ran under {name}: {next(iter(refused), 'there are no jobs')}.")
        reports[name] = report(outcome.finished, capacity)
    return Comparison(reports, refused)
