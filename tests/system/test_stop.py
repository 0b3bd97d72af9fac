"""Stopping a run: within two seconds, with what it has learned, and with nothing left running."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from live import Server, serving, until

ENDLESS = """%%aios train --workers 2 --name {name}
import torch
from torch.utils.data import DataLoader, TensorDataset

def train(ctx):
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = DataLoader(TensorDataset(torch.randn(256, 4), torch.randint(2, (256,))), batch_size=32)
    model, optimizer, batches = ctx.prepare(model, optimizer, batches)
    while True:
        for x, y in batches:
            loss = torch.nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ctx.report(loss=loss.item())
"""


def test_a_kernel_that_is_shut_down_says_why_its_run_is_over(tmp_path: Path):
    with serving(tmp_path, config="c.AIOSLab.inventory = {'cpus': 4, 'memory': '8GB'}\n") as server:
        kernel = server.kernel()
        kernel.run(ENDLESS.partition("\n")[2] + "import aios_lab as aios")
        kernel.run("aios.request(workers=2); run = aios.train(train, workers=2, name='cut', wait=False)")
        until("it trains", lambda: run_named(server, "cut").get("step", 0) > 5, 60)
        server.fetch("DELETE", f"api/kernels/{kernel.id}")
        until("it is over", lambda: run_named(server, "cut")["ended"], 15)
        run = run_named(server, "cut")
        assert (run["state"], run["error"]) == ("failed", "The kernel ended while this run was going on.")


def run_named(server: Server, name: str) -> dict:
    return next((run for run in server.get("aios/api/runs") if run["name"] == name), {})


def test_a_stopped_run_keeps_its_model_and_can_be_registered(tmp_path: Path):
    with serving(tmp_path, config="c.AIOSLab.inventory = {'cpus': 4, 'memory': '8GB'}\n") as server:
        kernel = server.kernel()
        with ThreadPoolExecutor(1) as background:
            for name in ("first", "second"):
                cell = background.submit(kernel.run, ENDLESS.format(name=name))
                until("it trains", lambda name=name: run_named(server, name).get("step", 0) > 5, 60)
                begin = time.monotonic()
                server.fetch("POST", f"aios/api/runs/{run_named(server, name)['id']}/stop")
                assert "stopped" in cell.result(timeout=30).lower()
                assert time.monotonic() - begin < 6, "the bound is generous: the machine may be busy"
                run = run_named(server, name)
                assert (run["state"], run["has_model"]) == ("stopped", True), run["log_tail"]
        version = server.fetch("POST", "aios/api/models", {"run_id": run["id"], "name": "partial"})
        assert version["version"] == 1
        outputs = "import aios_lab as aios, torch\nprint(aios.models.load('partial')(torch.ones(1, 4)).shape)"
        assert kernel.run(outputs).strip() == "torch.Size([1, 2])"
