"""Models: list, register from a run, compress."""

from __future__ import annotations

from aios_lab.broker.errors import Refused
from aios_lab.routes.call import Call, Route
from aios_lab.wire import CompressRequest, Job, Model, ModelVersion, RegisterRequest


async def list_models(call: Call) -> list[Model]:
    return await call.services.in_thread(call.services.registry.list)


async def get_model(call: Call) -> Model:
    name = call.ids["name"]
    for model in await list_models(call):
        if model.name == name:
            return model
    raise Refused(404, f"No model is called {name}.", "not_found", "The panel lists all models.")


async def register(call: Call) -> ModelVersion:
    raise NotImplementedError


async def compress(call: Call) -> Job:
    raise NotImplementedError


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
