"""Claims of a real server without notebooks: their kernels are real processes that only rest.

Such a kernel starts in no time and speaks no protocol, so that a test can have hundreds. What its slice is
asked is asked over REST, as the panel does it.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aios_lab.broker import Ledger
from aios_lab.engines.processes import start_time
from broker.records import living_leases
from holding import HOLD
from live import HTTPProblem, Server, environ_of, until

# Jupyter waits for kernels to end in good order; these do not know how.
CONFIG = "c.KernelManager.shutdown_wait_time = 0.2\nc.MappingKernelManager.kernel_info_timeout = 1\n"


class Resting(Server):
    """A server whose kernels rest, and whose workers begin only when they may.

    While ``hold`` is set a starting worker waits, as one does whose start is slow; with ``fail`` it ends.
    """

    def start(self, wait: bool = True) -> Resting:
        self.config = CONFIG + self.config if CONFIG not in self.config else self.config
        self.env = {
            HOLD: str(self.folder / "hold"),
            "DASK_DISTRIBUTED__WORKER__PRELOAD": '["holding"]',
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")])
            ),
        } | dict(self.env)
        spec = self.folder / "data" / "kernels" / "rest" / "kernel.json"
        spec.parent.mkdir(parents=True, exist_ok=True)
        resting = {"argv": ["sleep", "infinity"], "display_name": "Rest", "language": "none"}
        spec.write_text(json.dumps(resting))
        super().start(wait)
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def hold(self, how: str = "") -> None:
        """From now on workers wait when they start; with "fail" they end."""
        (self.folder / "hold").write_text(how)

    def let_go(self) -> None:
        (self.folder / "hold").unlink(missing_ok=True)

    def claim(self) -> Claim:
        kernel = self.fetch("POST", "api/kernels", {"name": "rest"})["id"]
        found = until("the kernel's claim", lambda: self.slice_of(kernel))
        return Claim(self, kernel, found["id"])

    def slice_of(self, kernel: str) -> dict[str, Any] | None:
        return next((one for one in self.get("aios/api/slices") if one["kernel_id"] == kernel), None)

    def held(self) -> float:
        """CPU threads that the cluster counts as held."""
        return float(self.get("aios/api/cluster")["used"]["cpus"])

    def living_leases(self) -> list[Any]:
        return living_leases(Ledger(self.data_dir / "ledger.db"), time.time())

    def ids(self) -> set[str]:
        """The living slices."""
        return {one["id"] for one in self.get("aios/api/slices")}

    def engine_processes(self) -> list[int]:
        """The forkserver, and all slice hosts and workers, the oldest first."""
        pids = [pid for pid in self.processes() if "AIOS_ENGINE" in environ_of(pid)]
        return sorted(pids, key=lambda pid: (start_time(pid) or 0, pid))


@dataclass
class Claim:
    """One kernel's claim."""

    server: Resting
    kernel: str
    id: str

    def view(self) -> dict[str, Any]:
        found: dict[str, Any] = self.server.get(f"aios/api/slices/{self.id}")
        return found

    def ask(self, workers: int, **fields: Any) -> dict[str, Any]:
        body = {"workers": workers, "cpus": 1, "memory": "500MB"} | fields
        found: dict[str, Any] = self.server.fetch("PATCH", f"aios/api/slices/{self.id}", body)
        return found

    def activate(self) -> None:
        self.server.fetch("POST", f"aios/api/slices/{self.id}/activate")

    def release(self) -> None:
        self.server.fetch("DELETE", f"aios/api/slices/{self.id}")

    def end(self) -> None:
        """Shut its kernel down; one that is gone is fine."""
        try:
            self.server.fetch("DELETE", f"api/kernels/{self.kernel}")
        except HTTPProblem as problem:
            if problem.status != 404:
                raise

    def given_up(self) -> bool:
        """Whether its kernel is gone: Jupyter starts one that keeps dying again five times, no more."""
        try:
            self.server.get(f"api/kernels/{self.kernel}")
        except HTTPProblem as problem:
            return problem.status == 404
        return False

    def reaches(self, state: str, workers: int, seconds: float = 60) -> None:
        """Wait until it is in this state with so many workers."""

        def there() -> bool:
            view = self.view()
            return (view["state"], view["workers"]) == (state, workers)

        until(f"{self.id} is {state} with {workers} workers", there, seconds)

    def kernel_pid(self) -> int:
        """The process of its kernel."""
        for pid in self.server.processes():
            if environ_of(pid).get("AIOS_SLICE") == self.id and "AIOS_ENGINE" not in environ_of(pid):
                return pid
        raise AssertionError(f"slice {self.id} has no kernel")


def send(number: signal.Signals, *pids: int) -> None:
    """Send a signal to processes; those that are gone are fine."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
