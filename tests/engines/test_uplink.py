"""What runs in a slice's scheduler speaks with the engine, and with the one that comes after it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from aios_lab.engines.local.succession import ADOPT
from aios_lab.engines.local.uplink import EXTENSION
from aios_lab.engines.processes import await_end
from engines.running import Running
from live import until

INVENTORY = {"cpus": 8, "memory": "16GB"}
TALKS, RESTS = "s-00000001", "s-00000002"


async def begin_to_talk(dask_scheduler: Any) -> None:
    """Say one thing, and note what is answered and what is said to it."""
    uplink = dask_scheduler.extensions[EXTENSION]
    dask_scheduler.heard = []
    uplink.on_order(dask_scheduler.heard.append)

    async def talk() -> None:
        dask_scheduler.heard.append(await uplink.tell({"text": "I am here"}))

    dask_scheduler.talking = asyncio.create_task(talk())


async def say_too_much(dask_scheduler: Any) -> str:
    """What is said to a message whose letters take six bytes each on the line."""
    try:
        await dask_scheduler.extensions[EXTENSION].tell({"text": "\N{CYRILLIC SMALL LETTER YA}" * 1_000_000})
    except ValueError as error:
        return str(error)
    return "nothing"


def heard(dask_scheduler: Any) -> list[Any]:
    return list(dask_scheduler.heard)


def stay(wanted: bool, dask_scheduler: Any) -> None:
    dask_scheduler.extensions[EXTENSION].stay("a run", wanted)


def test_what_is_said_is_answered_by_this_engine_or_the_next(tmp_path: Path) -> None:
    first = Running(tmp_path, INVENTORY, serves="this ledger")
    first.heard.answers = None
    talks = first.scale(TALKS, 1)
    with first.client(talks) as client:
        client.run_on_scheduler(begin_to_talk)
        until("it is heard", lambda: (TALKS, {"text": "I am here"}) in first.heard.told_by)
        first.stop(leave={TALKS})
        second = Running(tmp_path, INVENTORY, serves="this ledger")
        try:
            second.heard.answers = {"well": "done"}
            until("it is answered", lambda: client.run_on_scheduler(heard) == [{"well": "done"}], 30)
            assert second.heard.told_by[0] == (TALKS, {"text": "I am here"})
            second.tell(TALKS, {"please": "stop"})
            second.tell("s-unknown", {"please": "stop"})
            until("it hears", lambda: client.run_on_scheduler(heard)[1:] == [{"please": "stop"}])
        finally:
            second.stop()


def test_a_message_that_is_too_long_is_refused_and_costs_the_slice_nothing(tmp_path: Path) -> None:
    engine = Running(tmp_path, INVENTORY)
    try:
        talks = engine.scale(TALKS, 1)
        with engine.client(talks) as client:
            assert "the line takes 4194304" in str(client.run_on_scheduler(say_too_much))
            client.run_on_scheduler(begin_to_talk)
            until("the next one is answered", lambda: client.run_on_scheduler(heard) == [{}])
            assert engine.heard.told_by == [(TALKS, {"text": "I am here"})]
            assert engine.pids(TALKS) == talks.pids
            assert engine.heard.gone == {}
    finally:
        engine.stop()


def test_a_slice_that_is_to_stay_does_without_an_engine_and_ends_when_it_may(tmp_path: Path) -> None:
    first = Running(tmp_path, INVENTORY, serves="this ledger")
    talks = first.scale(TALKS, 1)
    stays, ends = talks.pids, first.scale(RESTS, 1).pids
    with first.client(talks) as client:
        client.run_on_scheduler(stay, True)
        first.stop(leave={TALKS, RESTS})
        assert await_end(ends, ADOPT + 30) == [], "nobody took it over"
        assert client.submit(sum, [40, 2]).result(30) == 42
        second = Running(tmp_path, INVENTORY, serves="this ledger")
        assert second.engine.survivors() == (TALKS,)
        assert second.pids(TALKS) == stays
        second.stop(leave={TALKS})
        assert client.submit(sum, [40, 3]).result(30) == 43
        client.run_on_scheduler(stay, False)
        assert await_end(stays, ADOPT + 30) == []
