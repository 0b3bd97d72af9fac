"""Processes that tell of their job: all is heard, and none stays, however the listening ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aios_lab.engines import spawn
from aios_lab.engines.telling import follow

pytestmark = pytest.mark.usefixtures("forkserver")


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)


def recount(payload: bytes, hear: Callable[[Any], None]) -> int:
    return asyncio.run(follow("targets:recount", payload, hear, longest=1000))


def test_all_that_is_told_is_heard_in_order() -> None:
    heard: list[Any] = []
    assert recount(b"three", heard.append) == 4
    assert heard == [{"said": "one"}, {"said": "two"}, {"said": "three"}]


def test_a_listener_that_fails_ends_the_process() -> None:
    def fail(message: Any) -> None:
        raise KeyError(message["said"])

    with pytest.raises(KeyError, match="one"):
        recount(b"", fail)
    assert spawn.family() == {}


def test_a_message_that_is_too_long_ends_the_process() -> None:
    with pytest.raises(ValueError, match="limit"):
        recount(b"x" * 10_000, lambda message: None)
    assert spawn.family() == {}


def test_a_listener_that_leaves_ends_the_process() -> None:
    async def leave() -> None:
        telling = follow("targets:recount", b"", lambda message: following.cancel(), longest=1000)
        following = asyncio.create_task(telling)
        with pytest.raises(asyncio.CancelledError):
            await following

    asyncio.run(leave())
    assert spawn.family() == {}
