"""Steps per second of DDP on two workers of a slice, against ``torchrun`` on the same script."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.serving import server

RUNS = 5

# Two ranks train an MLP of 1.3 million parameters on one thread each; rank 0 writes steps a second.
SCRIPT = """
import sys, time
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

WARM, STEPS = 20, 200
dist.init_process_group("gloo")
torch.manual_seed(0)
torch.set_num_threads(1)
layers = nn.Sequential(nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 768), nn.ReLU(), nn.Linear(768, 10))
model = DistributedDataParallel(layers)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
x, y = torch.randn(64, 512), torch.randint(10, (64,))
for step in range(WARM + STEPS):
    if step == WARM:
        dist.barrier()
        begin = time.perf_counter()
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
if dist.get_rank() == 0:
    with open(sys.argv[1], "w") as file:
        file.write(str(STEPS / (time.perf_counter() - begin)))
dist.destroy_process_group()
"""

CELL = """
import json, os, subprocess, sys
from pathlib import Path
import aios_lab as aios

script, out = {script!r}, Path({out!r})
aios.request(workers=2, memory="1GB", cpus=1)
aios.client().wait_for_workers(2, timeout=120)

def ours():
    aios.train(script=script, args=[str(out)], workers=2)
    return float(out.read_text())

def peer():
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*torchrun, script, str(out)]
    subprocess.run(command, check=True, env={{**os.environ, "OMP_NUM_THREADS": "1"}}, timeout=300)
    return float(out.read_text())

pairs = [(ours(), peer()) for _ in range({runs} + 1)][1:]
print("RESULT" + json.dumps(pairs))
"""


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        script, out = Path(folder) / "train.py", Path(folder) / "steps_a_second"
        script.write_text(SCRIPT)
        with server() as running:
            cell = CELL.format(script=str(script), out=str(out), runs=RUNS)
            printed = running.kernel().run(cell, timeout=900)
    pairs = json.loads(printed.partition("RESULT")[2].splitlines()[0])
    return [
        Figure(
            name="DDP steps on 2 workers",
            peer="torchrun --nproc_per_node=2",
            unit="steps/s",
            ours=tuple(ours for ours, _ in pairs),
            peers=tuple(peer for _, peer in pairs),
            target=0.95,
            more_is_better=True,
        )
    ]
