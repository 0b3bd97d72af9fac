"""Kernel start and end become a claim's beginning and end. The kernel itself runs as it always did."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from aios_lab.credentials import CREDENTIALS

EXTENSION = "aios_lab.notebook"


VARIABLES = (
    "AIOS_URL",
    "AIOS_TOKEN",
    "AIOS_SLICE",
    "AIOS_MLFLOW_URI",
    "AIOS_ARTIFACTS",
    "AIOS_RUNS",
    "AIOS_CA",
    "AIOS_DEVICES",
    "AIOS_PROBLEM",
)


class NoSlice(Exception):
    """A kernel has to start without a slice; the message says why, and what to do."""


class Claims(Protocol):
    """What a kernel's life needs of the server. All of it works, and does nothing, with a closed broker."""

    @property
    def kept(self) -> Collection[str]:
        """Credentials of the server that its administrator wants kernels to have."""

    async def file(self, kernel_id: str, notebook: str | None, spec: Mapping[str, Any]) -> str:
        """File the kernel's claim and return its slice id. Raises NoSlice when nobody can take it."""

    def living(self, slice_id: str) -> bool: ...

    def environment(self, slice_id: str) -> dict[str, str]:
        """The AIOS_* variables of the slice's kernel."""

    def executing(self, slice_id: str, busy: bool) -> None:
        """The kernel begins to run something, or has done all of it."""

    def restarted(self, slice_id: str) -> None: ...

    def crashed(self, slice_id: str) -> None: ...

    def ended(self, slice_id: str, why: str) -> None: ...


class AIOSProvisioner(LocalProvisioner):
    """A local kernel with a claim of its own.

    ``claims`` is set by the server extension. Without it (nbclient, the console) kernels are plain.
    The object lives as long as the kernel's id: restarts, also automatic ones, come back to ``pre_launch``.
    """

    claims: ClassVar[Claims | None] = None

    _slice_id: str | None = None
    _watching_dead = False
    _death: int | None = None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        kwargs = await super().pre_launch(**kwargs)
        env = kwargs["env"]
        for name in VARIABLES:  # of a kernel that this server itself was started from
            env.pop(name, None)
        claims = self.claims
        if claims is None:
            return kwargs
        for name in CREDENTIALS:  # a kernel is for its user's code, which must not become the server
            if name not in claims.kept:
                env.pop(name, None)
        kwargs["cmd"] = with_extension(kwargs["cmd"])
        try:
            env.update(await self._claim(claims, env.get("JPY_SESSION_NAME")))
        except NoSlice as why:
            self._slice_id = None
            env["AIOS_PROBLEM"] = str(why)
        except Exception:
            # Whatever is wrong with us, the user's kernel starts.
            self.log.exception("AIOS Lab could not give kernel %s a slice", self.kernel_id)
            self._slice_id = None
            env["AIOS_PROBLEM"] = "AIOS Lab could not give this kernel a slice; the server's log says why."
        return kwargs

    async def _claim(self, claims: Claims, notebook: str | None) -> dict[str, str]:
        """A restart keeps the claim it has, when nothing ended it in between."""
        if self._slice_id is None or not claims.living(self._slice_id):
            metadata = self.kernel_spec.metadata if self.kernel_spec else {}
            self._slice_id = await claims.file(self.kernel_id, notebook, metadata)
        return claims.environment(self._slice_id)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        try:
            info = await super().launch_kernel(cmd, **kwargs)
        except BaseException:
            # Nobody calls cleanup() for a kernel that never started.
            self._end("The kernel did not start.")
            raise
        self._watch_process()
        return info

    async def post_launch(self, **kwargs: Any) -> None:
        await super().post_launch(**kwargs)
        if not self._watching_dead and self.parent is not None:
            # At the restart limit the kernel is left dead and cleanup(restart=False) is never called.
            self.parent.add_restart_callback(self._restart_limit, "dead")
            self._watching_dead = True
            if self.parent.has_trait("execution_state"):  # a server's kernel
                self.parent.observe(self._execution_state_changed, "execution_state")

    async def poll(self) -> int | None:
        status = await super().poll()
        if status is not None and self.process is not None:
            self._crashed()
        return status

    async def cleanup(self, restart: bool = False) -> None:
        self._unwatch_process()
        if restart:
            if self._slice_id is not None and self.claims is not None:
                self.claims.restarted(self._slice_id)
        else:
            self._end("The kernel was shut down.")
        await super().cleanup(restart=restart)

    def _execution_state_changed(self, change: Mapping[str, Any]) -> None:
        if self._slice_id is not None and self.claims is not None:
            self.claims.executing(self._slice_id, busy=change["new"] != "idle")

    def _restart_limit(self) -> None:
        self._end("The kernel died again and again; Jupyter gave up restarting it.")

    def _end(self, why: str) -> None:
        slice_id, self._slice_id = self._slice_id, None
        if slice_id is not None and self.claims is not None:
            self.claims.ended(slice_id, why)

    def _crashed(self) -> None:
        """The process is gone though nobody asked for it: what the slice holds is free again at once, and a
        kernel that Jupyter restarts finds its claim asleep."""
        self._unwatch_process()
        expected = self.parent is not None and self.parent.shutting_down
        if not expected and self._slice_id is not None and self.claims is not None:
            self.claims.crashed(self._slice_id)

    def _watch_process(self) -> None:
        """Learn of the process's end when it happens: poll() is asked every 3 s only, and by nobody where
        automatic restarts are off."""
        if self._slice_id is None or self.pid is None or not hasattr(os, "pidfd_open"):
            return
        self._unwatch_process()
        try:
            self._death = os.pidfd_open(self.pid)
        except OSError:  # no such call in this kernel or sandbox: poll() has to do
            return
        asyncio.get_running_loop().add_reader(self._death, self._crashed)

    def _unwatch_process(self) -> None:
        if self._death is not None:
            asyncio.get_running_loop().remove_reader(self._death)
            os.close(self._death)
            self._death = None


def with_extension(cmd: list[str]) -> list[str]:
    """Load our IPython extension beside those of the user's own configuration, where the kernel is an IPython
    kernel whose Python has this package."""
    is_ipython = "-m" in cmd and cmd[cmd.index("-m") + 1 :][:1] in (["ipykernel_launcher"], ["ipykernel"])
    if not is_ipython or not _has_package(Path(cmd[0])):
        return cmd
    return [*cmd, f"--ext={EXTENSION}"]


def _has_package(python: Path) -> bool:
    if str(python) == sys.executable:
        return True
    site = python.parent.parent / "lib"
    return any(site.glob("python3*/site-packages/aios_lab*"))
