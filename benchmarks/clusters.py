"""Generated snapshots: 1,000 nodes, 20 projects of 10 users, and as many claims as asked for."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from aios_lab.allocation import UNLIMITED, Demand, Node, Plan, Principal, Resources, Snapshot, decide
from allocation.snapshots import carry_out

GIB = 1024
GPU_MEMORY = 80 * GIB

# How many nodes of each kind.
MACHINES = (
    (500, Resources(64_000, 256 * GIB)),
    (300, Resources(64_000, 512 * GIB, 4_000, 4 * GPU_MEMORY)),
    (200, Resources(128_000, 1024 * GIB, 8_000, 8 * GPU_MEMORY)),
)
# What one worker needs, and how often that is asked for.
SHAPES = {
    Resources(1_000, 2 * GIB): 30,
    Resources(4_000, 16 * GIB): 30,
    Resources(2_000, 8 * GIB, 250, GPU_MEMORY // 4): 10,
    Resources(4_000, 32 * GIB, 500, GPU_MEMORY // 2): 10,
    Resources(8_000, 64 * GIB, 1_000, GPU_MEMORY): 15,
    Resources(16_000, 128 * GIB, 2_000, 2 * GPU_MEMORY): 5,
}
PROJECTS, USERS = 20, 10


def waiting(claims: int, seed: int = 1) -> Snapshot:
    """A cold start: everybody waits and nobody holds anything."""
    random = Random(seed)
    demands = tuple(_demand(random, number) for number in range(claims))
    return Snapshot(_nodes(), _principals(random), demands)


def at_rest(snapshot: Snapshot) -> Snapshot:
    """The snapshot once its plans are carried out and nothing changes any more."""
    while (plan := decide(snapshot)).grants or plan.shrinks:
        snapshot = carry_out(snapshot, Plan(plan.grants, plan.shrinks))
    return snapshot


def with_arrival(snapshot: Snapshot) -> Snapshot:
    """One claim more, for whole GPUs."""
    last = max(demand.submitted for demand in snapshot.demands)
    unit = Resources(8_000, 64 * GIB, 1_000, GPU_MEMORY)
    new = Demand("new", "cluster/project-01/user-1", unit, 2, 4, submitted=last + 60, name="new.ipynb")
    return replace(snapshot, demands=(*snapshot.demands, new))


def with_change(snapshot: Snapshot) -> Snapshot:
    """The last claim that holds nothing, or simply the last one, asks for one unit more at most."""
    holding = {lease.claim for lease in snapshot.leases}
    one = max(snapshot.demands, key=lambda demand: (demand.claim not in holding, demand.claim))
    demands = (replace(each, max=each.max + 1) if each is one else each for each in snapshot.demands)
    return replace(snapshot, demands=tuple(demands))


def with_end(snapshot: Snapshot) -> Snapshot:
    """One claim less: of those that hold most units the first by name."""
    ended = _largest(snapshot)
    return replace(
        snapshot,
        demands=tuple(demand for demand in snapshot.demands if demand.claim != ended),
        leases=tuple(lease for lease in snapshot.leases if lease.claim != ended),
    )


def with_lease_gone(snapshot: Snapshot) -> Snapshot:
    """The units of that claim on one of its nodes are gone; it wants them back."""
    largest = _largest(snapshot)
    gone = next(lease for lease in snapshot.leases if lease.claim == largest)
    return replace(snapshot, leases=tuple(lease for lease in snapshot.leases if lease is not gone))


def _largest(snapshot: Snapshot) -> str:
    """The claim that holds most units."""
    held = dict.fromkeys(sorted(demand.claim for demand in snapshot.demands), 0)
    for lease in snapshot.leases:
        held[lease.claim] += lease.units
    return max(held, key=lambda claim: held[claim])


def with_crowd(claims: int) -> Snapshot:
    """Every second project had the cluster for itself, at rest; now the others ask for their part."""
    everyone = waiting(claims)
    early = {f"cluster/project-{number:02}" for number in range(0, PROJECTS, 2)}
    demands = (demand for demand in everyone.demands if demand.principal.rpartition("/")[0] in early)
    return replace(at_rest(replace(everyone, demands=tuple(demands))), demands=everyone.demands)


def _nodes() -> tuple[Node, ...]:
    kinds = [capacity for count, capacity in MACHINES for _ in range(count)]
    return tuple(Node(f"node-{number:04}", capacity) for number, capacity in enumerate(kinds))


def _principals(random: Random) -> tuple[Principal, ...]:
    """Quotas of three fifths of the cluster in all; every fourth project and every tenth user has a limit."""
    whole = Resources()
    for count, capacity in MACHINES:
        whole += capacity * count
    found = []
    for number in range(PROJECTS):
        path = f"cluster/project-{number:02}"
        quota = Resources(*(amount * 3 // (5 * PROJECTS) for amount in whole.vector))
        limit = _ceiling(whole, 10) if number % 4 == 0 else None
        found.append(Principal(path, random.choice((50, 100, 100, 200)), quota, limit))
        for user in range(USERS):
            limit = _ceiling(whole, 100) if user == 0 else None
            found.append(Principal(f"{path}/user-{user}", random.choice((100, 100, 200)), limit=limit))
    return tuple(found)


def _ceiling(whole: Resources, part: int) -> Resources:
    """A part of all processors and GPUs; memory is left open."""
    return Resources(whole.cpu // part, UNLIMITED, whole.gpu // part, UNLIMITED)


def _demand(random: Random, number: int) -> Demand:
    least = random.choice((1, 1, 1, 2, 4))
    return Demand(
        claim=f"claim-{number:05}",
        principal=f"cluster/project-{random.randrange(PROJECTS):02}/user-{random.randrange(USERS)}",
        unit=random.choices(list(SHAPES), list(SHAPES.values()))[0],
        min=least,
        max=least + random.choice((0, 1, 3, 7)),
        priority=random.choice((0, 0, 0, 0, 1)),
        preemptible=random.random() < 0.9,
        submitted=float(number),
        floor=random.choice((0, 0, 0, least)),
        name=f"{number}.ipynb",
    )
