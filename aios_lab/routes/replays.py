"""What would have happened under another policy. Whoever may use the server may ask: the answer has the
cluster's figures, the caller's own share, and that of all others together."""

from __future__ import annotations

from aios_lab.allocation import POLICIES
from aios_lab.routes.call import Call, Query, Route
from aios_lab.wire import Policies, Replay, ReplayRequest

_WAIT = Query("wait", 0, 20, 0, "seconds to wait for a change")


async def policies(call: Call) -> Policies:
    return Policies(names=list(POLICIES), in_force=call.services.broker.cluster().policy)


async def start(call: Call) -> Replay:
    return call.services.replays.start(call.body, call.caller.user)


async def follow(call: Call) -> Replay:
    return await call.services.replays.follow(call.ids["replay_id"], call.caller.user, call.query["wait"])


async def cancel(call: Call) -> Replay:
    return await call.services.replays.cancel(call.ids["replay_id"], call.caller.user)


ROUTES = (
    Route("GET", "policies", policies, "The policies that there are.", {200: Policies}),
    Route(
        "POST",
        "replays",
        start,
        "Play what the ledger recorded of the last days again under other policies.",
        {202: Replay},
        body=ReplayRequest,
    ),
    Route(
        "GET",
        "replays/{replay_id}",
        follow,
        "How far it is, and what came of it.",
        {200: Replay},
        query=(_WAIT,),
    ),
    Route("DELETE", "replays/{replay_id}", cancel, "End it.", {200: Replay}),
)
