"""Usage that is forgotten by half-lives, and the charge on entry that keeps bursts from using that.

Sources: Slurm, "Classic Fairshare Algorithm", normalised usage (``PriorityDecayHalfLife``); Kueue 0.19,
``pkg/util/admissionfairsharing/admission_fair_sharing.go`` (KEP 4136). Times are in seconds, or in any one
unit. A half-life of 0 switches it off, as in both: nothing is forgotten, nothing charged.
"""

from __future__ import annotations

from collections.abc import Mapping

from aios_lab.allocation.fairness.checks import amount


def decay_factor(elapsed: float, half_life: float) -> float:
    """What part of a usage is left after ``elapsed``: 0.5 ** (elapsed / half_life).

    Raises:
        ValueError: a time is negative, NaN or infinite.
    """
    elapsed, half_life = amount(elapsed, "The time elapsed"), amount(half_life, "The half-life")
    return 0.5 ** (elapsed / half_life) if half_life else 1.0


def decay(usage: Mapping[str, float], elapsed: float, half_life: float) -> dict[str, float]:
    """Usage by name, ``elapsed`` later. To decay by s and then by t is to decay by s + t.

    Raises:
        ValueError: a time or a usage is negative, NaN or infinite; the message names it.
    """
    left = decay_factor(elapsed, half_life)
    return {name: left * amount(value, f"The usage of {name!r}") for name, value in usage.items()}


def recent_usage(
    usage: Mapping[str, float], held: Mapping[str, float], elapsed: float, half_life: float
) -> dict[str, float]:
    """The moving average of what is held, ``elapsed`` later, if ``held`` was held all the while.

    (1 − α) · usage + α · held with α = 1 − 0.5 ** (elapsed / half_life): it nears ``held`` from its side.

    Raises:
        ValueError: as `decay`.
    """
    left = decay_factor(elapsed, half_life)
    past = decay(usage, elapsed, half_life)
    now = {name: (1 - left) * amount(value, f"What is held of {name!r}") for name, value in held.items()}
    return {name: past.get(name, 0.0) + now.get(name, 0.0) for name in {**past, **now}}


def entry_charge(request: Mapping[str, float], interval: float, half_life: float) -> dict[str, float]:
    """What to add to a queue's usage at once when a request of it is admitted: α · request.

    It is what the request will have added by the next sample, ``interval`` from now. Without it, all that is
    asked for between two samples is judged by the usage before the first of them.

    Raises:
        ValueError: a time or an amount is negative, NaN or infinite; the message names it.
    """
    return recent_usage({}, request, interval, half_life)
