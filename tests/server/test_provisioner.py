"""A kernel's life and its claim's: start, restart, shutdown, crash, failed launch, the server's end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from traitlets.config import Config

from aios_lab.credentials import CREDENTIALS
from aios_lab.provisioner import VARIABLES, AIOSProvisioner, with_extension


async def until(what: str, condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    try:
        async with asyncio.timeout(seconds):
            while not (value := condition()):
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what}: not within {seconds:g} s") from None
    return value


async def run(api: Any, kernel_id: str, code: str) -> str:
    """Execute in the kernel as Lab does and return what it printed."""
    manager = api.app.serverapp.kernel_manager.get_kernel(kernel_id)
    client: AsyncKernelClient = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=60)
        printed: list[str] = []
        await client.execute_interactive(
            code,
            timeout=60,
            output_hook=lambda message: printed.append(
                message["content"].get("text") or json.dumps(message["content"].get("traceback", ""))
            ),
        )
    finally:
        client.stop_channels()
    return "".join(one for one in printed if one != '""').strip()


def slices(api: Any) -> dict[str, Any]:
    return {one.id: one for one in api.app.services.broker.views(None, None)}


async def grow(api: Any, slice_id: str) -> None:
    await api("PATCH", f"aios/api/slices/{slice_id}", {"workers": 1})
    await until("a worker is up", lambda: api.app.services.broker.view(slice_id).workers == 1, 60)


async def test_the_broker_hears_at_once_when_a_kernel_begins_and_ends(api, monkeypatch, tmp_path):
    heard: list[tuple[str, bool]] = []
    broker = api.app.services.broker
    monkeypatch.setattr(broker, "executing", lambda slice_id, busy: heard.append((slice_id, busy)))
    kernel_id, slice_id = await api.kernel("a.ipynb")
    await run(api, kernel_id, "1 + 1")
    await until("it lies idle", lambda: heard[-1:] == [(slice_id, False)])
    go = tmp_path / "go"
    wait = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)"
    running = asyncio.create_task(run(api, kernel_id, wait))
    await until("it runs a cell", lambda: heard[-1] == (slice_id, True))
    go.touch()
    await running
    await until("it lies idle again", lambda: heard[-1] == (slice_id, False))
    assert {one for one, _ in heard} == {slice_id}


async def test_a_kernel_starts_with_a_sleeping_claim_and_knows_its_slice(api, monkeypatch, tmp_path):
    profile = tmp_path / "ipython" / "profile_default"
    profile.mkdir(parents=True)
    (profile / "ipython_config.py").write_text("c.InteractiveShellApp.extensions = ['autoreload']\n")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    kernel_id, slice_id = await api.kernel("folder.ipynb")
    view = await api.slice_of(kernel_id)
    assert view["dormant"]
    assert view["workers"] == 0
    assert view["name"] == "folder.ipynb"
    printed = await run(api, kernel_id, "import os, json; print(json.dumps(dict(os.environ)))")
    env = json.loads(printed.splitlines()[-1])
    assert env["AIOS_SLICE"] == slice_id
    assert env["AIOS_TOKEN"] == api.token(slice_id)
    assert env["AIOS_URL"].endswith("/a%40b")
    assert Path(env["AIOS_RUNS"]).is_absolute()
    assert env["AIOS_MLFLOW_URI"].startswith("sqlite:///")
    server_token = api.app.serverapp.identity_provider.token
    assert server_token not in printed
    loaded = await run(api, kernel_id, "print(sorted(get_ipython().extension_manager.loaded))")
    assert "'aios_lab.notebook'" in loaded
    assert "autoreload'" in loaded, "what the user configured is loaded too"


class TestPlaces:
    @pytest.fixture
    def aios_config(self, aios_config, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        return aios_config | {"mlflow_uri": "sqlite:///here.db"}

    async def test_kernel_and_server_mean_one_database_and_one_folder_of_models(self, api, tmp_path):
        """Though the kernel works in another folder, that of its notebook."""
        kernel_id, _ = await api.kernel()
        code = "from aios_lab.models import places; print(places.tracking_uri(), places.artifact_root())"
        said = (await run(api, kernel_id, code)).split()
        assert said == [f"sqlite:///{tmp_path}/here.db", str(api.app.folder / "models")]
        assert api.app.services.registry.store.uri == said[0]


class TestCredentials:
    @pytest.fixture(autouse=True)
    def _of_the_server(self, monkeypatch):
        for name in CREDENTIALS:
            monkeypatch.setenv(name, "of the server")

    @pytest.fixture(params=[[], ["JUPYTERHUB_API_TOKEN"]])
    def aios_config(self, aios_config, request):
        return aios_config | {"keep_environment": request.param}

    async def test_of_the_server_are_not_the_kernels_unless_an_administrator_says_so(self, api, request):
        kernel_id, _ = await api.kernel()
        pid = api.app.serverapp.kernel_manager.get_kernel(kernel_id).provisioner.pid
        lines = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        has = {name for name in CREDENTIALS if f"{name}=of the server" in lines}
        assert has == set(api.app.keep_environment)


async def test_a_restart_keeps_the_claim_and_a_shutdown_gives_it_back(api):
    kernel_id, slice_id = await api.kernel()
    token = api.token(slice_id)
    await grow(api, slice_id)
    reply = await api("POST", f"api/kernels/{kernel_id}/restart", {}, request_timeout=60)
    assert reply.status == 200
    view = await api.slice_of(kernel_id)
    assert view["id"] == slice_id
    assert api.token(slice_id) == token
    await until("a worker is up again", lambda: api.app.services.broker.view(slice_id).workers == 1, 60)
    await api("DELETE", f"api/kernels/{kernel_id}")
    await until("the claim is over", lambda: slice_id not in slices(api))
    await until("nothing is held", lambda: api.app.services.broker.cluster().used.cpus == 0)


async def test_kill_9_frees_the_slice_and_the_restarted_kernel_finds_its_claim(api):
    kernel_id, slice_id = await api.kernel()
    await grow(api, slice_id)
    body = {"name": "n", "strategy": "ddp", "world_size": 1}
    run_id = (await api("POST", "aios/api/runs", body, token=api.token(slice_id))).body["id"]
    provisioner = api.app.serverapp.kernel_manager.get_kernel(kernel_id).provisioner
    first = provisioner.pid
    os.kill(first, signal.SIGKILL)
    await until("its claim sleeps", lambda: api.app.services.broker.view(slice_id).dormant)
    await until("nothing is held", lambda: api.app.services.broker.cluster().used.cpus == 0)
    failed = (await api("GET", f"aios/api/runs/{run_id}")).body
    assert failed["state"] == "failed"
    assert failed["error"]
    await until("Jupyter restarts it", lambda: provisioner.process is not None and provisioner.pid != first)
    assert (await run(api, kernel_id, "import os; print(os.environ['AIOS_SLICE'])")).endswith(slice_id)


async def test_the_restart_limit_and_a_failed_start_leave_no_claim(api, tmp_path):
    kernel_id, slice_id = await api.kernel()
    manager = api.app.serverapp.kernel_manager.get_kernel(kernel_id)
    for callback in list(manager._restarter.callbacks["dead"]):
        callback()
    await until("the claim is over", lambda: slice_id not in slices(api))
    await manager.shutdown_kernel(now=True)
    spec = tmp_path / "kernels" / "broken"
    spec.mkdir(parents=True)
    broken = {"argv": ["/no/such/program", "{connection_file}"], "display_name": "b", "language": "x"}
    (spec / "kernel.json").write_text(json.dumps(broken))
    api.app.serverapp.kernel_spec_manager.kernel_dirs.append(str(spec.parent))
    with pytest.raises(FileNotFoundError):
        await api.app.serverapp.kernel_manager.start_kernel(kernel_name="broken")
    await until("no claim is left", lambda: not slices(api))


BAD_REQUESTS = [
    {"aios": {"resources": {"workers": -3}}},
    {"aios": {"resources": {"memory": "lots"}}},
    {"aios": {"resources": {"workers": 10_000}}},
    {"aios": {"resources": {"nonsense": 1}}},
    {"aios": {"resources": [1]}},
    {"aios": 7},
]


async def test_a_notebook_asks_in_its_metadata_and_a_bad_request_blocks_no_kernel(api, jp_root_dir):
    def save(name: str, metadata: object) -> None:
        notebook = {"cells": [], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
        (jp_root_dir / name).write_text(json.dumps(notebook))

    save("asks.ipynb", {"aios": {"resources": {"workers": 3, "memory": "500MB"}}})
    kernel_id, _ = await api.kernel("asks.ipynb")
    view = await api.slice_of(kernel_id)
    assert view["max_workers"] == 3
    assert view["problem"] == ""
    assert view["workers"] == 0
    await api("DELETE", f"api/kernels/{kernel_id}")
    for number, metadata in enumerate(BAD_REQUESTS):
        save(f"bad{number}.ipynb", metadata)
        kernel_id, _ = await api.kernel(f"bad{number}.ipynb")
        assert (await api.slice_of(kernel_id))["problem"], metadata
        await api("DELETE", f"api/kernels/{kernel_id}")


async def test_the_servers_end_leaves_no_process_and_tolerates_late_kernels(api):
    kernel_id, slice_id = await api.kernel()
    await grow(api, slice_id)
    pids = api.app.services.use._processes()[slice_id]
    assert pids
    await api.app.stop_extension()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    await api.app.serverapp.kernel_manager.shutdown_kernel(kernel_id)
    reply = await api("GET", "aios/api/slices")
    assert reply.status == 409
    assert reply.body["reason"] == "stopped"


async def test_outside_a_server_a_kernel_is_a_plain_one(monkeypatch):
    from jupyter_client.manager import AsyncKernelManager

    monkeypatch.setattr(AIOSProvisioner, "claims", None)
    monkeypatch.setenv("AIOS_TOKEN", "of an outer kernel")
    KernelProvisionerFactory.clear_instance()
    config = Config({"KernelProvisionerFactory": {"default_provisioner_name": "aios-provisioner"}})
    factory = KernelProvisionerFactory.instance(config=config)
    manager = AsyncKernelManager(kernel_name="python3")
    try:
        assert factory.default_provisioner_name == "aios-provisioner"
        await manager.start_kernel()
        assert isinstance(manager.provisioner, AIOSProvisioner)
        assert not [part for part in manager.provisioner.process.args if "aios_lab" in part]
        environment = Path(f"/proc/{manager.provisioner.pid}/environ").read_bytes()
        assert not [name for name in VARIABLES if f"\0{name}=".encode() in environment]
    finally:
        await manager.shutdown_kernel(now=True)
        KernelProvisionerFactory.clear_instance()


def test_only_ipython_kernels_that_have_the_package_load_the_extension(tmp_path):
    ours = [sys.executable, "-m", "ipykernel_launcher", "-f", "c.json"]
    assert with_extension(ours) == [*ours, "--ext=aios_lab.notebook"]
    flagged = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "c.json"]
    assert with_extension(flagged)[-1] == "--ext=aios_lab.notebook"
    elsewhere = [str(tmp_path / "bin" / "python"), *ours[1:]]
    assert with_extension(elsewhere) == elsewhere
    assert with_extension(["R", "-e", "IRkernel::main()"]) == ["R", "-e", "IRkernel::main()"]
