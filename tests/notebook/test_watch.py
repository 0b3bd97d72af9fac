"""Training watched from a real kernel, on a plain Dask cluster: the display, the interrupt, the failure."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel

from aios_lab.notebook.display import RUN_MIME
from aios_lab.wire import Run

SETUP = """
import aios_lab as aios
from distributed import Client
client = Client({address!r})
def steps(ctx, count, pause=0.0):
    import time
    done = 0
    try:
        ctx.progress(total_steps=count)
        for done in range(count):
            ctx.report(loss=1 / (done + 1))
            time.sleep(pause)
    except KeyboardInterrupt:
        pass
    return done + 1
def saves(ctx):
    import time, torch
    ctx.save_model(torch.nn.Linear(2, 2))
    for done in range(10_000):
        ctx.report(loss=1.0)
        time.sleep(0.05)
def broken(ctx):
    if ctx.rank == 1:
        raise ValueError("the seventh image is broken")
    import time
    time.sleep(60)
"""


@dataclass
class Cell:
    status: str = ""
    ename: str = ""
    evalue: str = ""
    traceback: str = ""
    printed: str = ""
    displays: list[dict[str, Any]] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)

    @property
    def last(self) -> Run:
        return Run.model_validate((self.displays + self.updates)[-1][RUN_MIME])


@dataclass
class Kernel:
    manager: KernelManager
    client: BlockingKernelClient

    def run(self, code: str, interrupt_at_step: int | None = None) -> Cell:
        cell, interrupts = Cell(), 0

        def hook(message: dict[str, Any]) -> None:
            nonlocal interrupts
            content, kind = message["content"], message["msg_type"]
            if kind == "stream":
                cell.printed += content["text"]
            elif kind == "display_data":
                cell.displays.append(content["data"])
            elif kind == "update_display_data":
                cell.updates.append(content["data"])
                if interrupt_at_step is not None and cell.last.step >= interrupt_at_step and not interrupts:
                    interrupts += 1
                    self.manager.interrupt_kernel()
            elif kind == "error":
                cell.traceback = "\n".join(content["traceback"])

        reply = self.client.execute_interactive(code, timeout=120, output_hook=hook, allow_stdin=False)[
            "content"
        ]
        cell.status = reply["status"]
        cell.ename, cell.evalue = reply.get("ename", ""), reply.get("evalue", "")
        return cell


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    # Not in the kernel: Jupyter interrupts the whole process group of a kernel.
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def kernel(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    folder: Path = tmp_path_factory.mktemp("runs")
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIOS")}
    manager, client = start_new_kernel(
        kernel_name="python3",
        extra_arguments=["--ext=aios_lab.notebook"],
        env={**env, "AIOS_RUNS": str(folder), "IPYTHONDIR": str(folder)},
    )
    kernel = Kernel(manager, client)
    assert kernel.run(SETUP.replace("{address!r}", repr(cluster.scheduler_address))).status == "ok"
    yield kernel
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_one_display_is_updated_until_the_run_ended(kernel: Kernel) -> None:
    cell = kernel.run("run = aios.train(steps, args=(30,), client=client, pause=0.05); print(run.result())")
    assert (cell.status, cell.printed) == ("ok", "30\n")
    assert len(cell.displays) == 1
    assert 1 <= len(cell.updates) <= 20
    assert (cell.last.state, cell.last.step, cell.last.world_size) == ("finished", 30, 2)
    assert [point.step for point in cell.last.series["loss"]] == list(range(1, 31))
    text = cell.updates[-1]["text/plain"]
    assert "finished on 2 ranks" in text
    assert "100%" in text
    assert "loss 0.033" in text


def test_an_interrupt_stops_the_run_and_keeps_what_it_has(kernel: Kernel) -> None:
    began = time.monotonic()
    cell = kernel.run(
        "run = aios.train(steps, args=(10_000,), client=client, pause=0.05)", interrupt_at_step=3
    )
    assert time.monotonic() - began < 60
    assert (cell.status, cell.ename) == ("error", "Interrupted")
    assert "stopped at step" in cell.traceback
    assert "run.result()" in cell.traceback
    assert "Traceback" not in cell.traceback
    assert cell.last.state == "stopped"
    assert "is kept" not in cell.traceback
    assert kernel.run("import threading; [t.name for t in threading.enumerate()]").status == "ok"


def test_an_interrupt_that_kept_the_model_says_so(kernel: Kernel) -> None:
    cell = kernel.run("run = aios.train(saves, client=client)", interrupt_at_step=3)
    assert (cell.status, cell.ename) == ("error", "Interrupted")
    assert "The model that it saved is kept" in cell.traceback
    assert cell.last.has_model


def test_what_it_returned_on_the_stop_is_its_result(kernel: Kernel) -> None:
    code = "import _thread\nrun = aios.train(steps, args=(10_000,), client=client, pause=0.05, wait=False)\n"
    code += "while run.view().step < 3: __import__('time').sleep(0.05)\n"
    code += "run.cancel(); from aios_lab.notebook.display import watch; watch(run); print(run.result() > 3)"
    cell = kernel.run(code)
    assert cell.status == "ok", cell.traceback
    assert "stopped at step" in cell.printed
    assert cell.printed.endswith("True\n")


def test_a_rank_that_fails_is_the_error_of_the_cell(kernel: Kernel) -> None:
    cell = kernel.run("aios.train(broken, client=client)")
    assert (cell.status, cell.ename) == ("error", "TrainingFailed")
    assert "Rank 1" in cell.traceback
    assert 'raise ValueError("the seventh image is broken")' in cell.traceback
    assert "aios_lab/notebook" not in cell.traceback
    assert cell.last.state == "failed"


def test_detached_runs_leave_the_cell_at_once(kernel: Kernel) -> None:
    cell = kernel.run("run = aios.train(steps, args=(5,), client=client, detach=True); print(run.id)")
    assert cell.displays == []
    assert cell.printed.startswith("r-")
    assert kernel.run("run.wait(30)").status == "ok"
