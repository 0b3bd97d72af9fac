"""From what a person asks to a claim that can be met, or to a refusal that says what is possible."""

from __future__ import annotations

from aios_lab.allocation import Principal, Resources
from aios_lab.allocation.room import how_many
from aios_lab.allocation.words import amounts, count
from aios_lab.broker.errors import Refused
from aios_lab.broker.quotas import Quotas, principal_path
from aios_lab.broker.sizes import MIB, bad_size, memory_bytes, thousandths
from aios_lab.broker.slices import Claim
from aios_lab.engines.base import Inventory
from aios_lab.wire import ClaimRequest

LEAST_CPUS, LEAST_MEMORY = 0.1, 128 * MIB  # of a worker, a process of its own: below, many are a fork storm
PRIORITIES = {"low": -1, "normal": 0, "high": 1}
_SMALL = Claim(unit=Resources(cpu=1000, memory=1024), min=1, max=1, project="default")


def make_claim(
    request: ClaimRequest, base: Claim | None, user: str, inventory: Inventory, quotas: Quotas
) -> Claim:
    """The claim that a request makes of the present one; what the request leaves out stays as it is. With
    an empty ``user`` it is the server's own, which may ask in any project.

    Raises:
        Refused: 422 'bad_size', 'no_accelerators', 'too_large', 'over_limit' or 'unknown_project';
            403 'not_a_member'.
    """
    project = quotas.project(request.project or (base.project if base else None), user or None)
    base = base or _SMALL
    least, most = _numbers(request, base)
    claim = Claim(
        unit=_unit(request, base.unit, inventory),
        min=least,
        max=most,
        project=project,
        priority=request.priority or base.priority,
        duration=_duration(request) or base.duration,
        preemptible=base.preemptible if request.preemptible is None else request.preemptible,
    )
    _must_fit(claim, inventory)
    _must_be_allowed(claim, quotas.principals([(claim.project, user)]), principal_path(claim.project, user))
    return claim


def _numbers(request: ClaimRequest, base: Claim) -> tuple[int, int]:
    """Minimum and maximum: 'two workers' means up to two, starting with one."""
    most = request.workers
    least = request.min_workers
    if most is None:
        return (base.min, base.max) if least is None else (least, max(base.max, least))
    if least is not None and least > most:
        raise Refused(
            422,
            f"At least {count(least)} and at most {count(most)} contradict each other.",
            "bad_size",
            "Ask for no more min_workers than workers.",
        )
    return least or 1, most


def _unit(request: ClaimRequest, base: Resources, inventory: Inventory) -> Resources:
    cpu, memory = base.cpu, base.memory
    if request.cpus is not None:
        cpu = thousandths(request.cpus, "number of CPU threads a worker", LEAST_CPUS)
    if request.memory is not None:
        memory = memory_bytes(request.memory, "amount of memory a worker", LEAST_MEMORY) // MIB
    gpu = base.gpu if request.gpus is None else thousandths(request.gpus, "number of GPUs a worker")
    if gpu and not inventory.accelerators:
        raise Refused(
            422,
            f"Each worker was to have {request.gpus or gpu / 1000:g} GPU, and this cluster has none.",
            "no_accelerators",
            "Ask with gpus=0; training runs on CPU threads.",
        )
    if gpu % 1000 and not inventory.simulated:
        raise bad_size("number of GPUs a worker", request.gpus, "This cluster gives whole GPUs: ask for 1.")
    if gpu > 1000 and gpu % 1000:
        raise bad_size(
            "number of GPUs a worker", request.gpus, "Ask for a part of one GPU, or for whole ones."
        )
    smallest = min((one.memory for one in inventory.accelerators), default=0)
    return Resources(cpu, memory, gpu, gpu * smallest // 1000)


def _duration(request: ClaimRequest) -> float | None:
    if request.duration is None:
        return None
    return thousandths(request.duration, "number of seconds", 0.001) / 1000


def _must_fit(claim: Claim, inventory: Inventory) -> None:
    possible = sum(how_many(claim.unit.vector, node.capacity.vector) for node in inventory.nodes)
    if possible >= claim.max:
        return
    each = " each" if claim.max > 1 else ""
    asked = f"{count(claim.max)} with {amounts(claim.unit)}{each}"
    if possible:
        raise Refused(
            422,
            f"{asked}: this is more than the cluster, which has room for {possible} of them in all.",
            "too_large",
            f"Ask for at most {count(possible)} of this size, or for smaller ones.",
        )
    largest = max(inventory.nodes, key=lambda node: (node.capacity.cpu, node.capacity.memory), default=None)
    has = amounts(largest.capacity) if largest else "nothing"
    raise Refused(
        422,
        f"{asked}: no machine of the cluster is that large; the largest has {has}.",
        "too_large",
        f"Ask for at most {has} a worker.",
    )


def _must_be_allowed(claim: Claim, principals: tuple[Principal, ...], path: str) -> None:
    for principal in principals:
        inside = path == principal.path or path.startswith(principal.path + "/")
        if inside and principal.limit is not None and not (claim.unit * claim.min).fits_in(principal.limit):
            name = principal.path.rpartition("/")[2]
            raise Refused(
                422,
                f"{count(claim.min)} with {amounts(claim.unit)} are more than {name} may use at all: "
                f"{amounts(principal.limit)}.",
                "over_limit",
                "Ask for less, or have an administrator raise the limit in the quota file.",
            )
