"""All ranks come to one point, or a clear error says that some did not."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, TCPStore

PATIENCE = timedelta(minutes=2)
FOR_EVER = timedelta(days=365)  # a rank that waits ends with its supervisor, at the latest

_store: TCPStore | None = None


def meet(point: str, what: str) -> None:
    """Wait until every rank has come to ``point``; ``what`` names the call that all must make.

    Raises:
        RuntimeError: one did not come within ``PATIENCE``.
    """
    world = dist.get_world_size()
    store = PrefixStore(f"aios meeting {point}", _agent_store())
    if store.add("here", 1) == world:
        store.set("all", "1")
    try:
        store.wait(["all"], PATIENCE)
    except dist.DistStoreError:
        missing = world - store.add("here", 0)
        raise RuntimeError(
            f"{what} is a call that all {world} ranks make together: {missing} did not within "
            f"{PATIENCE.total_seconds():g} s. Call it outside of any 'if ctx.rank == 0'."
        ) from None


class Parting:
    """Where ranks that were told to stop do so together: a sharded model is whole only where all are.

    Each rank says once that it knows. When all have, rank 0 names its next report; a rank that averages
    gradients with it cannot be past that one.
    """

    def __init__(self) -> None:
        self._at: int | None = None
        self._said = False

    def due(self, reports: int) -> bool:
        """Whether to stop at this rank's report of that number."""
        store = PrefixStore("aios parting", _agent_store())
        everyone = store.add("know", 0 if self._said else 1) == dist.get_world_size()
        self._said = True
        if self._at is None and dist.get_rank() == 0 and everyone:
            self._at = reports + 1
            store.set("at", str(self._at))
        elif self._at is None and store.check(["at"]):
            self._at = int(store.get("at"))
        return self._at is not None and reports >= self._at


def told_by_rank_0(question: str, answer: bool) -> bool:
    """Rank 0's answer, on every rank, once rank 0 gets there."""
    store = PrefixStore(f"aios {question}", _agent_store())
    if dist.get_rank() == 0:
        store.set("answer", str(answer))
        return answer
    return await_key(store, "answer") == b"True"


def await_key(store: Any, key: str) -> bytes:
    """What a rank puts there, once it does: that may take longer than the store would wait by itself."""
    store.wait([key], FOR_EVER)
    value: bytes = store.get(key)
    return value


def _agent_store() -> TCPStore:
    """The store that the ranks meet at; it is the supervisor's, and so outlives a rank that ends."""
    global _store
    if _store is None:
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        _store = TCPStore(host, port, is_master=False)
    return _store
