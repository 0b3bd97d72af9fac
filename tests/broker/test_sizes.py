"""Amounts as people write them."""

from __future__ import annotations

import pytest

from aios_lab.allocation import Resources
from aios_lab.broker import Refused
from aios_lab.broker.sizes import memory_bytes, thousandths, to_wire
from aios_lab.wire import Amounts


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("2GB", 2_000_000_000),
        ("2GiB", 2 << 30),
        ("512 MiB", 512 << 20),
        ("1.5gb", 1_500_000_000),
        (".5TiB", 1 << 39),
        ("2097152", 1 << 21),
        ("2000000B", 2_000_000),
        (1 << 30, 1 << 30),
    ],
)
def test_memory(written: object, size: int) -> None:
    assert memory_bytes(written) == size


@pytest.mark.parametrize(
    "written",
    [
        "",
        "GB",
        "-2GB",
        "2 apples",
        "nan",
        "inf",
        "1e9",
        "2GB!",
        "²GB",
        0,
        -1,
        float("nan"),
        float("inf"),
        True,
        None,
        "1KB",
    ],
)
def test_what_is_no_memory(written: object) -> None:
    with pytest.raises(Refused) as refused:
        memory_bytes(written)
    assert refused.value.reason == "bad_size"
    assert repr(written) in refused.value.message


@pytest.mark.parametrize("written", [-1, float("nan"), float("inf"), "2", True, None])
def test_what_is_no_number(written: object) -> None:
    with pytest.raises(Refused, match="number of GPUs"):
        thousandths(written, "number of GPUs")


def test_there_and_back() -> None:
    assert thousandths(0.5, "number") == 500
    assert to_wire(Resources(1500, 2048, 1000, 16)) == Amounts(
        cpus=1.5, memory=2_148_000_000, gpus=1, gpu_memory=17_000_000
    )
