"""The kernel's side against a real server: a slice, a client, a training, and their end."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator

import pytest

from live import CellError, Kernel, Server, serving, until

TRAIN = """%%aios train --workers 2 --name twice --set steps=6 --data numbers
import torch

numbers = torch.arange(5)

def helper(ctx):
    return ctx.rank

def train(ctx, steps=3):
    model = ctx.prepare(torch.nn.Linear(2, 2))
    for step in range(steps):
        ctx.report(loss=float(steps - step))
    print("rank", helper(ctx), "is done with", sum(int(x) for x in ctx.data))
    return steps
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config = "c.AIOSLab.inventory = {'cpus': 4, 'memory': '8GB'}\n"
    with serving(tmp_path_factory.mktemp("server"), config=config) as running:
        yield running


@pytest.fixture(scope="module")
def kernel(server: Server) -> Kernel:
    return server.kernel("mine.ipynb")


def test_a_request_and_a_client_that_lasts(kernel: Kernel) -> None:
    assert "asleep" in kernel.run("%aios")
    shown = kernel.run("import aios_lab as aios\naios.request(workers=1, memory='600MB', cpus=1)")
    assert "of 1 worker (1 CPU, 600 MB each, simulated)" in shown
    assert kernel.run("client = aios.client(); print(client.submit(sum, [1, 2]).result())").endswith("3\n")
    assert kernel.run("print(aios.client() is client)") == "True\n"
    assert "Nothing is missing" in kernel.run("print(aios.why())")
    assert kernel.run("print(aios.slice().workers)") == "1\n"


def test_dasks_own_card_links_to_the_dashboard_behind_the_server(kernel: Kernel) -> None:
    assert "Client: 'tls://" in kernel.run("client")
    url = f"{kernel.server.url}aios/slices/{kernel.slice()['id']}/dashboard/status"
    assert kernel.run("print(client.dashboard_link, client.cluster)") == f"{url} None\n"
    card = kernel.run("print(client._repr_html_())")
    assert "Scheduler Info" in card
    assert f'<a href="{url}"' in card.split("Scheduler Info")[0]
    page = urllib.request.Request(url, headers={"Authorization": f"token {kernel.server.token}"})
    with urllib.request.urlopen(page, timeout=60) as answer:
        assert "Dask Diagnostic UI" in answer.read().decode()


def test_a_resize_keeps_the_client(kernel: Kernel) -> None:
    kernel.run("%aios request --workers 2")
    kernel.run("client.wait_for_workers(2, timeout=60)")
    assert kernel.run("print(aios.client() is client, client.status)") == "True running\n"


def test_the_overview_shows_mine_and_others(server: Server, kernel: Kernel) -> None:
    server.kernel("other.ipynb")
    text = kernel.run("%aios")
    assert "mine.ipynb" in text
    assert [line.split()[0] for line in text.splitlines()].count("→") == 1
    assert len([line for line in text.splitlines() if "s-" in line]) == 2


def test_a_cell_trains_on_both_workers(server: Server, kernel: Kernel) -> None:
    text = kernel.run(TRAIN)
    assert "twice: finished on 2 ranks" in text
    assert (
        kernel.run("print(run is _run, run.result(), 'rank 1 is done with 10' in run.logs(rank=1))")
        == "True 6 True\n"
    )
    [run] = [one for one in server.get("aios/api/runs") if one["name"] == "twice"]
    assert (run["state"], run["world_size"]) == ("finished", 2)
    assert [(data["source"], data["rows"]) for data in run["data"]] == [("tensors: the notebook", 5)]
    assert [point["value"] for point in run["series"]["loss"]] == [6, 5, 4, 3, 2, 1]
    until("MLflow has it", lambda: server.get(f"aios/api/runs/{run['id']}")["mlflow_run_id"])


def test_a_script_in_the_cell(server: Server, kernel: Kernel) -> None:
    cell = "%%aios train --workers 2 --script --name script --arg hello\n"
    kernel.run(cell + "import os, sys\nprint(os.environ['RANK'], 'says', sys.argv[1])")
    assert "1 says hello" in kernel.run("print(run.logs(rank=1))")
    [run] = [one for one in server.get("aios/api/runs") if one["name"] == "script"]
    assert run["state"] == "finished"


def test_the_stop_of_the_panel_ends_the_cell(server: Server, kernel: Kernel) -> None:
    cell = "%%aios train --workers 2 --name long --detach\ndef train(ctx):\n    import time\n"
    kernel.run(cell + "    while True:\n        ctx.report(loss=1.0)\n        time.sleep(0.05)")
    run_id = kernel.run("print(run.id)").strip()
    until("it runs", lambda: server.get(f"aios/api/runs/{run_id}")["step"] > 3, 60)
    server.fetch("POST", f"aios/api/runs/{run_id}/stop")
    text = kernel.run("from aios_lab.notebook.display import watch; watch(run)")
    assert "stopped at step" in text
    until("the server knows", lambda: server.get(f"aios/api/runs/{run_id}")["state"] == "stopped")


def test_release_gives_all_back_and_the_next_use_asks_again(kernel: Kernel) -> None:
    kernel.run("%aios release")
    until("nothing is held", lambda: kernel.slice()["workers"] == 0)
    assert "asleep" in kernel.run("%aios")
    assert kernel.run("print(aios.client().submit(sum, [3, 4]).result())").endswith("7\n")
    assert kernel.run("print(aios.client() is client)") == "False\n"


GONE = "The slice of this client was released, in the panel or with aios.release()"


@pytest.mark.parametrize(
    "use", ["client.submit(sum, [5, 6]).result()", "old.result()", "client.gather([old])"]
)
def test_a_client_of_a_released_slice_says_so_at_once(server: Server, kernel: Kernel, use: str) -> None:
    kernel.run("client = aios.client(); old = client.submit(pow, 2, 3); old.result()")
    server.fetch("DELETE", f"aios/api/slices/{kernel.slice()['id']}")
    until("the kernel knows", lambda: kernel.run("print(client.status)") == "closed\n", 10)
    began = time.monotonic()
    with pytest.raises(CellError) as caught:
        kernel.run(use)
    assert time.monotonic() - began < 2
    assert GONE in str(caught.value)
    assert "Call aios.client() again" in str(caught.value)
    assert len(str(caught.value).strip().splitlines()) == 2
    assert "closed" in kernel.run("client._repr_html_(); print(client.status, client)")


def test_a_cell_that_waits_for_a_result_hears_of_the_release(server: Server, kernel: Kernel) -> None:
    kernel.run(
        "client = aios.client(); from threading import Timer; from aios_lab.notebook.server import Server"
    )
    kernel.run("own = Server.from_environment()")
    kernel.run("Timer(1, own.send, ('DELETE', 'slices/' + own.slice_id)).start()")
    with pytest.raises(CellError) as caught:
        kernel.run("import time; client.submit(time.sleep, 60).result()", timeout=20)
    assert GONE in str(caught.value)
    assert "distributed" not in str(caught.value)


def test_releasing_here_ends_the_client_with_the_same_words(kernel: Kernel) -> None:
    kernel.run("client = aios.client()")
    assert "0 of " in kernel.run("aios.release()")
    with pytest.raises(CellError) as caught:
        kernel.run("client.submit(sum, [5, 6])")
    assert GONE in str(caught.value)


def test_a_cut_connection_alone_is_dasks_own_affair(kernel: Kernel) -> None:
    kernel.run("client = aios.client(); print(client.submit(sum, [1, 2]).result())")
    kernel.run("cut = client.scheduler_comm\nclient.loop.add_callback(cut.comm.abort)")
    back = "print(client.scheduler_comm not in (None, cut) and client.status == 'running')"
    until("it is back", lambda: kernel.run(back) == "True\n", 20)
    assert kernel.run("print(client.submit(sum, [3, 4]).result())").endswith("7\n")
    assert kernel.run("print(aios.client() is client)") == "True\n"


def test_what_a_request_prints_is_decided(kernel: Kernel) -> None:
    assert "0 of 1 worker" in kernel.run("aios.request(workers=1, memory='600MB')\n%aios release")
    shown = kernel.run("%aios request --workers 2")
    assert "of 2 workers" in shown
    assert "requested" not in shown
    kernel.run("aios.client().wait_for_workers(2, timeout=60)")
    shown = kernel.run("%aios request --workers 1")
    assert "of 1 worker" in shown
    assert "Waiting" not in shown


def test_why_and_forecast_say_when_and_ask_for_nothing(server: Server, kernel: Kernel) -> None:
    waiter = server.kernel("waiter.ipynb")
    try:
        kernel.run("aios.request(workers=3, min_workers=3, memory='600MB', cpus=1, duration=3600)")
        kernel.run("aios.client().wait_for_workers(3, timeout=60)")
        waiter.run("import aios_lab as aios; aios.request(workers=4, min_workers=4, memory='600MB'); 1")
        until("it waits", lambda: waiter.slice()["reason"])
        why = waiter.run("%aios why")
        assert "Waiting for 4 workers" in why
        assert "mine.ipynb holds 3 of 4 CPU threads" in why
        assert "1 worker would start now" in why
        assert "no forecast yet" in why or "Starts about" in why
        assert "Waiting for 4 workers" in waiter.run("%aios forecast")
        shown = waiter.run("%aios forecast --workers 1")
        assert "With 1 worker (1 CPU, 600 MB each): 1 would start now." in shown
        assert waiter.slice()["max_workers"] == 4
        told = waiter.run("told = aios.forecast(workers=1); print(told.at_once, told.after.state)")
        assert told == "1 now\n"
        with pytest.raises(CellError) as caught:
            waiter.run("aios.forecast(worker=1)")
        assert "aios.forecast() has no option 'worker'. Did you mean workers?" in str(caught.value)
        with pytest.raises(CellError) as caught:
            waiter.run("%aios forecast --workers 99")
        assert "more than the cluster" in str(caught.value)
    finally:
        server.fetch("DELETE", f"api/kernels/{waiter.id}")


def test_a_wait_that_takes_too_long_says_why(server: Server, kernel: Kernel) -> None:
    crowd = server.kernel("crowd.ipynb")
    with pytest.raises(CellError) as caught:
        crowd.run("import aios_lab as aios; aios.request(workers=9, min_workers=9, memory='150MB'); 1")
    assert "AIOSError" in str(caught.value)
    kernel.run("aios.request(workers=3, min_workers=3)")
    crowd.run("aios.request(workers=3, min_workers=3, memory='150MB'); 1")
    with pytest.raises(CellError) as caught:
        crowd.run("aios.client(timeout=3)")
    text = str(caught.value)
    assert "No worker came within 3 s" in text
    assert "mine.ipynb" in text
    assert "Waiting for the first worker" in text
