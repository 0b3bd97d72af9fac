"""The inventory: found, or declared and then said to be simulated."""

from __future__ import annotations

import os

import psutil
import pytest

from aios_lab.engines.base import EngineError
from aios_lab.engines.local.inventory import declared, measured, visible
from aios_lab.telemetry.gpu import Gpu


def test_the_machine_keeps_a_reserve_of_memory():
    inventory = measured()
    (node,) = inventory.nodes
    assert not inventory.simulated
    assert 0 < node.capacity.cpu <= 1000 * len(os.sched_getaffinity(0))
    assert node.capacity.memory << 20 <= psutil.virtual_memory().total - (1 << 30)
    assert node.capacity.gpu == 1000 * len(inventory.accelerators)


def test_a_declared_inventory_is_simulated():
    inventory = declared({"cpus": 4, "memory": "8GB", "gpus": 2, "gpu_memory": "16GiB"})
    (node,) = inventory.nodes
    assert inventory.simulated
    assert node.capacity.cpu == 4000
    assert node.capacity.memory == 8_000_000_000 >> 20
    assert node.capacity.gpu == 2000
    assert node.capacity.gpu_memory == 2 * (16 << 10)
    assert [gpu.memory for gpu in inventory.accelerators] == [16 << 10] * 2
    assert {gpu.name for gpu in inventory.accelerators} == {"simulated"}


def test_what_is_not_declared_is_as_measured():
    found, (node,) = measured(), declared({"gpus": 1}).nodes
    assert node.capacity.cpu == found.nodes[0].capacity.cpu
    assert abs(node.capacity.memory - found.nodes[0].capacity.memory) <= 1


@pytest.mark.parametrize(
    ("setting", "left"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("2,0", [0, 2]),
        (" 1 , 1", [1]),
        ("GPU-b", [1]),
        ("GPU-c3,GPU-a0", [0, 2]),
        ("1,-1,2", [1]),
        ("9,1", []),
        ("GPU-,1", []),
        ("MIG-b7,1", []),
    ],
)
def test_accelerators_that_the_server_may_not_use_are_not_handed_out(setting: str | None, left: list[int]):
    found = [Gpu(index, "A", uuid, 1 << 30) for index, uuid in enumerate(("GPU-a0", "GPU-b7", "GPU-c3"))]
    assert [gpu.index for gpu in visible(found, setting)] == left


@pytest.mark.parametrize(
    ("amounts", "word"),
    [
        ({"cpu": 4}, "cpus, memory, gpus, gpu_memory"),
        ({"cpus": -1}, "cpus = -1"),
        ({"memory": "lots"}, "memory = 'lots'"),
        ({"memory": "8 parsecs"}, "no amount"),
        ({"gpus": "nan"}, "gpus = 'nan'"),
    ],
)
def test_nonsense_is_named(amounts: dict[str, float | int | str], word: str):
    with pytest.raises(EngineError, match=word):
        declared(amounts)
