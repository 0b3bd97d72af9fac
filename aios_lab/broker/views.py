"""The broker's state as wire models: what people and programs see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from aios_lab import wire
from aios_lab.allocation import Principal, Resources
from aios_lab.allocation.shares import Tree
from aios_lab.allocation.words import count
from aios_lab.broker.quotas import Quotas, principal_path
from aios_lab.broker.sizes import MIB, to_wire
from aios_lab.broker.slices import Slice
from aios_lab.engines.base import Inventory, SliceInfo
from aios_lab.wire import SliceState

NOT_USED = "Not used yet: it holds nothing until the first aios.client() or training."
GIVEN_BACK = "Given back: it holds nothing until the next aios.client() or training."

RUN_FIRST = "It gets its new size when the run that is training on it ends."

WAITS_FOR_OWNER = "The server that held it ended: it waits some seconds for a sign of its owner."


ASKED = "that is what was asked for."
OTHER_SIZE = "workers of the size that was asked for take their place."


def slice_view(
    one: Slice, mine: bool, workers: int, reason: str, simulated: bool, is_open: bool
) -> wire.Slice:
    """A slice as its owner sees it, or with ``mine=False`` as everybody may: no path, no kernel, no texts.
    ``is_open`` says whether it has a Dask scheduler now."""
    return wire.Slice(
        id=one.id,
        state=one.state,
        dormant=not one.wanted,
        user=one.owner.user,
        project=one.claim.project,
        name=one.owner.name if mine else short_name(one),
        kernel_id=one.owner.kernel_id if mine else None,
        mine=mine,
        unit=to_wire(one.unit if one.held else one.claim.unit),
        workers=workers,
        target=one.target,
        min_workers=one.claim.min,
        max_workers=one.claim.max,
        priority=one.claim.priority,
        reason=reason if mine else "",
        problem=" ".join(filter(None, ("" if one.parked else one.taken, one.problem))) if mine else "",
        parked=one.parked and not one.held,
        created=one.created,
        since=one.since,
        busy=bool(one.pins),
        simulated=simulated,
        dashboard=f"aios/slices/{one.id}/dashboard/status" if mine and is_open else "",
    )


def connection_view(info: SliceInfo) -> wire.Connection:
    """How the slice's own kernel reaches it."""
    keys = info.credentials
    return wire.Connection(
        address=info.address,
        ca=keys.ca,
        cert=keys.cert,
        key=keys.key,
        workers=info.workers,
        devices=sorted(info.devices),
    )


def short_name(one: Slice) -> str:
    """The notebook's name without its folders: what others read when they wait for it."""
    return one.owner.name.rpartition("/")[2] or one.id


def reason_of(one: Slice, planned: str) -> str:
    """Why a slice holds less than it asked for; ``planned`` is what the last decision says of it."""
    if not one.wanted:
        return _sleeping_reason(one)
    if one.parked:
        return one.taken
    if one.pins and (one.target > one.claim.max or one.reshaping):
        return RUN_FIRST
    if one.state == SliceState.GRANTED:
        return planned or "Granted; its workers are starting."
    if one.asks and not one.held:
        return planned or "It has asked for workers, and hears in a moment when it gets them."
    return planned


def _sleeping_reason(one: Slice) -> str:
    if one.problem:
        return one.problem
    if one.state == SliceState.DRAINING:
        return "It is giving back what it holds."
    return GIVEN_BACK if one.asked else NOT_USED


def fenced_words(workers: int, tasks: int, grace: float) -> str:
    """To the owner of a slice in which workers were ended because they did not give way."""
    what = f"{count(workers)} did not give way within {grace:g} s"
    if not tasks:
        return f"{what} and had to be ended."
    them, again = ("task", "it runs") if tasks == 1 else ("tasks", "they run")
    return f"{what} and had to be ended with {tasks} running {them}; {again} again on other workers."


def cluster_view(
    inventory: Inventory,
    quotas: Quotas,
    slices: Iterable[Slice],
    principals: Iterable[Principal],
    recent: Mapping[str, float],
) -> wire.Cluster:
    """The cluster: capacity and what slices hold of it, by node and by principal. ``recent`` has the shares
    that principals had on average lately."""
    living = list(slices)
    whole = inventory.capacity
    tree = Tree(principals, whole)
    used = {node.name: Resources() for node in inventory.nodes}
    for one in living:
        tree.use(principal_path(one.claim.project, one.owner.user), one.unit * one.held)
        for node, units in one.units.items():
            used[node] += one.unit * units
    first = inventory.nodes[0].name if inventory.nodes else ""
    return wire.Cluster(
        simulated=inventory.simulated,
        policy=quotas.policy,
        half_life=quotas.half_life,
        nodes=[
            wire.NodeView(
                name=node.name,
                capacity=to_wire(node.capacity),
                used=to_wire(used[node.name]),
                accelerators=_accelerators(inventory) if node.name == first else [],
            )
            for node in inventory.nodes
        ],
        capacity=to_wire(whole),
        used=to_wire(sum(used.values(), Resources())),
        principals=[_share(tree, p, whole, recent.get(p.path, 0.0)) for p in principals],
    )


def _accelerators(inventory: Inventory) -> list[wire.Accelerator]:
    return [
        wire.Accelerator(index=one.index, name=one.name, uuid=one.uuid, memory=one.memory * MIB)
        for one in inventory.accelerators
    ]


def _share(tree: Tree, principal: Principal, whole: Resources, recent: float) -> wire.PrincipalShare:
    def shown(amounts: Resources | None, there: Callable[[Resources], bool]) -> wire.Amounts | None:
        return to_wire(amounts) if amounts is not None and there(amounts) else None

    limit = principal.limit
    if limit is not None:
        limit = Resources(
            min(limit.cpu, whole.cpu),
            min(limit.memory, whole.memory),
            min(limit.gpu, whole.gpu),
            min(limit.gpu_memory, whole.gpu_memory),
        )
    return wire.PrincipalShare(
        path=principal.path,
        weight=principal.weight,
        share=min(1.0, max(0.0, tree.dominant(principal.path))),
        recent=round(min(1.0, recent), 3),  # or it would be news every second
        quota=shown(principal.quota, lambda amounts: amounts != Resources()),
        limit=shown(limit, lambda _: True),
    )
