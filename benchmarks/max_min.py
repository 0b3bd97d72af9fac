"""Continuous DRF of our core against the same lexicographic max-min program through cvxpy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from random import Random

import cvxpy as cp
import numpy as np

from aios_lab.allocation import drf
from benchmarks.figure import Figure

RUNS = 5
SIZES = (10, 100, 1_000)
RESOURCES = ("cpu", "memory", "gpu", "gpu_memory")
SAME = 1e-6  # of the answer itself, not of the whole
TARGET = 100.0

Amounts = Mapping[str, float]
Instance = tuple[Amounts, Mapping[str, Amounts], Amounts]  # capacity, demands, weights


def instance(users: int, seed: int) -> Instance:
    """Users of GPUs, of processors, and of memory alone: GPUs run out first, processors next."""
    random = Random(seed)
    capacity = {"cpu": 80_000.0, "memory": 1_500_000.0, "gpu": 1_000.0, "gpu_memory": 80_000.0}
    demands: dict[str, Amounts] = {}
    for number in range(users):
        kind = random.choice(("gpu", "cpu", "cpu", "memory"))
        demand: dict[str, float] = {"memory": random.choice((2, 4, 8, 16))}
        if kind != "memory":
            demand["cpu"] = random.choice((1, 2, 4, 8))
        if kind == "gpu":
            demand["gpu"] = random.choice((0.25, 0.5, 1, 2))
            demand["gpu_memory"] = demand["gpu"] * random.choice((20, 40, 80))
        demands[f"user-{number:04}"] = demand
    return capacity, demands, {user: random.choice((1.0, 1.0, 2.0, 4.0)) for user in demands}


def ours(case: Instance) -> dict[str, float]:
    """The weighted dominant share of every user."""
    capacity, demands, weights = case
    return dict(drf(capacity, demands, weights, tasks="continuous").weighted_shares)


def peer(case: Instance) -> dict[str, float]:
    """The same by a linear program for each level: the lowest share is made as large as can be, whoever needs
    a resource that is used up then stays where he is, and the lowest of the others goes on."""
    capacity, demands, weights = case
    amounts = np.array([[demand.get(r, 0.0) / capacity[r] for r in RESOURCES] for demand in demands.values()])
    weight = np.array([weights[user] for user in demands])
    use = amounts * (weight / amounts.max(axis=1))[:, None]  # of each resource, by a weighted share of 1
    shares, active = np.zeros(len(demands)), np.full(len(demands), True)
    while active.any():
        level, variable = cp.Variable(), cp.Variable(len(demands))
        rises = [variable[active] >= level]
        if not active.all():
            rises.append(variable[~active] == shares[~active])
        cp.Problem(cp.Maximize(level), [*rises, use.T @ variable <= 1]).solve()
        shares[active] = level.value
        used_up = use.T @ shares >= 1 - 1e-7
        active &= ~(use[:, used_up] > 0).any(axis=1)
    return dict(zip(demands, shares.tolist(), strict=True))


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
    for user, share in mine.items():
        if not math.isclose(share, theirs[user], rel_tol=SAME):
            raise AssertionError(f"{user} has {share} by ours and {theirs[user]} by cvxpy.")
    return our_seconds, peer_seconds


def _timed(solve: Callable[[Instance], dict[str, float]], case: Instance) -> tuple[dict[str, float], float]:
    begin = time.perf_counter()
    answer = solve(case)
    return answer, time.perf_counter() - begin
