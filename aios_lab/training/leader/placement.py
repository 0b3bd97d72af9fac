"""Which worker gets which rank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aios_lab.training.errors import CannotTrain

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True, slots=True)
class Place:
    """One rank's place: a worker's address and host, and the rank's number on that host."""

    address: str
    host: str
    local_rank: int
    local_world_size: int
    node_rank: int
    nodes: int


def place(client: Client, wanted: int | None) -> list[Place]:
    """A place for each rank on a worker of its own, ranks of one host together; all workers by default.

    Raises:
        CannotTrain: there are not so many workers.
    """
    if wanted is not None and (isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1):
        raise CannotTrain(
            f"workers={wanted!r} is not a number of workers: give 1 or more, or leave it out for all."
        )
    workers = [
        (str(w["host"]), str(w["name"]), a)
        for a, w in workers_of(client).items()
        if w.get("status") == "running"
    ]
    if not workers:
        raise CannotTrain(
            "The slice has no running worker. Ask for one with aios.request(workers=…) and try again."
        )
    if wanted is not None and wanted > len(workers):
        raise CannotTrain(
            f"workers={wanted} was asked, but the slice has {len(workers)}. "
            f"Train on up to {len(workers)}, or ask for more with aios.request(workers={wanted}) first."
        )
    return numbered([(host, address) for host, _, address in sorted(workers)[: wanted or len(workers)]])


def workers_of(client: Client) -> dict[str, dict[str, Any]]:
    workers: dict[str, dict[str, Any]] = client.scheduler_info(n_workers=-1)["workers"]
    return workers


def numbered(workers: Sequence[tuple[str, str]]) -> list[Place]:
    """Places on these workers, given as host and address, in their order."""
    on_host = Counter(host for host, _ in workers)
    hosts = sorted(on_host)
    seen: Counter[str] = Counter()
    places = []
    for host, address in workers:
        places.append(Place(address, host, seen[host], on_host[host], hosts.index(host), len(hosts)))
        seen[host] += 1
    return places


def where(spot: Place) -> dict[str, Any]:
    """What a rank's spec says of its place."""
    return {
        "host": spot.host,
        "local_rank": spot.local_rank,
        "local_world_size": spot.local_world_size,
        "node_rank": spot.node_rank,
        "nodes": spot.nodes,
    }
