"""The look at what tells nobody of itself, and the list of models that all clients share."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import ItemsView, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from aios_lab.models.registry import Registry
from aios_lab.routes.catalogue import Catalogue
from aios_lab.routes.feed import Feed
from aios_lab.routes.use import Use


@dataclass(eq=False)
class Marks:
    topics: frozenset[str]
    marked: list[str] = field(default_factory=list)

    def mark(self, topic: str) -> None:
        self.marked.append(topic)


async def reached(marks: Marks, topic: str, times: int) -> None:
    async with asyncio.timeout(5):
        while marks.marked.count(topic) < times:
            await asyncio.sleep(0.005)


async def test_one_failed_look_is_logged_once_and_the_next_ones_come(
    caplog: pytest.LogCaptureFixture,
) -> None:
    looks = {"use": 0, "models": 0}

    async def measure() -> None:
        looks["use"] += 1
        if looks["use"] < 4:
            raise RuntimeError("no use today")

    async def stamp() -> int:
        looks["models"] += 1
        if 1 < looks["models"] < 5:
            raise OSError("no file today")
        return looks["models"]

    feed, marks = Feed(period=0.01), Marks(frozenset({"slices", "models"}))
    feed.look(measure, {"models": stamp})
    with caplog.at_level(logging.ERROR):
        feed.watch(marks)
        await reached(marks, "models", 3)
        await reached(marks, "slices", 6)
    feed.close()
    assert sorted(str(one.exc_info[1]) for one in caplog.records if one.exc_info) == [
        "no file today",
        "no use today",
    ]


def test_models_are_read_again_when_a_model_changed_and_not_when_a_run_did(tmp_path: Path) -> None:
    registry = Registry(f"sqlite:///{tmp_path}/odd name.db", tmp_path / "models")
    catalogue = Catalogue(registry)
    assert registry.stamp() is None
    assert catalogue.list() == []
    assert registry.stamp() is not None
    first = catalogue.list()
    client = MlflowClient(tracking_uri=registry.store.uri)
    run = client.create_run("0").info.run_id
    for step in range(3):
        client.log_metric(run, "loss", 1.0, step=step)
        assert catalogue.list() is first
    other = Registry(registry.store.uri, tmp_path / "models")  # as a kernel's
    other.register(torch.nn.Linear(2, 1), "m")
    second = catalogue.list()
    assert [model.name for model in second] == ["m"]
    other.register(torch.nn.Linear(2, 1), "m")
    assert len(catalogue.list()[0].versions) == 2
    assert catalogue.list() is catalogue.list()


class Slow(dict[str, Sequence[int]]):
    """Processes that are slow to look at; they know how many threads do."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Semaphore(0), threading.Event()
        self.inside = self.most = 0

    def items(self) -> ItemsView[str, Sequence[int]]:  # the thread reads it
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.begun.release()
        assert self.go_on.wait(20)
        self.inside -= 1
        return super().items()


async def test_a_look_at_use_keeps_its_turn_when_nobody_waits_for_it_any_more() -> None:
    processes = Slow()
    use = Use(lambda: processes, dict)
    left = asyncio.create_task(use.measure())
    assert await asyncio.to_thread(processes.begun.acquire, timeout=20)
    left.cancel()
    await asyncio.wait([left])
    assert left.cancelled()
    following = asyncio.create_task(use.measure())
    assert not await asyncio.to_thread(processes.begun.acquire, timeout=0.2)
    processes.go_on.set()
    await following
    assert processes.most == 1
    assert use.age < 20
