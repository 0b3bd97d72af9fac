"""Models: list, register from a run, compress. All who may use this server share one registry."""

from __future__ import annotations

from functools import partial

from aios_lab.models.errors import NotFound
from aios_lab.routes.call import Call, Route
from aios_lab.routes.runs import own_run
from aios_lab.wire import CompressRequest, Job, Model, ModelVersion, RegisterRequest


async def list_models(call: Call) -> list[Model]:
    return await call.services.in_thread(call.services.catalogue.list)


async def get_model(call: Call) -> Model:
    name = call.ids["name"]
    return Model(name=name, versions=await call.services.in_thread(call.services.registry.versions, name))


async def register(call: Call) -> ModelVersion:
    services, asked = call.services, call.body
    run = own_run(call, asked.run_id)
    folder = services.runs.model_folder(run.id)
    work = partial(
        services.registry.register,
        folder,
        asked.name,
        run_id=run.id,
        mlflow_run_id=run.mlflow_run_id,
        user=call.caller.user,
    )
    version = await services.in_thread(work)
    services.catalogue.changed()
    services.feed.changed("models")
    return version


async def compress(call: Call) -> Job:
    name, number = call.ids["name"], call.ids["version"]
    if not (number.isascii() and number.isdigit() and len(number) < 10 and int(number)):
        raise NotFound(f"'{name}' has no version {number}.", "Versions are whole numbers from 1 up.")
    # What is not there is said at once and not by a job that fails.
    await call.services.in_thread(call.services.registry.get, name, int(number))
    return call.services.jobs.compress(name, int(number), call.body, call.caller.user)


ROUTES = (
    Route("GET", "models", list_models, "All models, their versions newest first.", {200: list[Model]}),
    Route(
        "POST",
        "models",
        register,
        "Register the model that a run saved.",
        {200: ModelVersion},
        RegisterRequest,
    ),
    Route("GET", "models/{name}", get_model, "One model.", {200: Model}),
    Route(
        "POST",
        "models/{name}/versions/{version}/compress",
        compress,
        "Compress a version into a new one; the job tells how far it is.",
        {202: Job},
        body=CompressRequest,
    ),
)
