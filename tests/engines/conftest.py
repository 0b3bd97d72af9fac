"""Engines and forkservers for these tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aios_lab.engines import spawn
from engines.running import Running


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    """Functions of these tests are sent to workers by their names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent.parent), prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("engine"), {"cpus": 8, "memory": "16GB"})
    yield running
    running.stop()


@pytest.fixture
def own_engine(tmp_path: Path) -> Iterator[Running]:
    """One that a test may break."""
    running = Running(tmp_path, {"cpus": 8, "memory": "16GB"})
    yield running
    running.stop()


@pytest.fixture(scope="module")
def forkserver() -> Iterator[None]:
    """A forkserver for this process alone, as ``spawn`` starts it where there is none."""
    yield
    spawn.disconnect()
