"""The cluster as a whole: status, inventory and use, metrics for Prometheus."""

from __future__ import annotations

from aios_lab import __version__
from aios_lab.routes.call import Answer, Call, Route
from aios_lab.routes.services import Services
from aios_lab.wire import Cluster, Problem, Status


async def status(call: Call) -> Status:
    """Answers also when nothing else can: this is where people learn what to mend."""
    services = call.services
    simulated = services.broker.cluster().simulated if services.ready else False
    return Status(
        version=__version__,
        user=call.caller.user,
        ready=services.ready,
        simulated=simulated,
        problems=_problems(services),
    )


def _problems(services: Services) -> list[Problem]:
    if not services.ready:
        return services.problems
    of_runs = services.runs.problem
    return services.broker.problems() + ([of_runs] if of_runs else [])


async def cluster(call: Call) -> Cluster:
    return call.services.use.on_cluster(call.services.broker.cluster())


async def metrics(call: Call) -> Answer:
    """All slices by their ids; names of notebooks are nobody's business here."""
    from aios_lab.telemetry.prometheus import exposition

    services = call.services
    if services.use.age > 1:
        await services.use.measure()
    slices = [services.use.on_slice(services.broker.view(one.id)) for one in services.broker.views(None)]
    text = exposition(await cluster(call), slices, await services.broker.spares())
    return Answer(text, content_type="text/plain; version=0.0.4; charset=utf-8")


ROUTES = (
    Route(
        "GET", "status", status, "Who the caller is, and what an administrator should mend.", {200: Status}
    ),
    Route("GET", "cluster", cluster, "What there is and how much of it is used.", {200: Cluster}),
    Route("GET", "metrics", metrics, "The same for Prometheus.", {200: "text/plain"}),
)
