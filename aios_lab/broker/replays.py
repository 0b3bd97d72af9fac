"""The server's side of "what would have happened": one process a question, few at once, none for ever."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from aios_lab.allocation import POLICIES
from aios_lab.broker.errors import Refused
from aios_lab.engines.spawn import SpawnError
from aios_lab.engines.telling import follow
from aios_lab.wire import Problem, Replay, ReplayRequest, ReplayState

_TARGET = "aios_lab.broker.replay:replay_job"
_AT_ONCE = 2  # of all users: each keeps a core busy
_KEPT = 20
_LINE = 8 << 20  # bytes of one message
_PATIENCE = 600.0  # seconds one may take, whatever else the machine does
_DAY = 86_400.0


class Replays:
    """What the ledger at ``path`` recorded, played again for users of one server. All methods are called on
    the event loop.

    Everybody may ask: the answer has the figures of the whole cluster, the share of the one who asks, and
    that of all others together.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._replays: dict[str, Replay] = {}
        self._owners: dict[str, str] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()  # a new one after each change

    def start(self, request: ReplayRequest, user: str) -> Replay:
        """Begin; returns at once.

        Raises:
            Refused: 422 'unknown_policy'; 409 'busy' when the user has one that runs, or others have two.
        """
        unknown = [name for name in request.policies if name not in POLICIES]
        if unknown:
            raise Refused(
                422,
                f"There is no policy {unknown[0]!r}.",
                "unknown_policy",
                f"Take of these: {', '.join(POLICIES)}.",
            )
        if user in (self._owners[name] for name in self._tasks) or len(self._tasks) >= _AT_ONCE:
            raise Refused(
                409,
                "What would have happened is being computed already, for you or for two others.",
                "busy",
                "Wait until it is done, or cancel yours.",
            )
        now = time.time()
        policies = list(dict.fromkeys(request.policies))
        one = Replay(
            id=f"p-{secrets.token_hex(5)}",
            state=ReplayState.RUNNING,
            days=request.days,
            policies=policies,
            began=now - request.days * _DAY,
            ended=now,
        )
        order = {
            "ledger": str(self._path),
            "since": one.began,
            "until": now,
            "policies": policies,
            "user": user,
        }
        self._replays[one.id], self._owners[one.id] = one, user
        self._tasks[one.id] = asyncio.create_task(self._run(one.id, json.dumps(order).encode()))
        return one

    def get(self, replay_id: str, user: str) -> Replay:
        """Raises: Refused, 404 'no_replay', when it is unknown, too long ago, or another user's."""
        if self._owners.get(replay_id) != user:
            raise Refused(
                404,
                f"There is no replay {replay_id} of yours.",
                "no_replay",
                "The server keeps the last ones only until it restarts: start a new one.",
            )
        return self._replays[replay_id]

    async def follow(self, replay_id: str, user: str, wait: float) -> Replay:
        """The replay once it is another than now, or after ``wait`` seconds. Raises: Refused (404)."""
        before = self.get(replay_id, user)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                while before.state is ReplayState.RUNNING and self._replays.get(replay_id) == before:
                    await self._changed.wait()
        return self.get(replay_id, user)

    async def cancel(self, replay_id: str, user: str) -> Replay:
        """End it, if it still runs; on return its process is gone. Raises: Refused (404)."""
        self.get(replay_id, user)
        if (task := self._tasks.get(replay_id)) is not None:
            task.cancel()
            await asyncio.wait([task])
        return self.get(replay_id, user)

    async def stop(self) -> None:
        """Cancel all; on return no process is left."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, replay_id: str, payload: bytes) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                code = await follow(_TARGET, payload, partial(self._hear, replay_id), _LINE)
            if self._replays[replay_id].state is ReplayState.RUNNING:
                self._fail(replay_id, _no_answer(code))
        except TimeoutError:
            self._fail(replay_id, _no_answer(-signal.SIGXCPU))
        except SpawnError as error:
            self._fail(replay_id, _not_started(error))
        except ValueError:  # what the process told is no message of ours
            self._fail(replay_id, _no_answer(None))
        except asyncio.CancelledError:
            self._set(self._replays[replay_id].model_copy(update={"state": ReplayState.CANCELLED}))
        finally:
            self._tasks.pop(replay_id, None)
            self._forget()

    def _hear(self, replay_id: str, message: Any) -> None:
        one = self._replays[replay_id]
        match message:
            case {"progress": progress}:
                self._set(one.model_copy(update={"progress": progress}))
            case {"answer": dict(answer)}:
                done = {"state": ReplayState.FINISHED, "progress": 1.0}
                self._set(Replay.model_validate(one.model_dump() | answer | done))
            case {"problem": problem}:
                self._fail(replay_id, Problem.model_validate(problem))

    def _fail(self, replay_id: str, problem: Problem) -> None:
        failed = {"state": ReplayState.FAILED, "problem": problem}
        self._set(self._replays[replay_id].model_copy(update=failed))

    def _set(self, one: Replay) -> None:
        self._replays[one.id] = one
        self._changed.set()
        self._changed = asyncio.Event()

    def _forget(self) -> None:
        ended = [replay_id for replay_id in self._replays if replay_id not in self._tasks]
        for replay_id in ended[:-_KEPT]:
            del self._replays[replay_id], self._owners[replay_id]


def _no_answer(code: int | None) -> Problem:
    if code == -signal.SIGXCPU:
        return Problem(
            message="Playing this time again takes longer than a server should spend on it.",
            reason="too_long",
            hint="Take a shorter time or fewer policies, or run `jupyter aios simulate` on the ledger.",
        )
    how = "" if code is None else f" (exit code {code})"
    return Problem(
        message=f"The process that played the record again ended without an answer{how}.",
        reason="crashed",
        hint="It may have run out of memory. Take a shorter time, or see the server's log.",
    )


def _not_started(error: SpawnError) -> Problem:
    return Problem(message=str(error), reason="not_started", hint="Try again, or restart the server.")
