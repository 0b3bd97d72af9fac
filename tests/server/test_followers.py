"""What another server of the same user may ask of the one that has the broker, said over a real line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aios_lab import __version__
from aios_lab.broker import Refused
from aios_lab.peers import meeting_place
from aios_lab.peers.line import Line, LineCut
from aios_lab.peers.rendezvous import connect

OWNER = {"user": "ada", "project": None, "kernel_id": "k", "name": "far.ipynb"}
ASKED = {"request": {"workers": 2}, "owner": OWNER, "problem": ""}


async def nothing(verb: str, data: Any) -> None:
    """The other server's news do not matter here."""


@asynccontextmanager
async def line(api: Any) -> AsyncIterator[Line]:
    place = meeting_place(api.app._meeting.parent, api.app.folder)
    own = Line(*await connect(place), nothing)
    running = asyncio.create_task(own.run())
    try:
        async with asyncio.timeout(60):
            yield own
    finally:
        own.close()
        await running


def hello(*kernels: tuple[str, str]) -> dict[str, Any]:
    return {"version": __version__, "kernels": [[*kernel, False] for kernel in kernels]}


def asked(path: str, slice_id: str | None = None) -> dict[str, Any]:
    return {
        "method": "GET", "path": path, "ids": {"slice_id": slice_id}, "query": {}, "body": None,
        "user": "ada", "slice_id": slice_id,
    }  # fmt: skip


async def test_it_files_asks_and_ends_as_the_first_does_for_its_own(api):
    async with line(api) as own:
        assert (await own.ask("hello", hello()))["slices"] == []
        slice_id, token = await own.ask("file", ASKED)
        (shown,) = (await api("GET", "aios/api/slices")).body
        assert (shown["id"], shown["user"], shown["name"]) == (slice_id, "ada", "far.ipynb")
        answer = await own.ask("perform", asked("slices/{slice_id}", slice_id))
        assert (answer["status"], answer["content_type"]) == (200, "application/json")
        assert '"far.ipynb"' in answer["body"]
        refused = await api("GET", "aios/api/slices", token=token)
        assert refused.status == 403, "its kernel calls its own server, and no other knows its token"
        await own.ask("change", ["ended", slice_id, "The kernel was shut down."])
        assert (await api("GET", "aios/api/slices")).body == []
        with pytest.raises(Refused) as gone:
            await own.ask("perform", asked("slices/{slice_id}", slice_id))
        assert gone.value.status == 403


async def test_a_line_that_is_cut_costs_nothing_but_a_claim_that_nobody_heard_of(api):
    async with line(api) as own:
        await own.ask("hello", hello())
        kept, token = await own.ask("file", ASKED)
        unheard, _ = await own.ask("file", ASKED)
    assert {one["id"] for one in (await api("GET", "aios/api/slices")).body} == {kept, unheard}
    async with line(api) as own:
        known = await own.ask("hello", hello((kept, token), ("s-0", "of a ledger that is lost")))
        assert known["slices"] == [kept]
        assert [one["id"] for one in (await api("GET", "aios/api/slices")).body] == [kept]
    async with line(api) as own:
        known = await own.ask("hello", hello((kept, "a guess")))
        assert known["slices"] == []


async def test_who_takes_leave_leaves_nothing(api):
    async with line(api) as own:
        await own.ask("hello", hello())
        await own.ask("file", ASKED)
        assert await own.ask("bye") is None
        with pytest.raises((LineCut, Refused)):
            await until_cut(own)
    assert (await api("GET", "aios/api/slices")).body == []


async def test_another_version_is_told_which_one_is_there(api):
    async with line(api) as own:
        with pytest.raises(Refused) as refused:
            await own.ask("hello", {"version": "0.0.1", "kernels": []})
        assert refused.value.reason == "other_version"
        assert "0.0.1" in refused.value.message
        assert __version__ in refused.value.message
        with pytest.raises(Refused):
            await own.ask("file", ASKED)
    assert (await api("GET", "aios/api/slices")).body == []


async def until_cut(line: Line) -> None:
    while True:
        await line.ask("report", [])


async def test_a_server_that_stops_lets_nobody_in_any_more(api):
    async with line(api) as own:
        await own.ask("hello", hello())
        stopping = asyncio.create_task(api.app.stop_extension())
        with pytest.raises(LineCut):
            await until_cut(own)
        try:
            async with line(api) as again:
                with pytest.raises(LineCut):
                    await again.ask("hello", hello())
        except OSError:
            pass  # it has stopped already
        await stopping
    with pytest.raises(OSError, match=r"."):
        await connect(api.app._meeting)
