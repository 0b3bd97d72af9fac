"""Use of process trees: attributed to the right group, and gone with the processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from aios_lab.telemetry.gpu import gpus, links, numa_node, numa_nodes
from aios_lab.telemetry.sampler import Sampler
from live import until

_BUSY = """
import subprocess, sys
kept = bytearray(b"x") * (200 << 20)
child = subprocess.Popen([sys.executable, "-c", "print('ready', flush=True)\\nwhile True: pass"])
child.wait()
"""


@contextmanager
def running(code: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            for child in psutil.Process(process.pid).children():
                child.kill()
            process.kill()


def test_a_tree_is_charged_with_its_children():
    sampler = Sampler()
    quiet = "import sys\nprint('ready', flush=True)\nsys.stdin.read()"
    with running(_BUSY) as busy, running(quiet) as idle:
        groups = {"busy": [busy.pid], "idle": [idle.pid], "gone": [2**22 + 1]}
        first = sampler.sample(groups)
        assert first["busy"].cpus == 0
        assert first["busy"].memory > 200 << 20
        assert first["idle"].memory < 100 << 20
        assert (first["gone"].cpus, first["gone"].memory) == (0, 0)
        until("the busy one is seen", lambda: sampler.sample(groups)["busy"].cpus > 0)
        assert sampler.sample(groups)["idle"].cpus < 0.5
    ended = sampler.sample({"busy": [busy.pid]})
    assert (ended["busy"].cpus, ended["busy"].memory) == (0, 0)


def test_accelerators_are_listed_in_order_and_absent_ones_are_no_error():
    found = gpus()
    assert [gpu.index for gpu in found] == list(range(len(found)))
    assert all(gpu.memory > 0 for gpu in found)


@pytest.mark.parametrize(("says", "node"), [("1\n", 1), ("0\n", 0), ("-1\n", None), ("", None), (None, None)])
def test_the_numa_node_of_a_device_is_what_linux_says(tmp_path: Path, says: str | None, node: int | None):
    device = tmp_path / "0000:c1:00.0"
    device.mkdir()
    if says is not None:
        (device / "numa_node").write_text(says)
    assert numa_node("00000000:C1:00.0", tmp_path) == node


def test_links_and_nodes_are_of_devices_that_are_there():
    """On a machine without accelerators, of none."""
    known = {gpu.index for gpu in gpus()}
    assert set(links()) == known
    assert set(numa_nodes()) <= known
    assert all(set(others) <= known - {one} for one, others in links().items())
