"""From asking to the first torch operation on two workers, against Dask's ``LocalCluster``."""

from __future__ import annotations

import json

from benchmarks.figure import Figure
from benchmarks.serving import server

RUNS = 7

CELL = f"""
import json, time
import aios_lab as aios
from distributed import Client, LocalCluster

def operation():
    import torch
    return float((torch.ones(64, 64) @ torch.ones(64, 64)).sum())

def ours():
    begin = time.perf_counter()
    aios.request(workers=2, memory="1GB")
    client = aios.client()
    client.wait_for_workers(2, timeout=60)
    assert len(client.run(operation)) == 2
    seconds = time.perf_counter() - begin
    aios.release()
    while aios.slice().workers:
        time.sleep(0.02)
    return seconds

def peer():
    begin = time.perf_counter()
    workers = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with workers as cluster, Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        assert len(client.run(operation)) == 2
        return time.perf_counter() - begin

pairs = [(ours(), peer()) for _ in range({RUNS} + 1)][1:]
print("RESULT" + json.dumps(pairs))
"""


def measure() -> list[Figure]:
    with server() as running:
        printed = running.kernel().run(CELL, timeout=600)
    pairs = json.loads(printed.partition("RESULT")[2].splitlines()[0])
    return [
        Figure(
            name="request to first torch operation on 2 workers",
            peer="LocalCluster(n_workers=2)",
            unit="s",
            ours=tuple(ours for ours, _ in pairs),
            peers=tuple(peer for _, peer in pairs),
            target=3.0,
        )
    ]
