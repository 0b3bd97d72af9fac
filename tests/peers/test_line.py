"""The line between two servers: answers, refusals, its end, and who is let in at all."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aios_lab.broker import Refused
from aios_lab.peers.line import Line, LineCut
from aios_lab.peers.rendezvous import connect, listen, meeting_place, process_of


async def serve(verb: str, data: Any) -> Any:
    """What the other side of these tests does."""
    if verb == "echo":
        return data
    if verb == "refuse":
        raise Refused(422, "It is too large.", "too_large", "Ask for less.")
    if verb == "break":
        raise ValueError("a mistake of ours")
    await asyncio.Event().wait()


@asynccontextmanager
async def line(place: Path) -> AsyncIterator[Line]:
    """A line to a server that serves as above."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert process_of(writer) == os.getpid()
        await Line(reader, writer, serve).run()

    async with listen(place, accept), asyncio.timeout(60):
        own = Line(*await connect(place), serve)
        running = asyncio.create_task(own.run())
        try:
            yield own
        finally:
            own.close()
            await running


async def test_answers_come_to_whom_they_are_for_however_long_another_takes(tmp_path):
    async with line(tmp_path / "s") as own:
        waiting = own.begin("wait")
        large = ["x" * 1000] * 2000
        given = await asyncio.gather(*(own.ask("echo", [n, large]) for n in range(20)))
        assert given == [[n, large] for n in range(20)]
        assert not waiting.done()
        with pytest.raises(TimeoutError):
            await own.ask("wait", timeout=0.01)


async def test_a_refusal_stays_one_and_a_mistake_is_logged_where_it_is(tmp_path, caplog):
    async with line(tmp_path / "s") as own:
        with pytest.raises(Refused) as refused:
            await own.ask("refuse")
        assert (refused.value.status, refused.value.reason) == (422, "too_large")
        with pytest.raises(Refused) as refused:
            await own.ask("break")
        assert refused.value.reason == "server_error"
        assert "a mistake of ours" in caplog.text
        assert await own.ask("echo", 1) == 1


async def test_when_the_line_is_cut_whoever_waits_learns_it(tmp_path):
    async with line(tmp_path / "s") as own:
        asked = [own.begin("wait") for _ in range(3)]
        own.close()
        for answer in asked:
            with pytest.raises(LineCut):
                await answer
        with pytest.raises(LineCut):
            await own.ask("echo", 1)


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\xff\xff", b"\0\0\0\2{]", b"\0\0\0\2[]", b"\0\0"]
)
async def test_who_speaks_another_language_is_sent_away(tmp_path, said):
    ended = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Line(reader, writer, serve).run()
        ended.set()

    async with listen(tmp_path / "s", accept), asyncio.timeout(60):
        reader, writer = await connect(tmp_path / "s")
        writer.write(said)
        writer.write_eof()
        assert await reader.read() == b""
        await ended.wait()
        writer.close()


async def test_it_is_found_however_deep_the_folder_and_whatever_a_dead_server_left(tmp_path):
    runtime = tmp_path / ("deep" * 30)
    place = meeting_place(runtime, tmp_path / "data")
    assert place == meeting_place(runtime, tmp_path / "elsewhere" / ".." / "data")
    assert place != meeting_place(runtime, tmp_path / "other")
    assert len(os.fsencode(place)) > 107, "more than the name of a socket may have"
    for _ in range(2):
        async with line(place) as own:
            assert await own.ask("echo", "here") == "here"
            assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert not place.exists()
        with pytest.raises(OSError, match=r"."):
            await connect(place)
        with socket.socket(socket.AF_UNIX) as left, tempfile.TemporaryDirectory() as short:
            left.bind(f"{short}/s")
            os.rename(f"{short}/s", place)
        with pytest.raises(ConnectionRefusedError):
            await connect(place)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")
async def test_another_user_is_sent_away_even_if_the_socket_lets_them_in():
    heard: asyncio.Queue[int | None] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(process_of(writer))
        writer.close()

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "s"
        os.chmod(folder, 0o755)
        async with listen(place, accept):
            assert await asyncio.to_thread(as_another_user, place) == errno.EACCES
            place.chmod(0o666)
            assert await asyncio.to_thread(as_another_user, place) == 0
            assert await asyncio.wait_for(heard.get(), 30) is None


def as_another_user(place: Path) -> int:
    """Connect and wait to be sent away; the number of the error, 0 without one."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        os.setuid(65534)
        with socket.socket(socket.AF_UNIX) as own:
            own.connect(str(place))
            own.recv(1)
    except OSError as error:
        os._exit(error.errno or 1)
    finally:
        os._exit(0)
