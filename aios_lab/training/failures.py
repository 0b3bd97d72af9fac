"""Which rank's error is the cause of a run's failure, and which only followed from it."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Sequence
from pathlib import Path

from aios_lab.training.errors import RankFailure, TrainingFailed
from aios_lab.training.spec import End

# What a rank says when the other end of a connection went away: Gloo, NCCL, and the store.
_PEER_ERRORS = re.compile(
    r"connection (was )?(closed|reset|refused|aborted)|broken pipe|closed by peer|remote (peer|process|side)"
    r"|timed out waiting .*(recv|send|client)|gloo.*(timed? ?out|fail|error)|socket ?(timeout|error)"
    r"|nccl.*(remote|unhandled system|aborted|watchdog)|DistNetworkError|DistStoreError|ConnectionResetError"
    r"|rank \d+ .*(not responding|failed to pass monitoredbarrier)|wait timeout after",
    re.IGNORECASE,
)


def is_consequence(end: End) -> bool:
    """Whether a rank's end looks like that of another rank's death."""
    return end.outcome == "failed" and bool(end.traceback) and blames_a_peer(end.error)


def blames_a_peer(error: str) -> bool:
    """Whether an error's text speaks of a connection whose other end went away."""
    return bool(_PEER_ERRORS.search(error))


def root_cause(ends: Sequence[End]) -> TrainingFailed:
    """The earliest error that is no consequence of another; of consequences alone, the earliest.

    Raises:
        ValueError: no rank failed.
    """
    failed = sorted((end for end in ends if end.outcome in ("failed", "lost")), key=lambda end: end.time)
    if not failed:
        failed = [end for end in ends if end.outcome == "killed"]
    if not failed:
        raise ValueError("no rank failed")
    cause = min(failed, key=is_consequence)  # min keeps the first of equals: the earliest
    followed = tuple(_failure(end) for end in failed if end is not cause)
    return TrainingFailed(_failure(cause), followed)


def died(code: int, last_words: str = "") -> str:
    """How a process ended that did not say anything itself; ``code`` as of subprocess.

    ``last_words`` are those of native code, if it printed any.
    """
    if code >= 0:
        return f"its process ended with exit code {code} before the function returned"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    why = {
        "SIGKILL": ": often its memory ran out; take smaller batches or ask for workers with more memory",
        "SIGSEGV": " (segmentation fault in native code); the log has the Python lines where it happened",
        "SIGABRT": " (native code gave up); the log has the Python lines where it happened",
    }.get(name, "")
    if last_words:
        why = f" (native code gave up: {last_words})"
        if "preamble.length" in last_words:  # Gloo, where a peer sent more or less than was waited for
            why += ": ranks called the same collective with tensors of different sizes"
    return f"its process was killed by {name}{why}"


def recorded(path: Path) -> str:
    """What a rank wrote into torch's error file before it ended; empty when it did not."""
    try:
        said = json.loads(path.read_text("utf-8"))["message"]
        return str(said["message"] if isinstance(said, dict) else said)
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _failure(end: End) -> RankFailure:
    return RankFailure(end.rank, end.host, end.error or "its process was killed", end.traceback)
