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
from typing import Any

from jupyter_server import CallContext
from pydantic import ValidationError

from aios_lab.broker import Owner
from aios_lab.broker.errors import Refused
from aios_lab.provisioner import NoSlice
from aios_lab.routes.base import sentence
from aios_lab.routes.call import person, system_user
from aios_lab.routes.services import Services
from aios_lab.wire import ClaimRequest

log = logging.getLogger("aios_lab")

START_PATIENCE = (
    10.0  # seconds a kernel that starts together with the server waits for the broker to be there
)


class KernelClaims:
    """Implements ``provisioner.Claims``. ``environment`` gives what is the same for all kernels; ``started``
    ends when the broker is there, or has failed; ``kept`` as in ``Claims``."""

    def __init__(
        self,
        services: Services,
        root: Path,
        environment: Callable[[], Mapping[str, str]],
        started: Callable[[], Awaitable[object]],
        kept: Collection[str] = (),
    ) -> None:
        self._services = services
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
            return self._services.broker.file(request, owner, problem)
        except TimeoutError:
            raise NoSlice("The kernel started before AIOS Lab did. Restart the kernel.") from None
        except Refused as refused:
            log.warning("Kernel %s starts without a slice: %s", kernel_id, refused.message)
            raise NoSlice(f"{refused.message} {refused.hint}") from refused

    def _name(self, path: Path | None, kernel_id: str) -> str:
        if path is None:
            return f"kernel {kernel_id[:8]}"
        return str(path.relative_to(self._root)) if path.is_relative_to(self._root) else path.name

    def living(self, slice_id: str) -> bool:
        return self._services.ready and self._services.broker.living(slice_id)

    def environment(self, slice_id: str) -> dict[str, str]:
        token = self._services.broker.token(slice_id)
        return {**self._environment(), "AIOS_SLICE": slice_id, "AIOS_TOKEN": token}

    def restarted(self, slice_id: str) -> None:
        self._tell(slice_id, lambda: self._services.broker.recycle(slice_id), "The kernel was restarted.")

    def crashed(self, slice_id: str) -> None:
        why = "The kernel died."
        self._tell(slice_id, lambda: self._services.broker.crashed(slice_id, why), why)

    def ended(self, slice_id: str, why: str) -> None:
        self._tell(slice_id, lambda: self._services.broker.end(slice_id, why), why)

    def _tell(self, slice_id: str, tell: Callable[[], object], why: str) -> None:
        """Runs of the old process are over in each case. A broker that stopped before its kernels has given
        everything back already."""
        if not self.living(slice_id):
            return
        self._services.runs.end_of_slice(slice_id, why)
        try:
            tell()
        except Refused as refused:  # the kernel's own end or restart goes on
            log.warning("Slice %s: %s %s", slice_id, refused.message, refused.hint)


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
