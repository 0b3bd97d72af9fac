"""From giving two workers back until their units are free for others, against closing a ``LocalCluster``."""

from __future__ import annotations

import json

from benchmarks.figure import Figure
from benchmarks.serving import server

RUNS = 10
LIMIT = 0.5  # seconds

CELL = """
import json, time
import aios_lab as aios
from distributed import Client, LocalCluster

def operation():
    import torch
    return float((torch.ones(64, 64) @ torch.ones(64, 64)).sum())

def ours():
    aios.request(workers=2, memory="1GB")
    client = aios.client()
    client.wait_for_workers(2, timeout=60)
    client.run(operation)
    begin = time.perf_counter()
    aios.release()
    while aios.slice().state != "requested":
        time.sleep(0.002)
    return time.perf_counter() - begin

def peer():
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    client = Client(cluster)
    client.wait_for_workers(2, timeout=60)
    client.run(operation)
    begin = time.perf_counter()
    client.close()
    cluster.close()
    return time.perf_counter() - begin

pairs = [(ours(), peer()) for _ in range(runs + 1)][1:]
print("RESULT" + json.dumps(pairs))
"""


def measure() -> list[Figure]:
    with server() as running:
        printed = running.kernel().run(f"runs = {RUNS}\n{CELL}", timeout=600)
    pairs = json.loads(printed.partition("RESULT")[2].splitlines()[0])
    ours = tuple(ours for ours, _ in pairs)
    peers = tuple(peer for _, peer in pairs)
    name = "release of 2 workers until their units are free"
    return [
        Figure(name, "LocalCluster.close()", "s", ours, peers, target=1.0),
        Figure(name, "the limit", "s", ours, (LIMIT,), target=1.0),
    ]
