"""What keeps the broker from starting never breaks Jupyter: it is said, and kernels start without a slice."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aios_lab.broker import Ledger


@pytest.fixture
def aios_config(aios_config: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    (tmp_path / "aios").mkdir()
    ledger = Ledger(tmp_path / "aios" / "ledger.db")
    what = request.param
    if what == "ledger_in_use":
        ledger.open()
    elif what == "bad_quotas":
        (tmp_path / "aios" / "quotas.yaml").write_text("projects:\n  vision: {weight: heavy}\n")
    elif what == "ledger_unavailable":
        ledger.path.mkdir()
    yield aios_config | (what if isinstance(what, dict) else {})
    ledger.close()


@pytest.mark.parametrize(
    ("aios_config", "reason"),
    [
        ("bad_quotas", "bad_quotas"),
        ("ledger_unavailable", "ledger_unavailable"),
        ({"inventory": {"cpus": "many"}}, "not_started"),
        ({"default_claim": {"workers": 0}}, "not_started"),
        ({"default_claim": {"workers": 100}}, "too_large"),
        ({"ledger_url": "postgresql://db/aios"}, "not_started"),
        ({"ledger_url": "nonsense"}, "not_started"),
    ],
    indirect=["aios_config"],
)
async def test_status_says_what_to_mend_and_all_else_refuses(api, reason):
    status = (await api("GET", "aios/api/status")).body
    assert not status["ready"]
    assert [problem["reason"] for problem in status["problems"]] == [reason]
    assert status["problems"][0]["hint"]
    refused = await api("GET", "aios/api/slices")
    assert refused.status == 409
    assert refused.body == status["problems"][0]


@pytest.mark.parametrize("aios_config", ["ledger_in_use"], indirect=True)
async def test_the_second_server_on_a_ledger_gives_plain_kernels(api, jp_ws_fetch):
    problem = (await api("GET", "aios/api/status")).body["problems"][0]
    assert problem["reason"] == "ledger_in_use"
    assert str(os.getpid()) in problem["message"]
    for method, path in (("GET", "cluster"), ("PATCH", "slices/s-0"), ("GET", "models"), ("GET", "jobs/j")):
        reply = await api(method, f"aios/api/{path}", token="x" if path == "cluster" else None)
        assert (reply.status, reply.body) == (409, problem), path
    assert (await api("GET", "aios/api/openapi.json")).status == 200
    socket = await jp_ws_fetch("aios/api/stream")
    await socket.write_message(json.dumps({"topics": ["slices"]}))
    frame = json.loads(await socket.read_message())
    assert (frame["topic"], frame["data"]) == ("problem", problem)
    socket.close()
    body = {"path": "a.ipynb", "name": "a", "type": "notebook", "kernel": {"name": "python3"}}
    session = await api("POST", "api/sessions", body)
    assert session.status == 201
    kernel = api.app.serverapp.kernel_manager.get_kernel(session.body["kernel"]["id"])
    environment = Path(f"/proc/{kernel.provisioner.pid}/environ").read_bytes().decode()
    assert problem["message"] in environment
    assert "AIOS_TOKEN" not in environment
