"""Accelerators' memory that kernels hold: whose it is, and how its owner is asked to free it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from aios_lab.telemetry.gpu import Gpu, attributed, summed
from people import PERSON

pytestmark = pytest.mark.people

GB = 1_000_000_000


@pytest.mark.parametrize(
    ("by_device", "groups", "expected"),
    [
        ({}, {"s-1": [10]}, {}),
        ({(0, 10): 5}, {}, {}),
        ({(0, 10): 5, (1, 10): 7}, {"s-1": [10]}, {"s-1": 12}),
        ({(0, 10): 5, (0, 11): 3, (0, 12): 1}, {"s-1": [10, 11], "s-2": [20]}, {"s-1": 8}),
        ({(0, 10): 5, (1, 20): 2}, {"s-1": [10, 10], "s-2": [20, 21]}, {"s-1": 5, "s-2": 2}),
        ({(0, 10): 0}, {"s-1": [10]}, {}),
    ],
)
def test_memory_is_that_of_the_process_tree_that_holds_it(by_device, groups, expected):
    assert attributed(summed(by_device), groups) == expected


class Card:
    """Hardware whose only device is held by the processes that it is told."""

    def __init__(self) -> None:
        self.held: dict[int, int] = {}

    def gpus(self) -> list[Gpu]:
        return [Gpu(0, "Card", "GPU-0", 24 * GB, sum(self.held.values()))]

    def holders(self) -> dict[int, int]:
        return dict(self.held)


async def ask(api: Any, slice_id: str, **headers: str) -> tuple[int, Any]:
    answer = await api.fetch(
        f"aios/api/slices/{slice_id}/ask-to-free",
        method="POST",
        body="",
        headers=headers,
        raise_error=False,
    )
    return answer.code, json.loads(answer.body)


async def test_the_owner_is_asked_until_the_memory_is_free(api, jp_ws_fetch):
    card = api.app.services.use.hardware = Card()
    kernel_id, slice_id = await api.kernel()
    status, problem = await ask(api, slice_id, **{PERSON: "ben"})
    assert (status, problem["reason"]) == (409, "holds_nothing")
    assert (await ask(api, "s-00000000"))[0] == 404
    _, other = await api.kernel("other.ipynb")
    as_kernel = {"X-AIOS-Token": api.token(other), "Authorization": ""}
    assert (await ask(api, slice_id, **as_kernel))[0] == 403

    manager = api.app.serverapp.kernel_manager.get_kernel(kernel_id)
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    card.held = {manager.provisioner.pid: 12 * GB, stranger.pid: 3 * GB}
    socket = await jp_ws_fetch("aios/api/stream")
    await socket.write_message(json.dumps({"topics": ["slices"]}))

    async def news(told: str, held: int) -> None:
        """The owner's Lab hears of it."""
        async with asyncio.timeout(60):
            while True:
                frame = json.loads(await socket.read_message())
                (one,) = [one for one in frame["data"] or () if one["id"] == slice_id]
                if told in one["asked_to_free"] and one["kernel_gpu_memory"] == held:
                    return

    await news("", 12 * GB)
    status, seen = await ask(api, slice_id, **{PERSON: "ben"})
    assert (status, seen["mine"], seen["kernel_gpu_memory"], seen["asked_to_free"]) == (
        200,
        False,
        12 * GB,
        "",
    )
    await news("ben asks you to free 12 GB of GPU memory that this notebook's kernel holds", 12 * GB)
    card.held = {stranger.pid: 3 * GB}
    await news("", 0)
    assert (await api.slice_of(kernel_id))["asked_to_free"] == ""
    stranger.communicate(b"\n")
