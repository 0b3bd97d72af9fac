"""From asking to the first torch operation on two workers, against Dask's ``LocalCluster``: in a slice that
was kept ready, and in one that is opened anew."""

from __future__ import annotations

import json

from benchmarks.figure import Figure
from benchmarks.serving import server

# How many pairs, and the ratio to reach, with a spare and without.
RUNS = {1: (20, 30.0), 0: (7, 4.0)}
SETTLE = 4.0  # seconds in which the next spare is opened: nobody asks twice in a moment

CELL = """
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

def pair():
    time.sleep(settle)
    return ours(), peer()

pairs = [pair() for _ in range(runs + 1)][1:]
print("RESULT" + json.dumps(pairs))
"""


def measure() -> list[Figure]:
    return [_with(spares) for spares in RUNS]


def _with(spares: int) -> Figure:
    runs, target = RUNS[spares]
    with server(f"c.AIOSLab.spares = {spares}\n") as running:
        cell = f"runs, settle = {runs}, {SETTLE if spares else 0}\n{CELL}"
        printed = running.kernel().run(cell, timeout=600)
    pairs = json.loads(printed.partition("RESULT")[2].splitlines()[0])
    how = "kept ready" if spares else "opened anew"
    return Figure(
        name=f"request to first torch operation on 2 workers, {how}",
        peer="LocalCluster(n_workers=2)",
        unit="s",
        ours=tuple(ours for ours, _ in pairs),
        peers=tuple(peer for _, peer in pairs),
        target=target,
    )
