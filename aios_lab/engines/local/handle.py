"""The engine's side of one slice: the line to its host, and what the host last said."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import logging
import shutil
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from aios_lab.engines import spawn
from aios_lab.engines.base import Credentials, EngineError, SliceInfo
from aios_lab.engines.local import orders
from aios_lab.engines.local.launch import environment
from aios_lab.engines.local.warm import Warm
from aios_lab.engines.processes import await_end, said

log = logging.getLogger(__name__)

_LEAVE = 3.0  # seconds a host may take to end its slice in good order
_GREET = 30.0  # seconds a host may take to answer a new engine: it may be busy with a large graph
_DIE = 10.0  # seconds that killed processes may take to give everything back


class HandleOwner(Protocol):
    def handle_changed(self, handle: SliceHandle) -> None:
        """Its number of workers did."""

    def handle_computing(self, handle: SliceHandle) -> None:
        """Tasks run or wait where there were none."""

    def handle_fenced(self, handle: SliceHandle, workers: int, tasks: int) -> None:
        """Workers did not end their tasks in time, and were ended."""

    def handle_troubled(self, handle: SliceHandle, what: str) -> None:
        """Something went wrong in the slice, which goes on."""

    def handle_told(
        self, handle: SliceHandle, message: Mapping[str, Any], answer: Callable[[Mapping[str, Any]], None]
    ) -> None:
        """Something that runs in its scheduler's process says this, until it is answered."""

    def handle_lost(self, handle: SliceHandle, why: str) -> None:
        """It ended without ``close``."""


class SliceHandle:
    """A slice host at work, which tells its owner what happens by itself."""

    def __init__(self, order: orders.Open, warm: Warm, owner: HandleOwner) -> None:
        self.slice_id = order.slice_id
        self.credentials: Credentials = order.credentials
        self.report = orders.Report()
        self.shape: orders.Shape | None = None
        self.ended = asyncio.Event()
        self._order = order
        self._warm = warm
        self._owner = owner
        self._closing = asyncio.Event()
        self._opening: asyncio.Task[None] | None = None
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._ids = itertools.count(time.monotonic_ns())  # an earlier engine's were all before these
        self._quiet_since = time.monotonic()
        self._ready = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self._has_dashboard = False
        self._missed: list[bytes] = []

    @classmethod
    async def inherit(
        cls, child: spawn.Child, line: socket.socket, warm: Warm, owner: HandleOwner
    ) -> SliceHandle | None:
        """The slice of a host that an earlier engine started; one that does not answer is ended: None."""
        reader, writer = await asyncio.open_connection(sock=line, limit=orders.LONGEST)
        missed: list[bytes] = []
        try:
            async with asyncio.timeout(_GREET):
                writer.write(b"\n" + orders.dump({"op": "hello"}))  # behind what may be half an order
                while (hello := orders.load_hello(heard := await reader.readline())) is None:
                    if reader.at_eof():
                        raise ConnectionError("it has ended")
                    missed.append(heard)
        except (ConnectionError, TimeoutError, ValueError) as error:
            log.error("process %d, a slice host, does not answer and is ended: %r", child.pid, error)
            child.kill()
            await child.wait(_DIE)
            writer.close()
            return None
        handle = cls(hello.open, warm, owner)
        handle.report, handle.shape = hello.report, hello.shape
        handle._missed = missed
        handle._ready.set()
        handle._attach(child, reader, writer)
        return handle

    def catch_up(self) -> None:
        """Tell the owner, who knows the slice by now, what went wrong in it while there was no engine."""
        missed, self._missed = self._missed, []
        for line in missed:
            with suppress(ValueError):  # the rest of what an earlier engine has read in part
                self._hear_news(json.loads(line))

    def outlive(self) -> None:
        """From now on the slice goes on for a moment when this engine ends."""
        with suppress(spawn.SpawnError, OSError):  # it is being lost, or no descriptor is left for this
            self._warm.spawner.keep(self._child, self._writer.get_extra_info("socket"))

    async def leave(self) -> None:
        """Let go of the slice, which goes on for another engine."""
        self._closing.set()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait({self._listening})
            self._writer.close()

    def _attach(self, child: spawn.Child, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._child, self._writer = child, writer
        self._listening = asyncio.create_task(self._listen(reader))

    @property
    def info(self) -> SliceInfo:
        report = self.report
        return SliceInfo(
            self.slice_id,
            report.address,
            self.credentials,
            report.workers,
            tuple(report.pids),
            tuple(report.devices),
            None if report.computing else self._quiet_since,
        )

    async def start(self) -> None:
        """Return when the slice's scheduler listens.

        Raises:
            EngineError: the host did not start, or ``close`` was called meanwhile.
        """
        self._opening = asyncio.create_task(self._open())
        await asyncio.shield(self._opening)  # a host half made can be neither left nor ended
        await self._unless(self.ended, self._ready.wait(), "ended before its scheduler listened")

    async def _open(self) -> None:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise EngineError(f"Slice {self.slice_id} could not be opened: {said(error)}.") from error
        folder = Path(self._order.folder)
        try:
            with theirs:
                await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
                await self._unless(self._closing, self._warm.ready(), "was closed before it was open")
                child = await asyncio.to_thread(
                    self._warm.spawner.spawn,
                    "aios_lab.engines.local.host:main",
                    orders.dump(self._order),
                    {"control": theirs.fileno()},
                    env=environment() | {"AIOS_SLICE": self.slice_id, "CUDA_VISIBLE_DEVICES": ""},
                    ready=not self._order.spare,
                )
        except (spawn.SpawnError, OSError, EngineError) as error:
            ours.close()
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            if isinstance(error, EngineError):
                raise
            raise EngineError(f"Slice {self.slice_id} could not be opened: {said(error)}") from error
        self._attach(child, *await asyncio.open_connection(sock=ours, limit=orders.LONGEST))

    async def scale(self, order: orders.Scale) -> None:
        """Bring the slice to a size; see ``order`` for errors."""
        self.shape = order.shape
        await self.order("scale", scale=dataclasses.asdict(order))

    async def adopt(self, slice_id: str, owner: HandleOwner) -> None:
        """Become this slice, with another owner; see ``order`` for errors."""
        await self.order("adopt", slice_id=slice_id)
        self.slice_id, self._owner = slice_id, owner

    async def dashboard(self) -> Path:
        """The Unix socket of its dashboard, which the host makes when first asked; errors as of ``order``."""
        path = Path(self._order.folder) / "dashboard.sock"
        if not self._has_dashboard:
            await self.order("dashboard", path=str(path))
            self._has_dashboard = True
        return path

    def tell(self, message: Mapping[str, Any]) -> None:
        """Say something to what runs in its scheduler's process; it is lost where that has ended."""
        self._write({"op": "tell", "message": message})

    def _write(self, order: dict[str, Any]) -> None:
        if not self._writer.is_closing():
            self._writer.write(orders.dump(order))

    async def order(self, op: str, **details: Any) -> None:
        """Have the host do something, and return when it is done.

        Raises:
            EngineError: it could not, or the slice ended meanwhile.
        """
        if self.ended.is_set():
            raise EngineError(f"Slice {self.slice_id} has ended.")
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._writer.write(orders.dump({"op": op, "id": number} | details))
        try:
            await self._unless(self.ended, answer, "ended before it had done what was asked")
        finally:
            del self._answers[number]

    async def close(self) -> None:
        """End the slice, also one that is being opened; on return its processes and files are gone."""
        self._closing.set()
        if self._opening is not None:
            await asyncio.wait({self._opening})
        if self._listening is None:
            return
        if not self.ended.is_set():
            if self._answers:  # a host at work hears nothing else
                self._child.kill()
            else:
                self._writer.write(orders.dump({"op": "close"}))
            try:
                await self._child.wait(_LEAVE)
            except TimeoutError:
                self._child.kill()
        await self._listening

    async def _unless(self, happens: asyncio.Event, awaited: Awaitable[object], what: str) -> None:
        """Await something that is not to be had any more once an event happens."""
        wanted = asyncio.ensure_future(awaited)
        event = asyncio.ensure_future(happens.wait())
        try:
            await asyncio.wait({wanted, event}, return_when=asyncio.FIRST_COMPLETED)
            if not wanted.done():
                raise EngineError(f"Slice {self.slice_id} {what}.")
            wanted.result()
        finally:
            wanted.cancel()
            event.cancel()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Take in what the host says until it is gone, then see that all of the slice is."""
        try:
            while line := await reader.readline():
                self._hear(json.loads(line))
        except ConnectionError:
            log.debug("%s: the line to its host broke", self.slice_id)
        except Exception:
            log.exception("%s: its host cannot be understood and is ended", self.slice_id)
            self._child.kill()
        try:
            code = await self._clear_away()
        finally:
            self.ended.set()
        if not self._closing.is_set():
            _inform(self._owner.handle_lost, self, _cause(code, self._child.told))

    async def _clear_away(self) -> int:
        """See the host gone, and all of its slice; its exit code."""
        code = await self._child.wait()
        if not self._child.told:
            await self._warm.ended.wait()
            await self._until_gone()
        self._writer.close()
        await asyncio.to_thread(shutil.rmtree, self._order.folder, ignore_errors=True)
        self.report = dataclasses.replace(self.report, workers=0, devices=[], pids=[])
        return code

    async def _until_gone(self) -> None:
        """Nobody tells of processes that lost their forkserver: await the end of those that are known."""
        late = await asyncio.to_thread(await_end, self.report.pids, _DIE)
        if late:
            log.error("%s: processes %s were killed, but have not ended", self.slice_id, late)

    def _hear(self, message: dict[str, Any]) -> None:
        if "report" in message:
            before, self.report = self.report, orders.Report(**message["report"])
            self._ready.set()
            if before.workers != self.report.workers:
                _inform(self._owner.handle_changed, self)
            if before.computing != self.report.computing:
                self._quiet_since = time.monotonic()
                if self.report.computing:
                    _inform(self._owner.handle_computing, self)
        if "told" in message:
            answering = {"op": "answer", "number": message["number"]}
            _inform(
                self._owner.handle_told,
                self,
                message["told"],
                lambda answer: self._write(answering | {"answer": answer}),
            )
        self._hear_news(message)
        answer = self._answers.get(message.get("done", 0))
        if answer is not None and not answer.done():
            if "error" in message:
                answer.set_exception(EngineError(message["error"]))
            else:
                answer.set_result(None)

    def _hear_news(self, message: dict[str, Any]) -> None:
        if "fenced" in message:
            _inform(self._owner.handle_fenced, self, **message["fenced"])
        if "problem" in message:
            _inform(self._owner.handle_troubled, self, message["problem"])


def _inform(hear: Callable[..., None], *about: Any, **more: Any) -> None:
    """Whoever hears of a slice may be at fault without harm to the slice, whose line stays open."""
    try:
        hear(*about, **more)
    except Exception:
        log.exception("what a slice says could not be heard")


@asynccontextmanager
async def ended_on_failure(handle: SliceHandle) -> AsyncIterator[None]:
    """Whatever goes wrong within, a cancellation too, the slice is ended: nobody else knows of it yet."""
    try:
        yield
    except BaseException:
        await asyncio.shield(handle.close())
        raise


def _cause(code: int, told: bool) -> str:
    if not told:
        return "The forkserver that all slices come from was killed."
    return (
        f"The slice host was killed by signal {-code}."
        if code < 0
        else f"The slice host ended (exit code {code})."
    )
