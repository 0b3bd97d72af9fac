"""What goes wrong in a run, in words for people."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FAILURE = re.compile(
    r"Rank (?P<rank>\d+) on (?P<host>\S+) failed: (?P<error>[^\n]*)(\n\n(?!Other ranks)(?P<traceback>.*?))?"
    r"(\n\nOther ranks failed because of it:\n(?P<followed>.*))?",
    re.DOTALL,
)
_FOLLOWED = re.compile(r"^  rank (\d+) on (\S+): (.*)$", re.MULTILINE)


class Stopped(KeyboardInterrupt):
    """Raised in a rank when its run is to stop: catch it, and return the partial result within a second.

    It is a KeyboardInterrupt, so that plain code which saves on Ctrl-C does so here too, and so that
    ``except Exception`` does not swallow a stop.
    """


class CannotTrain(ValueError):
    """A run that cannot start as asked; nothing was started. The message says what is possible."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows as the cell's error: the sentence, not where in our code it was raised."""
        return [f"{type(self).__name__}: {self}"]


@dataclass(frozen=True, slots=True)
class RankFailure:
    """How one rank failed: ``error`` is one line, ``traceback`` the remote text (may be empty)."""

    rank: int
    host: str
    error: str
    traceback: str = ""


class TrainingFailed(RuntimeError):
    """A run ended because a rank failed: the root cause, with what followed from it folded under it."""

    def __init__(self, cause: RankFailure, followed: tuple[RankFailure, ...] = ()) -> None:
        self.cause = cause
        self.followed = followed
        super().__init__(self._text())

    @classmethod
    def told(cls, text: str) -> TrainingFailed:
        """The failure whose text this is, as a record has it; any other text is all that is known of one."""
        found = _FAILURE.fullmatch(text)
        if found is None:
            return cls(RankFailure(-1, "", text))
        followed = _FOLLOWED.findall(found["followed"] or "")
        cause = RankFailure(int(found["rank"]), found["host"], found["error"], found["traceback"] or "")
        return cls(cause, tuple(RankFailure(int(rank), host, error) for rank, host, error in followed))

    def __reduce__(self) -> tuple[type[TrainingFailed], tuple[RankFailure, tuple[RankFailure, ...]]]:
        return TrainingFailed, (self.cause, self.followed)

    @property
    def rank(self) -> int:
        return self.cause.rank

    @property
    def host(self) -> str:
        return self.cause.host

    @property
    def traceback(self) -> str:
        return self.cause.traceback

    def _text(self) -> str:
        if self.cause.rank < 0:
            return self.cause.error
        lines = [f"Rank {self.cause.rank} on {self.cause.host} failed: {self.cause.error}"]
        if self.cause.traceback:
            lines += ["", self.cause.traceback.rstrip()]
        if self.followed:
            lines += ["", "Other ranks failed because of it:"]
            lines += [f"  rank {f.rank} on {f.host}: {f.error}" for f in self.followed]
        return "\n".join(lines)

    def _render_traceback_(self) -> list[str]:
        """What IPython shows as the cell's error: the rank's traceback, not the waiting kernel's."""
        return [
            f"{type(self).__name__}: {line}" if n == 0 else line
            for n, line in enumerate(str(self).splitlines())
        ]
