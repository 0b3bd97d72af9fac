"""Kill real processes with SIGKILL; afterwards no process and no lease may be left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from live import CellError, Kernel, Server, answer_of, environ_of, serving, until

TWO_WORKERS = """
import aios_lab as aios
aios.request(workers=2, memory="500MB")
client = aios.client()
client.wait_for_workers(2, timeout=60)
print(sorted(client.run(__import__("os").getpid).values()))
"""


@pytest.fixture
def server(tmp_path: Path):
    with serving(tmp_path, config="c.AIOSLab.inventory = {'cpus': 4, 'memory': '8GB'}\n") as running:
        yield running


def held(server: Server) -> float:
    """CPU threads that the cluster counts as held."""
    return float(server.get("aios/api/cluster")["used"]["cpus"])


def slice_processes(server: Server, kernel: Kernel) -> set[int]:
    """Processes started for slices: all that are neither server, kernels nor the warm forkserver."""
    assert server.process is not None
    kernel_pids = {pid for pid, line in server.processes().items() if "ipykernel" in line}
    engine = {pid for pid in server.processes() if "AIOS_ENGINE" in environ_of(pid)}
    forkserver = min(engine, default=0)
    return engine - kernel_pids - {forkserver, server.process.pid}


def workers_of(kernel: Kernel) -> list[int]:
    return list(eval(kernel.run(TWO_WORKERS).strip().splitlines()[-1]))


def test_kernel_killed_for_good_gives_everything_back(server: Server):
    kernel = server.kernel()
    pids = workers_of(kernel)
    assert held(server) == 2
    kernel_pid = kernel.pid()
    server.fetch("DELETE", f"api/kernels/{kernel.id}")
    nothing_is_held(server, kernel)
    assert not set(pids) & set(server.processes())
    assert kernel_pid not in server.processes()


def nothing_is_held(server: Server, kernel: Kernel) -> None:
    """Within 15 s no unit is held, no lease lives in the ledger and no process of a slice runs."""
    until("no unit is held", lambda: held(server) == 0)
    until("no slice process is left", lambda: not slice_processes(server, kernel))
    assert server.leases() == []


def test_kill_9_of_the_kernel_frees_its_slice_and_leaves_the_claim_to_its_successor(server: Server):
    kernel = server.kernel()
    pids, pid = workers_of(kernel), kernel.pid()
    claim = kernel.slice()["id"]
    os.kill(pid, signal.SIGKILL)
    until("the old workers are gone", lambda: not set(pids) & set(server.processes()))
    nothing_is_held(server, kernel)
    answer_of(kernel.client)
    assert kernel.pid() != pid, "Jupyter started the kernel anew"
    assert kernel.slice()["id"] == claim
    assert len(workers_of(kernel)) == 2


def test_kill_9_of_a_kernel_that_is_not_restarted_frees_its_slice(tmp_path: Path):
    config = "c.AIOSLab.inventory = {'cpus': 4, 'memory': '8GB'}\nc.KernelManager.autorestart = False\n"
    with serving(tmp_path, config=config) as server:
        kernel = server.kernel()
        workers_of(kernel)
        os.kill(kernel.pid(), signal.SIGKILL)
        nothing_is_held(server, kernel)


def test_kill_9_of_a_worker_is_mended(server: Server):
    kernel = server.kernel()
    first = workers_of(kernel)
    os.kill(first[0], signal.SIGKILL)
    until("the dead worker is gone", lambda: first[0] not in server.processes())
    until("another took its place", lambda: len(slice_processes(server, kernel)) == 3)
    assert held(server) == 2
    second = workers_of(kernel)
    assert len(second) == 2
    assert first[0] not in second
    server.fetch("DELETE", f"api/kernels/{kernel.id}")
    nothing_is_held(server, kernel)


def test_kill_9_of_the_slice_host_leaves_nothing_and_can_be_used_again(server: Server):
    kernel = server.kernel()
    workers = set(workers_of(kernel))
    hosts = slice_processes(server, kernel) - workers
    assert len(hosts) == 1
    os.kill(hosts.pop(), signal.SIGKILL)
    until("its workers are gone", lambda: not workers & set(server.processes()))
    nothing_is_held(server, kernel)
    assert kernel.slice()["problem"]
    kernel.run("client.close(timeout=1)")
    assert len(workers_of(kernel)) == 2


def test_kill_9_of_the_server_leaves_no_process_and_no_lease(server: Server):
    """Its slices wait eight seconds for another server, and then end by themselves."""
    kernel = server.kernel()
    workers_of(kernel)
    assert len(server.processes()) >= 5
    server.kill()
    until("every process is gone", lambda: not server.processes(), 40)
    until("no lease lives", lambda: server.leases() == [], 15)
    server.start()
    assert held(server) == 0
    assert server.get("aios/api/slices") == []


def test_a_server_that_comes_back_at_once_ends_what_nobody_asks_for(server: Server):
    """The kernels died with the killed server: nobody is there to whom its slices could belong."""
    kernel = server.kernel()
    workers = set(workers_of(kernel))
    server.kill()
    server.start()
    until("no unit is held", lambda: held(server) == 0, 40)
    until("no slice is shown", lambda: server.get("aios/api/slices") == [], 15)
    assert not workers & set(server.processes())
    successor = server.kernel("b.ipynb")
    assert len(workers_of(successor)) == 2
    server.fetch("DELETE", f"api/kernels/{successor.id}")
    nothing_is_held(server, successor)


def test_a_kernel_cannot_touch_the_slice_of_another(server: Server):
    first, second = server.kernel("a.ipynb"), server.kernel("b.ipynb")
    for kernel in (first, second):
        kernel.run('import aios_lab as aios; aios.request(workers=1, memory="500MB"); client = aios.client()')
    theirs = first.slice()["id"]
    for method, path, body in (
        ("GET", f"slices/{theirs}", None),
        ("GET", f"slices/{theirs}/connection", None),
        ("PATCH", f"slices/{theirs}", {"workers": 1}),
        ("DELETE", f"slices/{theirs}", None),
    ):
        answer = second.run(
            "import json, os, urllib.request, urllib.error\n"
            f"request = urllib.request.Request(os.environ['AIOS_URL'] + '/aios/api/{path}',"
            f" method={method!r},"
            f" data={None if body is None else repr(str(body).replace(chr(39), chr(34)).encode())!s},"
            " headers={'X-AIOS-Token': os.environ['AIOS_TOKEN']})\n"
            "try:\n    urllib.request.urlopen(request); print('let in')\n"
            "except urllib.error.HTTPError as error:\n"
            "    print(error.code, json.loads(error.read())['reason'])\n"
        )
        assert answer.startswith("403 "), (method, path, answer)
    address = first.run("print(client.scheduler.address)").strip()
    with pytest.raises(CellError) as failure:
        second.run(
            f"from distributed import Client\nClient({address!r}, security=client.security, timeout=5)"
        )
    assert (
        "TLS" in str(failure.value)
        or "SSL" in str(failure.value)
        or "certificate" in str(failure.value).lower()
    )
    assert second.run("print(client.submit(lambda: 41 + 1).result())").strip() == "42"
