"""Steps per second of DDP on two workers of a slice, against ``torchrun`` on the same scripts."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.serving import server

RUNS = 10

# Two ranks train on one thread each; rank 0 writes steps a second.
SCRIPT = """
import sys, time
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

WARM = 20
dist.init_process_group("gloo")
torch.manual_seed(0)
torch.set_num_threads(1)
{model}
assert 1e6 <= sum(p.numel() for p in layers.parameters()) <= 5e6
model = DistributedDataParallel(layers)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
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
MODELS = {
    "an MLP of 1.3 million parameters": """
STEPS = 200
layers = nn.Sequential(nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 768), nn.ReLU(), nn.Linear(768, 10))
x, y = torch.randn(64, 512), torch.randint(10, (64,))
""",
    "a CNN of 1.2 million parameters": """
STEPS = 30
def stage(wide, out):
    return nn.Conv2d(wide, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2)
layers = nn.Sequential(*stage(3, 64), *stage(64, 128), *stage(128, 384), nn.Flatten(), nn.Linear(6144, 110))
x, y = torch.randn(16, 3, 32, 32), torch.randint(110, (16,))
""",
}

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
    return [_with(name, model) for name, model in MODELS.items()]


def _with(name: str, model: str) -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        script, out = Path(folder) / "train.py", Path(folder) / "steps_a_second"
        script.write_text(SCRIPT.replace("{model}", model))
        with server() as running:
            cell = CELL.format(script=str(script), out=str(out), runs=RUNS)
            printed = running.kernel().run(cell, timeout=1800)
    pairs = json.loads(printed.partition("RESULT")[2].splitlines()[0])
    return Figure(
        name=f"DDP steps of {name} on 2 workers",
        peer="torchrun --nproc_per_node=2",
        unit="steps/s",
        ours=tuple(ours for ours, _ in pairs),
        peers=tuple(peer for _, peer in pairs),
        target=0.98,
        more_is_better=True,
    )
