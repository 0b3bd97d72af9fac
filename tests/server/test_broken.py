"""What keeps the broker from starting never breaks Jupyter: it is said, and kernels start without a slice."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from aios_lab.broker import Ledger, Refused, territory
from aios_lab.engines.local.engine import LocalEngine


@pytest.fixture
def aios_config(
    aios_config: dict[str, Any],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Any]:
    (tmp_path / "aios").mkdir()
    ledger = Ledger(tmp_path / "aios" / "ledger.db")
    what = request.param
    held = ExitStack()
    if what == "data_dir_in_use":
        held.enter_context(territory.data_folder(tmp_path / "aios"))
    elif what == "ledger_in_use":
        ledger = Ledger(tmp_path / "elsewhere.db")
        ledger.open()
        aios_config = aios_config | {"ledger_url": f"sqlite:///{ledger.path}"}
    elif what == "machine_in_use":
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # whatever else runs on this machine
        held.enter_context(territory.machine())
        aios_config = {}
    elif what == "data_dir_unavailable":
        (tmp_path / "aios").rmdir()
        (tmp_path / "aios").write_text("a file")
    elif what == "bad_quotas":
        (tmp_path / "aios" / "quotas.yaml").write_text("projects:\n  vision: {weight: heavy}\n")
    elif what == "ledger_unavailable":
        ledger.path.mkdir()
    with held:
        yield aios_config | (what if isinstance(what, dict) else {})
    ledger.close()


@pytest.mark.parametrize(
    ("aios_config", "reason"),
    [
        ("bad_quotas", "bad_quotas"),
        ("ledger_unavailable", "ledger_unavailable"),
        ("data_dir_unavailable", "data_dir_unavailable"),
        ({"inventory": {"cpus": "many"}}, "not_started"),
        ({"grace": -5}, "not_started"),
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


@pytest.mark.parametrize("aios_config", ["ledger_unavailable"], indirect=True)
async def test_it_leads_as_soon_as_it_can(api):
    (api.app.folder / "ledger.db").rmdir()
    async with asyncio.timeout(60):
        while not (status := (await api("GET", "aios/api/status")).body)["ready"]:
            await asyncio.sleep(0.05)
    assert status["problems"] == []
    await api.kernel("work.ipynb")
    assert [one["name"] for one in (await api("GET", "aios/api/slices")).body] == ["work.ipynb"]


@pytest.mark.parametrize("aios_config", [{"mlflow_uri": "http://127.0.0.1:9"}], indirect=True)
async def test_status_says_that_runs_cannot_be_written_to_mlflow(api):
    async with asyncio.timeout(20):
        while not (status := (await api("GET", "aios/api/status")).body)["problems"]:
            await asyncio.sleep(0.05)
    (problem,) = status["problems"]
    assert problem["reason"] == "mlflow_unreachable"
    assert "http://127.0.0.1:9 cannot be written" in problem["message"]
    assert status["ready"]


@pytest.mark.parametrize(
    ("aios_config", "reason"),
    [(what, what) for what in ("data_dir_in_use", "ledger_in_use", "machine_in_use")],
    indirect=["aios_config"],
)
async def test_a_second_server_on_what_another_has_gives_plain_kernels(api, jp_ws_fetch, reason):
    left = sorted(path.name for path in api.app.folder.iterdir())
    assert left == ["server.lock"], "nothing else of the folder was touched"
    problem = (await api("GET", "aios/api/status")).body["problems"][0]
    assert problem["reason"] == reason
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


def test_the_machine_is_one_servers_and_free_as_soon_as_that_is_dead(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib\n"
        "from aios_lab.broker import territory\n"
        "with territory.machine(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(Refused, match=f"process {other.pid}") as refused, territory.machine(tmp_path):
            pass
        assert (refused.value.status, refused.value.reason) == (409, "machine_in_use")
        assert "inventory" in refused.value.hint
        other.kill()
        other.wait()
        with territory.machine(tmp_path):
            pass


class Faulty(LocalEngine):
    """An engine with a mistake in it."""

    def __init__(self, **_options: object) -> None:
        raise ValueError("not one of our own errors")


@pytest.mark.parametrize("aios_config", [{"engine_class": Faulty}], indirect=True)
async def test_a_mistake_of_ours_is_logged_with_its_traceback(capfd, api):
    status = (await api("GET", "aios/api/status")).body
    assert [problem["reason"] for problem in status["problems"]] == ["not_started"]
    assert "log" in status["problems"][0]["message"]
    assert "ValueError: not one of our own errors" in capfd.readouterr().err
