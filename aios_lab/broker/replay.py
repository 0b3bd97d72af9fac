"""What would have happened, as a process of its own: the server never computes it, nor waits for it."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aios_lab.allocation.simulation import Report, compare
from aios_lab.allocation.simulation.compare import PAST
from aios_lab.broker.history import HistoryError, read_history
from aios_lab.engines.telling import Tell, telling
from aios_lab.wire import Problem, ReplayFigures

MOST = 20_000  # uses, of which a simulation takes some seconds a policy
CPU_SECONDS = 300


def replay_job(payload: bytes, fds: Mapping[str, int]) -> int:
    """Play recorded uses again under some policies; the target of a spawned process.

    Args:
        payload: JSON with ledger (a path), since and until (seconds since the epoch), policies, and the user
            whose share is told; all others are one.
        fds: ``"out"``, or else standard output, takes JSON lines: ``{"progress": 0 … 1}``, then one
            ``{"answer": …}`` with fields of ``Replay``, or ``{"problem": Problem}``.

    Returns:
        The exit code: 0 with an answer, 1 with a problem.
    """
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    allowed = CPU_SECONDS if hard == resource.RLIM_INFINITY else min(CPU_SECONDS, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, hard))
    os.nice(10)
    with telling(fds) as tell:
        try:
            tell(answer=_replay(json.loads(payload), tell))
            return 0
        except HistoryError as error:
            tell(problem=_too_little(error).model_dump())
        except (MemoryError, RuntimeError, ValueError) as error:
            tell(problem=_not_played(error).model_dump())
        return 1


def _replay(order: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    policies: list[str] = order["policies"]
    history = read_history(Path(order["ledger"]), order["since"], order["until"], most=MOST)
    uses = len(history.jobs)

    def progress(policy: str, finished: int) -> None:
        if finished == uses or finished % max(1, uses // 20) == 0:
            tell(progress=(policies.index(policy) + finished / uses) / len(policies))

    compared = compare(
        history.jobs,
        history.nodes,
        policies,
        progress,
        principals=history.principals,
        elastic=True,
        past=history.past,
    )
    return {
        "began": history.began,
        "ended": history.ended,
        "uses": uses,
        "in_force": list(history.policies),
        "notes": list(history.notes),
        "figures": [
            _figures(policy, one, order["user"]).model_dump() for policy, one in compared.reports.items()
        ],
    }


def _figures(policy: str, one: Report, user: str) -> ReplayFigures:
    busiest = max(one.utilisation, key=lambda name: one.utilisation[name], default="")
    mine = list(one.shares.get(user, ()))
    others = [row for name, row in one.shares.items() if name != user]
    return ReplayFigures(
        policy=policy,
        past=policy == PAST,
        uses=one.jobs,
        wait_mean=one.wait.mean or 0.0,
        wait_p50=one.wait.p50 or 0.0,
        wait_p99=one.wait.p99 or 0.0,
        slowdown_mean=one.bounded_slowdown.mean or 0.0,
        slowdown_p50=one.bounded_slowdown.p50 or 0.0,
        busiest=busiest,
        used=one.utilisation.get(busiest, 0.0),
        jain=one.jain,
        waits=list(one.waits),
        times=list(one.times),
        in_use=list(one.in_use.get(busiest, ())),
        mine=mine or [0.0] * (len(one.times) - 1),
        others=[sum(column) for column in zip(*others, strict=True)] or [0.0] * (len(one.times) - 1),
    )


def _too_little(error: HistoryError) -> Problem:
    return Problem(
        message=str(error),
        reason=error.reason,
        hint="Take another time; what is recorded from now on counts next time.",
    )


def _not_played(error: Exception) -> Problem:
    return Problem(
        message=f"What was recorded could not be played again: {error or type(error).__name__}",
        reason="not_played",
        hint="Take a shorter time or another policy; `jupyter aios simulate` has no such limits.",
    )
