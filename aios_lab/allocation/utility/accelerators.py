"""Jobs that run at different speeds on different types of accelerators.

Source: Narayanan, Santhanam, Kazhamiaka, Phanishayee, Zaharia, "Heterogeneity-aware cluster scheduling
policies for deep learning workloads" (Gavel), OSDI 2020, sections 4.1 and 4.2, and its code: an equal part of
the cluster is ``ProportionalPolicy``, which gives every job each type in proportion to its number of workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aios_lab.allocation.utility.highs import maximise
from aios_lab.allocation.utility.inputs import Vectors, positive, quantity
from aios_lab.allocation.utility.results import Timeshares

if TYPE_CHECKING:
    from aios_lab.allocation.utility.inputs import Array

# HiGHS takes no coefficients from 1e15 on, and loses digits before.
MOST_UNEQUAL = 1e12


def max_min_throughput(
    throughputs: Vectors,
    workers: Mapping[str, float],
    priorities: Mapping[str, float] | None = None,
    scale_factors: Mapping[str, float] | None = None,
) -> Timeshares:
    """max min_i sf_i Σ_j T_ij x_ij / (w_i p_i) with Σ_j x_ij ≤ 1, Σ_i sf_i x_ij ≤ N_j and x ≥ 0.

    ``throughputs`` is T by job and type of accelerator, in any unit, each job its own; a type left out is
    one that the job cannot run on. ``workers`` is N by type. ``priorities`` is w, ``scale_factors`` is sf,
    the workers that a job runs on at once; both 1 for jobs left out. p_i = Σ_j T_ij N_j / Σ_j N_j is the
    job's throughput with an equal part of the cluster, so that a level of 1 is as good as that.

    When to use it: a cluster of several types, to make no job slower than need be, given that some gain more
    from the fast types than others. Only the slowest is looked after: time that cannot help it may stay
    unused, and of equally good answers it is one. Parts of the time are what comes out: a job of more
    workers than a type has gets such parts too, and its throughput there is to be given as 0.

    Raises:
        ValueError: there is no job; a number is negative, NaN or infinite; a type has no workers; a weight
            or scale factor is 0 or of a stranger; a throughput is of an unknown type; a job has none; or one
            differs from the others by more than can be computed with.
        ArithmeticError: HiGHS gave up for another reason, which it names.
    """
    import numpy as np
    from scipy import sparse

    cluster = _read(throughputs, workers, scale_factors)
    weight = np.array(positive(cluster.jobs, priorities, "priority"))
    equal = cluster.speeds @ cluster.counts / cluster.counts.sum()
    level = cluster.speeds * (cluster.scale / (weight * equal))[:, None]
    jobs, types = level.shape
    # An equal split reaches this; in units of it the optimum is about 1, which is what tolerances are for.
    unit = float((level @ cluster.counts / max(cluster.scale.sum(), cluster.counts.sum())).min())
    _comparable(
        cluster.jobs, level / unit, "can have {:g} times the level that all can have: it is out of place here"
    )
    places = (np.arange(jobs).repeat(types), np.arange(level.size))
    each = sparse.csr_array(((-level / unit).ravel(), places), shape=(jobs, level.size))
    matrix = sparse.block_array([[each, np.ones((jobs, 1))], [cluster.room(), None]])
    gains = np.append(np.zeros(level.size), 1.0)
    found, prices = maximise(gains, matrix, np.append(np.zeros(jobs), np.ones(jobs + types)))
    hangs = prices[:jobs] / prices[:jobs].sum()
    return cluster.answer(
        found[:-1],
        levels=level,
        gains=hangs[:, None] * level,
        prices=prices[2 * jobs :] * unit / cluster.counts,
        multipliers=hangs,
    )


def max_sum_throughput(
    throughputs: Vectors,
    workers: Mapping[str, float],
    scale_factors: Mapping[str, float] | None = None,
    costs: Mapping[str, float] | None = None,
) -> Timeshares:
    """max Σ_ij T_ij x_ij / cost_j with Σ_j x_ij ≤ 1, Σ_i sf_i x_ij ≤ N_j and x ≥ 0.

    The arguments are those of `max_min_throughput`, but the throughputs of all jobs are in one unit.
    ``costs`` is by type, what a worker costs per unit of time, 1 for those left out.

    When to use it: for the most output of the whole cluster, or the most per cost, among jobs whose outputs
    add up. Jobs that are slow everywhere get nothing while others can use the time.

    Raises:
        ValueError: as `max_min_throughput`; or a cost is 0 or of a type that is not there.
        ArithmeticError: as `max_min_throughput`.
    """
    import numpy as np

    cluster = _read(throughputs, workers, scale_factors)
    gains = cluster.speeds / np.array(positive(cluster.types, costs, "cost"))
    jobs, unit = len(cluster.jobs), float(gains.max())
    found, prices = maximise(gains.ravel() / unit, cluster.room(), np.ones(sum(gains.shape)))
    return cluster.answer(
        found, levels=gains, gains=gains, prices=prices[jobs:] * unit / cluster.counts, multipliers=None
    )


@dataclass(frozen=True, slots=True)
class _Cluster:
    jobs: tuple[str, ...]
    types: tuple[str, ...]
    speeds: Array
    """Throughputs, a row a job."""
    counts: Array
    """Workers of each type."""
    scale: Array
    """Workers that each job runs on at once."""

    def room(self) -> Any:
        """The matrix that makes 1 of the time of every job, and 1 of all workers of every type."""
        import numpy as np
        from scipy import sparse

        time = sparse.kron(sparse.eye_array(len(self.jobs)), np.ones((1, len(self.types))))
        places = sparse.kron(self.scale[None, :], sparse.diags_array(1 / self.counts))
        return sparse.vstack([time, places])

    def answer(
        self, found: Array, levels: Array, gains: Array, prices: Array, multipliers: Array | None
    ) -> Timeshares:
        """The answer in names, and the gap to Σ_j N_j price_j + Σ_i max_j (gains_ij − sf_i price_j).

        No allocation is better than that, whatever the prices. ``gains`` is what the objective gains by time,
        in max-min if the jobs' levels count by the multipliers, which make a sum of no less than the minimum.
        """
        import numpy as np

        x = found.reshape(levels.shape)
        x = x / np.maximum(1.0, x.sum(axis=1, keepdims=True))
        x = x / np.maximum(1.0, self.scale @ x / self.counts)
        reached = (levels * x).sum(axis=1)
        objective = float(reached.sum() if multipliers is None else reached.min())
        time = (gains - self.scale[:, None] * prices).max(axis=1).clip(0.0)
        bound = float(prices @ self.counts + time.sum())

        def by_job(values: Array) -> dict[str, float]:
            return dict(zip(self.jobs, values.tolist(), strict=True))

        return Timeshares(
            objective=objective,
            allocation={
                job: dict(zip(self.types, row, strict=True))
                for job, row in zip(self.jobs, x.tolist(), strict=True)
            },
            throughputs=by_job((self.speeds * x).sum(axis=1)),
            levels=by_job(reached),
            prices=dict(zip(self.types, prices.tolist(), strict=True)),
            time_prices=by_job(time),
            gap=max(0.0, bound / objective - 1),
            multipliers={} if multipliers is None else by_job(multipliers),
        )


def _read(
    throughputs: Vectors, workers: Mapping[str, float], scale_factors: Mapping[str, float] | None
) -> _Cluster:
    import numpy as np

    if not throughputs:
        raise ValueError("There is no job, and so nothing to share.")
    jobs, types = tuple(sorted(throughputs)), tuple(sorted(workers))
    counts = [quantity(workers[kind], f"The number of workers of {kind!r}") for kind in types]
    for kind, count in zip(types, counts, strict=True):
        if not count:
            raise ValueError(f"{kind!r} has no workers: leave it out, there and in the throughputs.")
    speeds = np.zeros((len(jobs), len(types)))
    for row, job in zip(speeds, jobs, strict=True):
        for kind, value in throughputs[job].items():
            if kind not in workers:
                raise ValueError(
                    f"{job!r} has a throughput on {kind!r}, of which the cluster has no workers."
                )
            row[types.index(kind)] = quantity(value, f"The throughput of {job!r} on {kind!r}")
        if not row.any():
            raise ValueError(f"{job!r} has no throughput on any type of the cluster: leave it out.")
    scale = np.array(positive(jobs, scale_factors, "scale factor"))
    _comparable(
        jobs, scale[:, None] / np.array(counts), "runs on {:g} times the workers of a type: leave it out"
    )
    return _Cluster(jobs, types, speeds, np.array(counts), scale)


def _comparable(jobs: tuple[str, ...], ratios: Array, message: str) -> None:
    most = ratios.max(axis=1)
    worst = int(most.argmax())
    if most[worst] > MOST_UNEQUAL:
        raise ValueError(f"{jobs[worst]!r} {message.format(most[worst])}.")
