"""What a change of its workers costs a run: the seconds in which no rank trains, and the steps done again.

The peer is what a launcher without spares does: it starts everybody anew. ``torchrun`` on as many ranks is
timed from its start to its first step, in the same run.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.serving import server

RUNS = 10

# Two ranks train an MLP of 1.3 million parameters; what each change cost is what the run itself reports.
CELL = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
import aios_lab as aios

def train(ctx):
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset
    torch.manual_seed(0)
    layers = nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 768), nn.ReLU(), nn.Linear(768, 10)
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    data = TensorDataset(torch.randn(6400, 512), torch.randint(10, (6400,)))
    model, optimizer, batches = ctx.prepare(model, optimizer, DataLoader(data, batch_size=64, shuffle=True))
    for epoch in ctx.epochs(100_000):
        for x, y in batches:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            ctx.report(loss=loss)

def until(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, run.view()
        time.sleep(0.02)

def trains(size):
    until(lambda: run.view().world_size == size and run.view().state == "running")
    goal = run.view().step + 20
    until(lambda: run.view().step >= goal)

def changed(act, size):
    before = len(run.view().resizes)
    lost = run.view().lost.steps
    act()
    until(lambda: len(run.view().resizes) > before)
    trains(size)
    return run.view().resizes[before].seconds, run.view().resizes[before:], run.view().lost.steps - lost

def kill_worker():
    os.kill(max(aios.client().run(os.getpid).values()), signal.SIGKILL)

def torchrun():
    begin = time.time()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*launcher, script, out], check=True, env=environment, timeout=300)
    return float(Path(out).read_text()) - begin

aios.request(workers=2, memory="1GB", cpus=1)
aios.client().wait_for_workers(2, timeout=120)
run = aios.train(train, wait=False, workers=2, checkpoint_every=interval)
trains(2)
found = {"shrink": [], "grow": [], "worker": [], "steps": [], "peer": []}
for number in range(runs + 1):
    shrink = changed(lambda: aios.request(workers=1), 1)
    grow = changed(lambda: aios.request(workers=2), 2)
    until(lambda: len(run.view().checkpoints) > 0)
    worker = changed(kill_worker, 2)
    if number:
        found["shrink"].append(shrink[0])
        found["grow"].append(grow[0])
        found["worker"].append(worker[0])
        found["steps"].append(worker[2])
        found["peer"].append(torchrun())
run.kill()
print("RESULT" + json.dumps(found))
"""

SCRIPT = """
import sys, time
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
layers = nn.Sequential(nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 768), nn.ReLU(), nn.Linear(768, 10))
model = DistributedDataParallel(layers)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
nn.functional.cross_entropy(model(torch.randn(32, 512)), torch.randint(10, (32,))).backward()
optimizer.step()
if dist.get_rank() == 0:
    with open(sys.argv[1], "w") as file:
        file.write(str(time.time()))
dist.destroy_process_group()
"""
INTERVAL = 50  # steps between two checkpoints


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        script, out = Path(folder) / "start.py", Path(folder) / "began"
        script.write_text(SCRIPT)
        with server() as running:
            names = f"script, out, runs, interval = {str(script)!r}, {str(out)!r}, {RUNS}, {INTERVAL}\n"
            printed = running.kernel().run(names + CELL, timeout=1800)
    found = json.loads(printed.partition("RESULT")[2].splitlines()[0])
    print(f"steps done again after a worker was killed, at one checkpoint each {INTERVAL}: {found['steps']}")
    return [
        _figure("pause of a run that shrinks from 2 workers to 1", found["shrink"], found["peer"], 5.0),
        _figure("pause of a run that grows from 1 worker to 2", found["grow"], found["peer"], 5.0),
        _figure("from a worker's SIGKILL to training again", found["worker"], found["peer"], 2.0),
    ]


def _figure(name: str, ours: list[float], peers: list[float], target: float) -> Figure:
    return Figure(
        name=name,
        peer="torchrun's start to its first step",
        unit="s",
        ours=tuple(ours),
        peers=tuple(peers),
        target=target,
    )
