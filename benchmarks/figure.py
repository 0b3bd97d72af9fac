"""One line of the table: us against a peer, measured in the same run."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """``ours`` and ``peers`` are the samples of alternating runs, in ``unit``.

    ``ratio`` is how many times better we are by the medians: peer over ours where less is better
    (seconds), ours over peer where more is better (``more_is_better``).
    """

    name: str
    peer: str
    unit: str
    ours: tuple[float, ...]
    peers: tuple[float, ...]
    target: float
    more_is_better: bool = False

    @property
    def ratio(self) -> float:
        ours, peer = statistics.median(self.ours), statistics.median(self.peers)
        return ours / peer if self.more_is_better else peer / ours

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio, "reached": self.ratio >= self.target}

    def row(self) -> tuple[str, ...]:
        ours, peer = statistics.median(self.ours), statistics.median(self.peers)
        verdict = "yes" if self.ratio >= self.target else "no"
        return (
            self.name, f"{ours:.3g} {self.unit}", f"{peer:.3g} {self.unit}", self.peer,
            f"{self.ratio:.2f}", f"{self.target:.2f}", verdict, str(len(self.ours)),
        )  # fmt: skip


HEADINGS = ("figure", "ours", "peer", "peer is", "times better", "target", "reached", "runs")
