"""A server that keeps a spare: who uses a kernel gets it, and nothing of it outlives the server."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from live import Server, environ_of, serving, until

CONFIG = "c.AIOSLab.inventory = {'cpus': 4, 'memory': '8GB'}\nc.AIOSLab.spares = 1\n"
USE = "import aios_lab as aios; print(sorted(aios.client().run(__import__('os').getpid).values()))"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path, config=CONFIG) as running:
        yield running


def forked(server: Server) -> set[int]:
    """All that the forkserver, the first process with its mark, has started: spares and slices."""
    engine = {pid for pid in server.processes() if "AIOS_ENGINE" in environ_of(pid)}
    return engine - {min(engine, default=0)}


def samples(server: Server) -> dict[str, float]:
    lines = (line.split() for line in server.text("aios/api/metrics").splitlines())
    return {parts[0]: float(parts[1]) for parts in lines if parts and parts[0].startswith("aios_spare")}


def test_a_kernel_gets_the_spare_and_ends_it(server: Server):
    until("a spare is there", lambda: samples(server)['aios_spares{kind="slice"}'] == 1, seconds=60)
    first = forked(server)
    kernel = server.kernel()
    workers = set(eval(kernel.run(USE)))
    assert workers < first
    assert samples(server)['aios_spare_hits_total{kind="slice"}'] == 1
    server.fetch("DELETE", f"api/kernels/{kernel.id}")
    until("its processes are gone", lambda: not first & set(server.processes()))
    until("another spare is there", lambda: forked(server), seconds=60)


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path, config=CONFIG + "c.AIOSLab.spare_processes = 2\n") as running:
        yield running


SCRIPT = """
import threading
import torch.distributed as dist
dist.init_process_group("gloo")
print("threads", sorted(t.name for t in threading.enumerate()))
"""


def test_ranks_are_taken_from_the_processes_that_are_ready(ready: Server):
    """They have been slices for a moment: what is left of that must not keep a script from its end."""
    kernel = ready.kernel()
    kernel.run("import aios_lab as aios; aios.request(workers=2, memory='500MB'); aios.client()", timeout=120)
    kernel.run("aios.client().wait_for_workers(2, timeout=120)", timeout=150)
    until("two are ready", lambda: samples(ready)['aios_spares{kind="process"}'] == 2, seconds=120)
    before = samples(ready)['aios_spare_hits_total{kind="process"}']
    kernel.run(f"aios.train(script={SCRIPT!r}, workers=2).wait(120)", timeout=150)
    assert samples(ready)['aios_spare_hits_total{kind="process"}'] == before + 2


def test_killing_the_server_ends_its_spare(server: Server):
    until("a spare is there", lambda: samples(server)['aios_spares{kind="slice"}'] == 1, seconds=60)
    assert len(forked(server)) == 2, "a host and a worker"
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGKILL)
    until("nothing is left", lambda: not forked(server))
