"""Between a kernel's life and the broker: its request, its owner, its environment.

Nothing here may keep a kernel from starting: what is wrong with a request shows in its slice, and with a
closed broker kernels start without one.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from jupyter_server import CallContext
from pydantic import ValidationError

from aios_lab.broker import Owner
from aios_lab.broker.errors import Refused
from aios_lab.provisioner import NoSlice
from aios_lab.routes.base import sentence
from aios_lab.routes.call import person, system_user
from aios_lab.routes.services import Kernel, Services
from aios_lab.wire import ClaimRequest

log = logging.getLogger("aios_lab")

START_PATIENCE = (
    10.0  # seconds a kernel that starts together with the server waits for the broker to be there
)


Change = Literal["busy", "quiet", "restarted", "crashed", "ended"]


class Keeper(Protocol):
    """Where the claims of kernels are kept: at this server's broker, or at that of another."""

    async def file(self, request: ClaimRequest, owner: Owner, problem: str) -> tuple[str, str]:
        """File a claim; its slice id and the kernel's token. Raises: Refused."""

    def change(self, what: Change, slice_id: str, why: str) -> None:
        """Something happened to the kernel; with the last three, runs of its old process are over."""


class OwnBroker:
    """Keeps claims at the broker that is in this server; a closed one has given everything back already."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def file(self, request: ClaimRequest, owner: Owner, problem: str) -> tuple[str, str]:
        broker = self._services.broker
        slice_id = broker.file(request, owner, problem)
        return slice_id, broker.token(slice_id)

    def change(self, what: Change, slice_id: str, why: str) -> None:
        if not self._services.ready or not self._services.broker.living(slice_id):
            return
        broker = self._services.broker
        if what in ("restarted", "crashed", "ended"):
            self._services.runs.end_of_slice(slice_id, why, spare=lambda run: run.detached)
        try:
            if what in ("busy", "quiet"):
                broker.executing(slice_id, what == "busy")
            elif what == "restarted":
                broker.recycle(slice_id)
            elif what == "crashed":
                broker.crashed(slice_id, why)
            else:
                broker.end(slice_id, why)
        except Refused as refused:  # the kernel's own end or restart goes on
            log.warning("Slice %s: %s %s", slice_id, refused.message, refused.hint)


class KernelClaims:
    """Implements ``provisioner.Claims``. ``environment`` gives what is the same for all kernels; ``started``
    ends when it is known where the broker is, or that there is none; ``kept`` as in ``Claims``."""

    def __init__(
        self,
        services: Services,
        keeper: Keeper,
        root: Path,
        environment: Callable[[], Mapping[str, str]],
        started: Callable[[], Awaitable[object]],
        kept: Collection[str] = (),
    ) -> None:
        self._services = services
        self._keeper = keeper
        self._root = root
        self._environment = environment
        self._started = started
        self.kept = frozenset(kept)

    async def file(self, kernel_id: str, notebook: str | None, spec: Mapping[str, Any]) -> str:
        try:
            await asyncio.wait_for(self._started(), START_PATIENCE)
            path = self._root / notebook if notebook else None
            request, problem = await asyncio.to_thread(requested, path, spec)
            name = self._name(path, kernel_id)
            owner = Owner(user=_requester(), project=request.project, kernel_id=kernel_id, name=name)
            slice_id, token = await self._keeper.file(request, owner, problem)
        except TimeoutError:
            raise NoSlice("The kernel started before AIOS Lab did. Restart the kernel.") from None
        except Refused as refused:
            log.warning("Kernel %s starts without a slice: %s", kernel_id, refused.message)
            raise NoSlice(f"{refused.message} {refused.hint}") from refused
        self._services.kernels[slice_id] = Kernel(owner, token)
        return slice_id

    def _name(self, path: Path | None, kernel_id: str) -> str:
        if path is None:
            return f"kernel {kernel_id[:8]}"
        return str(path.relative_to(self._root)) if path.is_relative_to(self._root) else path.name

    def living(self, slice_id: str) -> bool:
        services = self._services
        if slice_id not in services.kernels:
            return False
        return services.elsewhere is not None or (services.ready and services.broker.living(slice_id))

    def environment(self, slice_id: str) -> dict[str, str]:
        gpus = device_variables(self._services)
        token = self._services.kernels[slice_id].token
        return {**self._environment(), **gpus, "AIOS_SLICE": slice_id, "AIOS_TOKEN": token}

    def executing(self, slice_id: str, busy: bool) -> None:
        if (kernel := self._services.kernels.get(slice_id)) is not None:
            kernel.busy = busy
            self._keeper.change("busy" if busy else "quiet", slice_id, "")

    def restarted(self, slice_id: str) -> None:
        self._keeper.change("restarted", slice_id, "The kernel was restarted.")

    def crashed(self, slice_id: str) -> None:
        self._keeper.change("crashed", slice_id, "The kernel died.")

    def ended(self, slice_id: str, why: str) -> None:
        self._services.kernels.pop(slice_id, None)
        self._keeper.change("ended", slice_id, why)


def device_variables(services: Services) -> dict[str, str]:
    """``hidden_devices`` where there are accelerators, real ones; nothing where the broker is elsewhere: its
    server says it."""
    if not services.ready:
        return {}
    cluster = services.broker.cluster()
    real = not cluster.simulated and any(node.accelerators for node in cluster.nodes)
    return hidden_devices() if real else {}


def hidden_devices() -> dict[str, str]:
    """The variables of a process that sees no GPU until ``aios.client()`` shows it those of its slice."""
    return {
        "AIOS_DEVICES": "",
        "CUDA_VISIBLE_DEVICES": "",
        # Devices are numbered as NVML does; CUDA by itself puts the fastest first.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        # torch.cuda.is_available() would initialise CUDA, which never looks at these variables again.
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    }


def requested(notebook: Path | None, spec: Mapping[str, Any]) -> tuple[ClaimRequest, str]:
    """What the notebook's metadata asks for, on top of what the kernelspec's does, and what is wrong with it.

    Both write it as ``{"aios": {"resources": {...}}}`` with the fields of ``ClaimRequest``.
    """
    asked: dict[str, Any] = {}
    problems = []
    for source, metadata in (("kernelspec", spec), ("notebook", _metadata(notebook))):
        resources, problem = _resources(metadata)
        asked |= resources
        if problem:
            problems.append(f"The {source} asks for what cannot be granted: {problem}")
    return ClaimRequest.model_validate(asked), " ".join(problems)


def _resources(metadata: Any) -> tuple[dict[str, Any], str]:
    aios = metadata.get("aios") if isinstance(metadata, Mapping) else None
    if aios is None:
        return {}, ""
    if not isinstance(aios, Mapping) or not isinstance(aios.get("resources", {}), Mapping):
        return {}, 'its "aios" metadata is not of the form {"resources": {"workers": 2}}.'
    try:
        request = ClaimRequest.model_validate(dict(aios.get("resources", {})))
    except ValidationError as error:
        return {}, sentence(error)
    return request.model_dump(exclude_none=True), ""


def _metadata(notebook: Path | None) -> Any:
    if notebook is None or notebook.suffix != ".ipynb":
        return {}
    try:
        content = json.loads(notebook.read_bytes())
    except (OSError, ValueError, RecursionError):  # not saved yet, or none of Jupyter's: it asks for nothing
        return {}
    return content.get("metadata", {}) if isinstance(content, Mapping) else {}


def _requester() -> str:
    """Whoever's request starts this kernel; the server's own user where no request does."""
    handler = CallContext.get(CallContext.JUPYTER_HANDLER)
    if handler is None or handler.current_user is None:
        return system_user()
    return person(handler.identity_provider, handler.current_user)
