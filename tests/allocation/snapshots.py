"""Snapshots for tests: short constructors, a generator, and a cluster that carries plans out."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from aios_lab.allocation import (
    UNLIMITED,
    Demand,
    Lease,
    Node,
    Placement,
    Plan,
    Principal,
    Resources,
    Snapshot,
)
from aios_lab.allocation.placement import RULES

THREAD = Resources(cpu=1000, memory=1024)


def node(threads: int, name: str = "local", gpus: int = 0) -> Node:
    return Node(name, Resources(threads * 1000, threads * 4096, gpus * 1000, gpus * 16_384))


def demand(claim: str, user: str, most: int, **options: object) -> Demand:
    base = Demand(claim, f"cluster/default/{user}", THREAD, 1, most, name=f"{claim}.ipynb")
    return replace(base, **options)  # type: ignore[arg-type]


def carry_out(snapshot: Snapshot, plan: Plan) -> Snapshot:
    """The snapshot after the engine did all of the plan."""
    units: dict[tuple[str, str], int] = {}
    for lease in snapshot.leases:
        units[lease.claim, lease.node] = units.get((lease.claim, lease.node), 0) + lease.units
    for change in plan.grants:
        units[change.claim, change.node] = units.get((change.claim, change.node), 0) + change.units
    for change in plan.shrinks:
        units[change.claim, change.node] -= change.units
    leases = tuple(Lease(claim, name, n) for (claim, name), n in sorted(units.items()) if n)
    return replace(snapshot, leases=leases)


def holdings(snapshot: Snapshot) -> dict[str, int]:
    held = {d.claim: 0 for d in snapshot.demands}
    for lease in snapshot.leases:
        held[lease.claim] += lease.units
    return held


PATHS = [f"cluster/{project}/{user}" for project in ("vision", "text") for user in ("ada", "bob", "cy")]
unit_vectors = st.builds(
    Resources,
    cpu=st.sampled_from([500, 1000, 2000]),
    memory=st.sampled_from([512, 1024, 3000]),
    gpu=st.sampled_from([0, 0, 500, 1000]),
)
some_amounts = st.builds(
    Resources,
    cpu=st.integers(0, 8).map(lambda n: n * 1000),
    memory=st.integers(0, 16).map(lambda n: n * 1024),
    gpu=st.integers(0, 4).map(lambda n: n * 1000),
    gpu_memory=st.just(UNLIMITED),
)


@st.composite
def snapshots(draw: st.DrawFn, nodes: int = 3, claims: int = 6, holding: bool = True) -> Snapshot:
    """Any snapshot that a broker could show: leases never exceed a node."""
    machines = [
        Node(
            f"n{i}",
            draw(
                st.builds(
                    Resources,
                    cpu=st.integers(0, 8_000),
                    memory=st.integers(0, 16_000),
                    gpu=st.sampled_from([0, 1000, 4000]),
                )
            ),
        )
        for i in range(draw(st.integers(1, nodes)))
    ]
    principals = [
        Principal(
            path,
            weight=draw(st.sampled_from([100, 100, 200, 50, 0])),
            quota=replace(draw(some_amounts), gpu_memory=0) if draw(st.booleans()) else Resources(),
            limit=draw(some_amounts) if draw(st.integers(0, 3)) == 0 else None,
            priority=draw(st.sampled_from([0, 0, 1])),
        )
        for path in draw(
            st.lists(st.sampled_from([*PATHS, "cluster/vision", "cluster"]), unique=True, max_size=4)
        )
    ]
    demands = []
    for i in range(draw(st.integers(0, claims))):
        least = draw(st.integers(0, 3))
        demands.append(
            Demand(
                f"s-{i}",
                draw(st.sampled_from(PATHS)),
                draw(unit_vectors),
                least,
                least + draw(st.integers(0, 4)),
                priority=draw(st.sampled_from([0, 0, 1])),
                preemptible=draw(st.integers(0, 4)) > 0,
                submitted=float(draw(st.integers(0, 3))),
                floor=draw(st.sampled_from([0, 0, 0, 1, 2])),
                name=f"{i}.ipynb",
                duration=draw(st.sampled_from([None, 0.5, 2.0, 10.0])),
                started=draw(st.sampled_from([None, 0.0, 4.0])),
            )
        )
    leases = draw(_leases(machines, demands)) if holding else []
    expected = tuple((unit, 1) for unit in draw(st.lists(unit_vectors, max_size=3, unique=True)))
    placement = Placement(draw(st.sampled_from(sorted(RULES))), expected)
    return Snapshot(tuple(machines), tuple(principals), tuple(demands), tuple(leases), 5.0, placement)


@st.composite
def _leases(draw: st.DrawFn, machines: list[Node], demands: list[Demand]) -> list[Lease]:
    leases = []
    free = {machine.name: machine.capacity for machine in machines}
    for wanting in demands:
        for machine in machines:
            units = draw(st.integers(0, 3))
            if units and (wanting.unit * units).fits_in(free[machine.name]):
                leases.append(Lease(wanting.claim, machine.name, units))
                free[machine.name] -= wanting.unit * units
    return leases
