"""A server that looks for the broker: it tries again what may pass, and one refusal does not silence it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aios_lab.broker import Refused
from aios_lab.peers import Leading, Peers, listen
from aios_lab.peers.following import TAKEN
from aios_lab.peers.line import Line
from aios_lab.routes import Services
from aios_lab.routes.feed import Feed
from aios_lab.wire import Problem


class Lead:
    """Tries to lead that end as they are told to; the last end is every later one's, too."""

    def __init__(self, *reasons: str) -> None:
        self.tries = 0
        self._reasons = reasons

    async def __call__(self) -> Problem | None:
        reason = self._reasons[min(self.tries, len(self._reasons) - 1)]
        self.tries += 1
        return Problem(message=f"It is {reason}.", reason=reason, hint="Wait.") if reason else None


@asynccontextmanager
async def searching(place: Path, lead: Lead) -> AsyncIterator[tuple[Peers, Services]]:
    services = Services(Feed())
    leading = Leading(services, dict, {"grace": "5.0", "spares": "1"})
    peers = Peers(services, place, lead, leading, lambda *_: None)
    async with asyncio.timeout(60):
        await peers.start()
        yield peers, services
        await peers.stop()


async def test_what_may_pass_is_shown_and_tried_again(tmp_path):
    lead = Lead("ledger_unavailable", "engine_failed", "")
    async with searching(tmp_path / "s", lead) as (_, services):
        assert [problem.reason for problem in services.problems] == ["ledger_unavailable"]
        while services.elsewhere is not None:
            await asyncio.sleep(0.05)
        assert lead.tries == 3


async def test_what_a_person_has_to_mend_ends_the_search(tmp_path):
    lead = Lead("not_started", "")
    async with searching(tmp_path / "s", lead) as (_, services):
        while services.elsewhere is not None:
            await asyncio.sleep(0.05)
        assert [problem.reason for problem in services.problems] == ["not_started"]
        assert lead.tries == 1


async def test_what_the_leader_refuses_costs_that_message_only(tmp_path, caplog):
    heard: asyncio.Queue[Any] = asyncio.Queue()
    refused = set()

    async def serve(verb: str, data: Any) -> Any:
        if verb == "hello":
            return {
                "slices": [],
                "places": {"AIOS_RUNS": "/there"},
                "options": {"grace": "30.0", "spares": "1"},
            }
        if verb in ("change", "report") and verb not in refused:
            refused.add(verb)
            raise Refused(409, "Its disk is full.", "ledger_unavailable", "Make room.")
        heard.put_nowait((verb, data))
        return 3 if verb == "report" else None

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Line(reader, writer, serve).run()

    async with listen(tmp_path / "s", accept), searching(tmp_path / "s", Lead(TAKEN)) as (peers, _):
        assert peers.places == {"AIOS_RUNS": "/there"}
        assert "AIOSLab.grace is 5.0 in this server and 30.0" in caplog.text, "it counts as it is there"
        assert "AIOSLab.spares" not in caplog.text
        peers.change("busy", "s-1", "")
        peers.change("ended", "s-1", "over")
        found = [await heard.get(), await heard.get()]
        assert sorted(found) == [("change", ["ended", "s-1", "over"]), ("report", [])]
        assert "Its disk is full." in caplog.text
        while peers.busy != 3:
            await asyncio.sleep(0.05)


async def test_a_leader_that_says_nothing_is_not_waited_for_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("aios_lab.peers.following.PATIENCE", 0.5)
    came: asyncio.Queue[None] = asyncio.Queue()

    async def serve(verb: str, data: Any) -> Any:
        came.put_nowait(None)
        await asyncio.Event().wait()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Line(reader, writer, serve).run()

    lead = Lead(TAKEN)
    async with listen(tmp_path / "s", accept), searching(tmp_path / "s", lead) as (_, services):
        await came.get()
        await came.get()
        assert [problem.reason for problem in services.problems] == ["leader_silent"]
        assert lead.tries >= 2, "it takes over when that one has ended"
