"""Every endpoint: what it answers, and what it says to bad input."""

from __future__ import annotations

import json

import pytest

from aios_lab import cli
from aios_lab.routes.events import SLICE_EVENT

RUN = {"name": "digits", "strategy": "ddp", "world_size": 2, "total_steps": 10}


BAD_INPUT = [
    ("PATCH", "slices/{slice}", b"{", 400),
    ("PATCH", "slices/{slice}", b"\xff\xfe", 400),
    ("PATCH", "slices/{slice}", b"[" * 100_000, 400),
    ("PATCH", "slices/{slice}", b"[]", 400),
    ("PATCH", "slices/{slice}", b"null", 400),
    ("PATCH", "slices/{slice}", b'{"workers": -1}', 400),
    ("PATCH", "slices/{slice}", b'{"workers": 0}', 400),
    ("PATCH", "slices/{slice}", b'{"workers": "many"}', 400),
    ("PATCH", "slices/{slice}", b'{"workers": 1e400}', 400),
    ("PATCH", "slices/{slice}", b'{"cpus": NaN}', 400),
    ("PATCH", "slices/{slice}", b'{"cpus": Infinity}', 400),
    ("PATCH", "slices/{slice}", b'{"memory": "lots"}', 400),
    ("PATCH", "slices/{slice}", b'{"memory": -5}', 400),
    ("PATCH", "slices/{slice}", b'{"priority": "highest"}', 400),
    ("PATCH", "slices/{slice}", b'{"wrokers": 1}', 400),
    ("PATCH", "slices/{slice}", b'{"workers": 10000}', None),
    ("PATCH", "slices/{slice}", b'{"project": "no-such"}', None),
    ("PATCH", "slices/s-00000000", b"{}", 404),
    ("DELETE", "slices/s-00000000", None, 404),
    ("POST", "slices/s-00000000/activate", None, 404),
    ("GET", "slices/s-00000000", None, 404),
    ("GET", "slices/s-00000000/forecast", None, 404),
    ("POST", "slices/{slice}/forecast", b"{}", 405),
    ("POST", "slices/s-00000000/what-if", b"{}", 404),
    ("POST", "slices/{slice}/what-if", b"[]", 400),
    ("POST", "slices/{slice}/what-if", b'{"workers": 0}', 400),
    ("POST", "slices/{slice}/what-if", b'{"gpus": -1}', 400),
    ("POST", "slices/{slice}/what-if", b'{"wrokers": 1}', 400),
    ("POST", "slices/{slice}/what-if", b'{"workers": 10000}', 422),
    ("POST", "slices/{slice}/what-if", b'{"gpus": 1}', 422),
    ("POST", "slices/{slice}/what-if", b'{"project": "no-such"}', 422),
    ("PUT", "slices/{slice}", b"{}", 405),
    ("POST", "slices", b"{}", 405),
    ("GET", "runs/r-none", None, 404),
    ("POST", "runs/r-none/stop", None, 404),
    ("POST", "models", b"{}", 400),
    ("POST", "models", b'{"run_id": "r-none", "name": "../x"}', 400),
    ("POST", "models", b'{"run_id": "r-none", "name": "x"}', 404),
    ("GET", "models/none", None, 404),
    ("POST", "models/none/versions/1/compress", b"{}", 404),
    ("POST", "models/none/versions/one/compress", b"{}", 404),
    ("POST", "models/none/versions/1/compress", b'{"energy": 2}', 400),
    ("GET", "jobs/j-none", None, 404),
    ("GET", "nowhere", None, 404),
    ("DELETE", "", None, 404),
]


@pytest.fixture
def aios_server(api, jp_asyncio_loop):
    _, slice_id = jp_asyncio_loop.run_until_complete(api.kernel())
    return api, slice_id


async def test_bad_input_is_4xx_with_a_problem(aios_server):
    api, slice_id = aios_server
    for method, path, raw, status in BAD_INPUT:
        reply = await api(method, "aios/api/" + path.format(slice=slice_id), raw=raw)
        assert reply.is_problem, (method, path, raw, reply)
        assert status is None or reply.status in (status, 422), (method, path, raw, reply)
    for name, bad in (("wait", "x"), ("wait", "nan"), ("wait", 21), ("wait", -1)):
        path = f"aios/api/slices/{slice_id}/connection"
        assert (await api("GET", path, token=api.token(slice_id), params={name: bad})).status == 400
    said = (await api("PATCH", f"aios/api/slices/{slice_id}", {"workers": -3})).body["message"]
    assert said == "'workers' is -3: input should be greater than or equal to 1."
    view = await api("GET", f"aios/api/slices/{slice_id}")
    assert view.body["dormant"], "no bad request woke the claim"


def listener(emitted: list[dict[str, object]]):
    async def listen(logger: object, schema_id: str, data: dict[str, object]) -> None:
        emitted.append(data)

    return listen


async def test_a_slice_grows_connects_and_is_given_back(aios_server, capsys):
    api, slice_id = aios_server
    token = api.token(slice_id)
    before = (await api("GET", f"aios/api/slices/{slice_id}")).body
    assert before["dormant"]
    assert before["workers"] == 0
    emitted: list[dict[str, object]] = []
    logger = api.app.serverapp.event_logger
    logger.add_listener(schema_id=SLICE_EVENT, listener=listener(emitted))
    asked = await api("PATCH", f"aios/api/slices/{slice_id}", {"workers": 2, "memory": "400MB"})
    assert asked.body["max_workers"] == 2
    assert not asked.body["dormant"]
    path = f"aios/api/slices/{slice_id}/connection"
    for _ in range(3):
        reply = await api("GET", path, token=token, params={"wait": 18})
        if reply.status == 200:
            break
    assert reply.status == 200, reply
    assert reply.body["workers"] >= 1
    assert reply.body["address"].startswith("tls://")
    assert "BEGIN CERTIFICATE" in reply.body["ca"]
    capsys.readouterr()
    ledger = ["--ledger", str(api.app.folder / "ledger.db"), "--json"]
    assert cli.main(["status", *ledger]) == 0
    (living,) = json.loads(capsys.readouterr().out)
    assert (living["slice"], living["units"]) == (slice_id, 2)
    assert cli.main(["ledger", *ledger]) == 0
    assert {"filed", "granted"} <= {line["kind"] for line in json.loads(capsys.readouterr().out)}
    assert [one["state"] for one in emitted if one["slice_id"] == slice_id][:1] == ["granted"]
    assert emitted[-1]["workers"] >= 1
    shown = {field for one in emitted for field in one if not field.startswith("__")}
    assert shown == {"slice_id", "state", "workers"}, "a reason would name what others run"
    given = await api("DELETE", f"aios/api/slices/{slice_id}")
    assert given.body["dormant"]
    waiting = await api("GET", path, token=token)
    assert waiting.status == 202
    assert waiting.body["id"] == slice_id


async def test_a_run_is_begun_reported_and_stopped_by_its_own_kernel_alone(aios_server):
    api, slice_id = aios_server
    token = api.token(slice_id)
    run = (await api("POST", "aios/api/runs", RUN, token=token)).body
    assert run["mine"]
    path = f"aios/api/runs/{run['id']}"
    metric = {"step": 1, "time": 1.0, "values": {"loss": 0.5}}
    order = await api("PATCH", path, {"state": "running", "metrics": [metric]}, token=token)
    assert order.body == {"order": "go"}
    assert (await api("PATCH", path, {"state": "running"})).status == 403, "a browser reports no runs"
    assert (await api("GET", path)).body["metrics"] == {"loss": 0.5}
    assert (await api("POST", f"{path}/stop", params={"kill": 2})).status == 400
    assert (await api("POST", f"{path}/stop")).body["state"] == "stopping"
    assert (await api("PATCH", path, {}, token=token)).body == {"order": "stop"}
    assert (await api("POST", f"{path}/stop", params={"kill": 1})).status == 200
    assert (await api("PATCH", path, {"state": "stopped"}, token=token)).body == {"order": "kill"}
    assert [one["state"] for one in (await api("GET", "aios/api/runs")).body] == ["stopped"]
    register = await api("POST", "aios/api/models", {"run_id": run["id"], "name": "x"})
    assert register.status == 409
    assert register.is_problem
    _, other = await api.kernel("other.ipynb")
    token = api.token(other)
    for method, path, body, status in (
        ("GET", "", None, 200),  # the same person's, and it has ended
        ("PATCH", "", {"state": "failed"}, 403),
        ("POST", "/stop", None, 403),
    ):
        reply = await api(method, f"aios/api/runs/{run['id']}{path}", body, token=token)
        assert reply.status == status
    assert (await api("GET", "aios/api/runs", token=token)).body == []


async def test_what_is_read_is_what_the_openapi_document_says(aios_server):
    from jsonschema import Draft202012Validator

    api, _ = aios_server
    await status_and_cluster(api)
    answer = await api.fetch("aios/api/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert b"\naios_" in answer.body
    document = (await api("GET", "aios/api/openapi.json")).body
    assert document["openapi"].startswith("3.1")
    assert {"Frame", "Subscribe", "Problem", "Run", "Slice"} <= set(document["components"]["schemas"])
    for name in document["components"]["schemas"]:
        Draft202012Validator.check_schema(document["components"]["schemas"][name])
    assert "required" not in document["components"]["schemas"]["ClaimRequest"], "a request may leave all out"
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], (method, path)
            assert set(operation["responses"]) > {"4XX"}
    for path in ("status", "cluster", "slices", "runs", "models", "jobs"):
        answer = (await api("GET", f"aios/api/{path}")).body
        schema = document["paths"][f"/aios/api/{path}"]["get"]["responses"]["200"]["content"][
            "application/json"
        ]
        Draft202012Validator({**schema["schema"], "components": document["components"]}).validate(answer)
    references = {part.split('"')[0] for part in json.dumps(document).split('"$ref": "')[1:]}
    for reference in references:
        assert reference.rpartition("/")[2] in document["components"]["schemas"]


async def status_and_cluster(api):
    status = (await api("GET", "aios/api/status")).body
    assert status["ready"]
    assert status["simulated"]
    assert status["problems"] == []
    assert status["user"]
    cluster = (await api("GET", "aios/api/cluster")).body
    assert cluster["simulated"]
    assert cluster["capacity"]["cpus"] == 4
    assert cluster["used"]["cpus"] == 0
    assert cluster["half_life"] == 2 * 86_400
    assert all(0 <= one["recent"] <= 1 for one in cluster["principals"])


async def test_forecasts_and_what_ifs_are_answered_as_the_document_says_and_wake_nothing(aios_server):
    from jsonschema import Draft202012Validator

    api, slice_id = aios_server
    document = (await api("GET", "aios/api/openapi.json")).body
    path = f"aios/api/slices/{slice_id}"
    found = {}
    for token in (None, api.token(slice_id)):
        found["Forecast"] = (await api("GET", f"{path}/forecast", token=token)).body
        found["WhatIf"] = (await api("POST", f"{path}/what-if", {"workers": 3}, token=token)).body
        for name, body in found.items():
            schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
            Draft202012Validator(schema).validate(body)
    assert (found["Forecast"]["state"], found["WhatIf"]["at_once"]) == ("now", 3)
    assert found["WhatIf"]["before"] is None
    assert (await api("GET", path)).body["dormant"]
