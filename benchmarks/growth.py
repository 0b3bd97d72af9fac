"""From asking for one worker more to its first torch operation, against ``LocalCluster.scale``: by a process
that was kept ready, and by one that is forked anew."""

from __future__ import annotations

import json

from benchmarks.figure import Figure
from benchmarks.serving import server

# Processes that are kept ready: how many pairs, and the ratio to reach.
RUNS = {2: (20, 20.0), 0: (7, 8.0)}
SETTLE = 4.0  # seconds in which another is made ready: nobody grows twice in a moment

CELL = """
import json, time
import aios_lab as aios
from distributed import Client, LocalCluster

def operation():
    import torch
    return float((torch.ones(64, 64) @ torch.ones(64, 64)).sum())

def until(condition):
    while not condition():
        time.sleep(0.02)

def grown(client, scale, back):
    begin = time.perf_counter()
    scale(2)
    client.wait_for_workers(2, timeout=60)
    assert len(client.run(operation)) == 2
    seconds = time.perf_counter() - begin
    back(1)
    until(lambda: len(client.scheduler_info(n_workers=-1)["workers"]) == 1)
    return seconds

aios.request(workers=1, memory="1GB")
ours = aios.client()
cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)
peer = Client(cluster, set_as_default=False)

def pair():
    time.sleep(settle)
    resize = lambda workers: aios.request(workers=workers)
    first = grown(ours, resize, resize)
    until(lambda: aios.slice().state == "active")
    return first, grown(peer, cluster.scale, cluster.scale)

pairs = [pair() for _ in range(runs + 1)][1:]
print("RESULT" + json.dumps(pairs))
"""


def measure() -> list[Figure]:
    return [_with(processes) for processes in RUNS]


def _with(processes: int) -> Figure:
    runs, target = RUNS[processes]
    with server(f"c.AIOSLab.spares = 0\nc.AIOSLab.spare_processes = {processes}\n") as running:
        printed = running.kernel().run(f"runs, settle = {runs}, {SETTLE}\n{CELL}", timeout=600)
    pairs = json.loads(printed.partition("RESULT")[2].splitlines()[0])
    return Figure(
        name=f"one worker more to its first torch operation, {'kept ready' if processes else 'forked anew'}",
        peer="LocalCluster.scale(n+1)",
        unit="s",
        ours=tuple(ours for ours, _ in pairs),
        peers=tuple(peer for _, peer in pairs),
        target=target,
    )
