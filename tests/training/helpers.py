"""What the tests of training share: a type, and a count of the processes that runs leave behind."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

import psutil

from aios_lab.training import Run

FORKSERVER = "aios_lab.engines.local.forkserver"


class Train(Protocol):
    def __call__(self, *args: Any, **options: Any) -> Run: ...


def ranks_left(patience: float = 5.0) -> list[str]:
    """Processes of runs that are still there once they had ``patience`` seconds to go."""
    end = time.monotonic() + patience
    while (left := _ranks()) and time.monotonic() < end:
        psutil.wait_procs(left, timeout=0.1)
    return [str(process) for process in left if process.is_running()]


def _ranks() -> list[psutil.Process]:
    """What the forkservers of workers have forked, and what that started."""
    return [process for process in psutil.Process().children(recursive=True) if _is_forked(process)]


def _is_forked(process: psutil.Process) -> bool:
    try:
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and any(FORKSERVER in above.cmdline() for above in process.parents())
    except psutil.Error:  # it went away while we looked
        return False


def samples_by_step(folder: Path) -> dict[int, tuple[int, list[int]]]:
    """What ``functions.counted`` noted: the epoch and the samples of each step, as the last attempt that took
    the step saw it; steps that a crash undid do not count."""
    taken: dict[int, tuple[int, int, list[int]]] = {}
    for path in folder.iterdir():
        attempt = int(path.name.split("-")[0])
        for line in path.read_text().splitlines():
            try:
                step, epoch, samples = json.loads(line)
            except ValueError:  # its rank was killed in the middle of it
                continue
            before = taken.get(step)
            if before is None or before[0] < attempt:
                taken[step] = (attempt, epoch, list(samples))
            elif before[0] == attempt:
                before[2].extend(samples)
    return {step: (epoch, sorted(samples)) for step, (_, epoch, samples) in sorted(taken.items())}


def counts_once(folder: Path, epochs: int, samples: int) -> bool:
    """Whether the run took every sample exactly once an epoch, in the steps that count."""
    seen = Counter((epoch, sample) for epoch, taken in samples_by_step(folder).values() for sample in taken)
    return seen == Counter((epoch, sample) for epoch in range(epochs) for sample in range(samples))
