"""Continuous DRF of our core against the same lexicographic max-min program through cvxpy."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from aios_lab.allocation.fairness.filling import fill
from benchmarks.figure import Figure

RUNS = 5
SIZES = (10, 100, 1_000)
CAPACITY = np.array([80_000.0, 1_500_000.0, 1_000.0, 80_000.0])  # threads, GiB, GPUs, GiB of their memory
SAME = 1e-6  # of the answer itself, not of the whole
TARGET = 100.0

Floats = NDArray[np.float64]
# Of every user (users, resources): the part of each resource that a task takes; and his weight (users,).
Instance = tuple[Floats, Floats]


def instance(users: int, seed: int) -> Instance:
    """Users of GPUs, of processors, and of memory alone: GPUs run out first, processors next."""
    random = Random(seed)
    demands = []
    for _ in range(users):
        kind = random.choice(("gpu", "cpu", "cpu", "memory"))
        cpu = 0 if kind == "memory" else random.choice((1, 2, 4, 8))
        gpu = random.choice((0.25, 0.5, 1, 2)) if kind == "gpu" else 0
        demands.append((cpu, random.choice((2, 4, 8, 16)), gpu, gpu * random.choice((20, 40, 80))))
    weights = [random.choice((1.0, 1.0, 2.0, 4.0)) for _ in range(users)]
    return np.array(demands, dtype=float) / CAPACITY, np.array(weights)


def ours(case: Instance) -> Floats:
    """The weighted dominant share of every user."""
    parts, weight = case
    dominant = parts.max(axis=1)
    return fill(np.ones(len(CAPACITY)), parts, weight / dominant) * dominant / weight


def peer(case: Instance) -> Floats:
    """The same by a linear program for each level: the lowest share is made as large as can be, whoever needs
    a resource that is used up then stays where he is, and the lowest of the others goes on."""
    parts, weight = case
    use = parts * (weight / parts.max(axis=1))[:, None]  # of each resource, by a weighted share of 1
    shares, active = np.zeros(len(use)), np.full(len(use), True)
    while active.any():
        level, variable = cp.Variable(), cp.Variable(len(use))
        rises = [variable[active] >= level]
        if not active.all():
            rises.append(variable[~active] == shares[~active])
        cp.Problem(cp.Maximize(level), [*rises, use.T @ variable <= 1]).solve()
        shares[active] = level.value
        used_up = use.T @ shares >= 1 - 1e-7
        active &= ~(use[:, used_up] > 0).any(axis=1)
    return shares


def measure() -> list[Figure]:
    return [_figure(users) for users in SIZES]


def _figure(users: int) -> Figure:
    pairs = [_pair(instance(users, seed)) for seed in range(RUNS + 1)][1:]
    return Figure(
        name=f"continuous DRF, {users} users",
        peer="cvxpy with its default solver",
        unit="s",
        ours=tuple(ours for ours, _ in pairs),
        peers=tuple(peer for _, peer in pairs),
        target=TARGET,
    )


def _pair(case: Instance) -> tuple[float, float]:
    mine, our_seconds = _timed(ours, case)
    theirs, peer_seconds = _timed(peer, case)
    np.testing.assert_allclose(mine, theirs, rtol=SAME)
    return our_seconds, peer_seconds


def _timed(solve: Callable[[Instance], Floats], case: Instance) -> tuple[Floats, float]:
    begin = time.perf_counter()
    answer = solve(case)
    return answer, time.perf_counter() - begin
