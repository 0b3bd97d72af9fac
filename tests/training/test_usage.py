"""What a rank uses, measured on real processes; energy counters are files, as Linux shows them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aios_lab.training.worker.usage import Meter, packages
from aios_lab.wire import RankUsage

BUSY = """
import subprocess, sys
work = "held = b'x' * 100_000_000; print(1, flush=True)\\nwhile True: pass"
child = subprocess.Popen([sys.executable, "-c", work])
print(2, flush=True)
child.wait()
"""


@pytest.fixture
def busy() -> Iterator[int]:
    """A process whose child holds 100 MB and computes without end; its pid."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY], stdout=subprocess.PIPE, start_new_session=True
    )  # fmt: skip
    assert process.stdout is not None
    for _ in range(2):
        process.stdout.readline()
    try:
        yield process.pid
    finally:
        os.killpg(process.pid, 9)
        process.wait()
        process.stdout.close()


def counter(folder: Path, name: str, microjoules: int) -> Path:
    (folder / name).mkdir(parents=True, exist_ok=True)
    file = folder / name / "energy_uj"
    file.write_text(f"{microjoules}\n")
    return file


def test_a_rank_s_use_is_that_of_all_its_processes(busy: int, tmp_path: Path) -> None:
    meter = Meter(busy, 0, tmp_path)
    meter.measure()
    deadline = time.monotonic() + 60
    while (used := meter.measure())["cpu"] < 5 and time.monotonic() < deadline:
        time.sleep(0.2)  # for the operating system to give the child a turn
    assert used["cpu"] >= 5
    assert used["memory"] > 100_000_000
    assert used["joules"] is None, "nobody measures it"
    assert RankUsage(rank=0, **used).time == pytest.approx(time.time(), abs=60)


def test_energy_is_what_the_packages_counted_meanwhile(tmp_path: Path) -> None:
    first = counter(tmp_path, "intel-rapl:0", 5_000_000)
    second = counter(tmp_path, "intel-rapl:1", 1_000_000)
    counter(tmp_path, "intel-rapl:0:0", 4_000_000)  # a part of the first, which contains it
    meter = Meter(os.getpid(), 0, tmp_path)
    first.write_text("7500000\n")
    second.write_text("1500000\n")
    assert meter.measure()["joules"] == pytest.approx(3.0)
    assert meter.measure()["joules"] == pytest.approx(0.0)
    first.write_text("1000000\n")  # it began anew
    second.write_text("2500000\n")
    assert meter.measure()["joules"] == pytest.approx(1.0)
    assert len(packages(tmp_path)) == 2


def test_only_the_first_rank_of_a_host_counts_the_host_s_energy(tmp_path: Path) -> None:
    counter(tmp_path, "intel-rapl:0", 5_000_000)
    assert Meter(os.getpid(), 1, tmp_path).measure()["joules"] is None


def test_counters_that_may_not_be_read_tell_nothing(tmp_path: Path) -> None:
    counter(tmp_path, "intel-rapl:0", 0).write_text("secret")
    assert Meter(os.getpid(), 0, tmp_path).measure()["joules"] is None


def test_a_process_that_has_ended_uses_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    used = Meter(process.pid, 0, tmp_path).measure()
    assert (used["cpu"], used["memory"]) == (0.0, 0)
