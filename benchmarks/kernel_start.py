"""From the start request to the kernel's first reply, with our provisioner and with the stock one."""

from __future__ import annotations

import json
import sys
import time

from jupyter_client.blocking.client import BlockingKernelClient

from benchmarks.figure import Figure
from benchmarks.serving import server
from live import Server, answer_of, until

RUNS = 20


def seconds_to_ready(running: Server, kernel_name: str) -> float:
    begin = time.perf_counter()
    kernel_id = running.fetch("POST", "api/kernels", {"name": kernel_name})["id"]
    connection = running.folder / "runtime" / f"kernel-{kernel_id}.json"
    until("the connection file", connection.exists, every=0.002)
    client = BlockingKernelClient()
    client.load_connection_file(str(connection))
    client.start_channels()
    answer_of(client)
    seconds = time.perf_counter() - begin
    client.stop_channels()
    running.fetch("DELETE", f"api/kernels/{kernel_id}")
    return seconds


def add_stock_kernel(running: Server) -> None:
    """A kernelspec like the built-in one that asks for Jupyter's own provisioner."""
    folder = running.folder / "data" / "kernels" / "stock"
    folder.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    provisioner = {"kernel_provisioner": {"provisioner_name": "local-provisioner"}}
    spec = {"argv": argv, "display_name": "stock", "language": "python", "metadata": provisioner}
    (folder / "kernel.json").write_text(json.dumps(spec))


def measure() -> list[Figure]:
    with server() as running:
        add_stock_kernel(running)
        seconds: dict[str, list[float]] = {"python3": [], "stock": []}
        for run in range(RUNS + 1):
            # Each goes first in every other pair: the second finds the machine as the first left it.
            for name in sorted(seconds, reverse=bool(run % 2)):
                seconds[name].append(seconds_to_ready(running, name))
    return [
        Figure(
            name="kernel start to first reply",
            peer="local-provisioner",
            unit="s",
            ours=tuple(seconds["python3"][1:]),
            peers=tuple(seconds["stock"][1:]),
            target=1 / 1.1,
        )
    ]
