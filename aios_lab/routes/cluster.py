"""The cluster as a whole: status, inventory and use, metrics for Prometheus."""

from __future__ import annotations

from aios_lab import __version__
from aios_lab.routes.call import Answer, Call, Route
from aios_lab.wire import Cluster, Status


async def status(call: Call) -> Status:
    """Answers also when nothing else can: this is where people learn what to mend."""
    services = call.services
    simulated = services.broker.cluster().simulated if services.ready else False
    return Status(
        version=__version__,
        user=call.caller.user,
        ready=services.ready,
        simulated=simulated,
        problems=services.problems,
    )


async def cluster(call: Call) -> Cluster:
    return call.services.feed.with_devices(call.services.broker.cluster())


async def metrics(call: Call) -> Answer:
    from aios_lab.telemetry.prometheus import exposition

    text = exposition(call.services.broker.cluster(), call.services.broker.views(None, None))
    return Answer(text, content_type="text/plain; version=0.0.4; charset=utf-8")


ROUTES = (
    Route(
        "GET", "status", status, "Who the caller is, and what an administrator should mend.", {200: Status}
    ),
    Route("GET", "cluster", cluster, "What there is and how much of it is used.", {200: Cluster}),
    Route("GET", "metrics", metrics, "The same for Prometheus.", {200: "text/plain"}),
)
