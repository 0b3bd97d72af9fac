"""Two people on one server: nobody acts on, or reads the details of, what is the other's."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from aios_lab.routes import ROUTES
from aios_lab.wire import CompressRequest
from people import PERSON

pytestmark = pytest.mark.people

RUN = {"name": "secret-run", "strategy": "ddp", "world_size": 1}
NOTEBOOK = "secret-notebook.ipynb"

# What bob gets of ada's; None: the endpoint is nobody's in particular.
OF_ANOTHER: dict[tuple[str, str], int | None] = {
    ("GET", "openapi.json"): None,
    ("GET", "status"): None,
    ("GET", "cluster"): None,
    ("GET", "metrics"): None,
    ("GET", "slices"): None,
    ("GET", "slices/{slice_id}"): 403,
    ("PATCH", "slices/{slice_id}"): 403,
    ("DELETE", "slices/{slice_id}"): 403,
    ("POST", "slices/{slice_id}/activate"): 403,
    ("GET", "slices/{slice_id}/connection"): 403,
    ("GET", "slices/{slice_id}/dashboard"): 403,
    ("POST", "slices/{slice_id}/ask-to-free"): 409,
    ("GET", "slices/{slice_id}/forecast"): 403,
    ("POST", "slices/{slice_id}/what-if"): 403,
    ("GET", "runs"): None,
    ("POST", "runs"): 403,
    ("GET", "runs/{run_id}"): 403,
    ("GET", "runs/{run_id}/log"): 403,
    ("PATCH", "runs/{run_id}"): 403,
    ("POST", "runs/{run_id}/stop"): 403,
    ("GET", "models"): None,
    ("POST", "models"): 403,
    ("GET", "models/{name}"): None,
    ("POST", "models/{name}/versions/{version}/compress"): None,
    ("GET", "jobs"): None,
    ("GET", "jobs/{job_id}"): 403,
    ("GET", "policies"): None,
    ("POST", "replays"): None,
    ("GET", "replays/{replay_id}"): 404,
    ("DELETE", "replays/{replay_id}"): 404,
}
REASONS = {403: "forbidden", 404: "no_replay", 409: "holds_nothing"}
BODIES = {
    "PATCH slices/{slice_id}": {"workers": 2},
    "POST slices/{slice_id}/what-if": {"workers": 2},
    "POST runs": RUN,
    "PATCH runs/{run_id}": {},
    "POST replays": {"policies": ["fcfs"]},
}


async def ada_works(api: Any) -> dict[str, str]:
    """Gives ada a slice, a run on it, a job and a replay; returns the ids for the paths of the endpoints."""
    _, slice_id = await api.kernel(NOTEBOOK)
    run = (await api("POST", "aios/api/runs", RUN, token=api.token(slice_id))).body
    job = api.app.services.jobs.compress("secret-model", 1, CompressRequest(), "ada")
    replay = (await api("POST", "aios/api/replays", {"policies": ["fcfs"]})).body
    ids = {"slice_id": slice_id, "run_id": run["id"], "job_id": job.id, "replay_id": replay["id"]}
    return ids | {"name": "m", "version": "1"}


async def as_bob(api: Any, method: str, path: str, body: Any = None) -> tuple[int, str]:
    answer = await api.fetch(
        "aios/api/" + path,
        method=method,
        headers={PERSON: "bob"},
        body=None if body is None else json.dumps(body),
        allow_nonstandard_methods=True,
        raise_error=False,
    )
    return answer.code, answer.body.decode()


async def test_every_endpoint_keeps_people_apart(api):
    assert OF_ANOTHER.keys() == {(route.method, route.path) for route in ROUTES}
    ids = await ada_works(api)
    before = (await api("GET", f"aios/api/slices/{ids['slice_id']}")).body
    assert (await api("GET", "aios/api/status")).body["user"] == "ada"
    assert json.loads((await as_bob(api, "GET", "status"))[1])["user"] == "bob"
    for (method, path), status in OF_ANOTHER.items():
        body = BODIES.get(f"{method} {path}")
        if (method, path) == ("POST", "models"):
            body = {"run_id": ids["run_id"], "name": "stolen"}
        code, text = await as_bob(api, method, path.format(**ids), body)
        if status is not None:
            assert (code, json.loads(text)["reason"]) == (status, REASONS[status]), (method, path, text)
        for secret in (ids["run_id"], ids["job_id"], "secret-run", "secret-model"):
            assert status is not None or secret not in text, (method, path)
        # The name of a notebook is what others read while they wait for it, and only there.
        assert NOTEBOOK not in text or path == "slices", (method, path)
    assert (await api("GET", f"aios/api/slices/{ids['slice_id']}")).body == before
    assert [one["id"] for one in (await api("GET", "aios/api/runs")).body] == [ids["run_id"]]
    assert [one["id"] for one in (await api("GET", "aios/api/jobs")).body] == [ids["job_id"]]


async def test_the_lists_and_the_stream_are_those_of_who_asks(api, jp_ws_fetch):
    ids = await ada_works(api)
    for person, mine in (("ada", True), ("bob", False)):
        socket = await jp_ws_fetch("aios/api/stream", headers={PERSON: person})
        await socket.write_message(json.dumps({"topics": ["slices", "runs", "jobs"]}))
        frames: dict[str, Any] = {}
        while frames.keys() != {"slices", "runs", "jobs"}:
            frame = json.loads(await asyncio.wait_for(socket.read_message(), 20))
            frames[frame["topic"]] = frame["data"]
        (seen,) = frames["slices"]
        assert (seen["id"], seen["user"], seen["mine"]) == (ids["slice_id"], "ada", mine)
        assert (seen["kernel_id"] is not None) == mine
        assert [one["id"] for one in frames["runs"]] == ([ids["run_id"]] if mine else [])
        assert [one["id"] for one in frames["jobs"]] == ([ids["job_id"]] if mine else [])
        # News of ada's run reach ada and nobody else.
        path, news = f"aios/api/runs/{ids['run_id']}", {"state": "running" if mine else "finished"}
        assert (await api("PATCH", path, news, token=api.token(ids["slice_id"]))).status == 200
        if mine:
            frame = json.loads(await asyncio.wait_for(socket.read_message(), 20))
            while frame["topic"] != "runs":
                frame = json.loads(await asyncio.wait_for(socket.read_message(), 20))
            assert frame["data"][0]["state"] == "running"
        else:
            await socket.write_message(json.dumps({"topics": ["runs", "cluster"]}))
            while frame["topic"] != "cluster":
                frame = json.loads(await asyncio.wait_for(socket.read_message(), 20))
                assert ids["run_id"] not in json.dumps(frame)
        socket.close()
