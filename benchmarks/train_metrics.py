"""What reporting costs: the same training with over 10,000 metrics a minute, and with none."""

from __future__ import annotations

import json

from benchmarks.figure import Figure
from benchmarks.serving import server

RUNS = 10
A_MINUTE = 10_000

CELL = """
import json
import aios_lab as aios

def train(ctx, report):
    import time
    import torch
    import torch.distributed as dist
    from torch import nn

    WARM, STEPS = 20, 400
    torch.manual_seed(0)
    hidden = nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 512), nn.ReLU()
    layers = nn.Sequential(*hidden, nn.Linear(512, 10))
    optimizer = torch.optim.SGD(layers.parameters(), lr=0.01)
    model, optimizer = ctx.prepare(layers, optimizer)
    x, y = torch.randn(32, 512), torch.randint(10, (32,))
    for step in range(WARM + STEPS):
        if step == WARM:
            dist.barrier()
            begin = time.perf_counter()
        outputs = model(x)
        loss = nn.functional.cross_entropy(outputs, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if report:
            ctx.report(loss=loss, accuracy=(outputs[:, 0] > 0).float().mean(), rate=0.01, momentum=0.0)
    return STEPS / (time.perf_counter() - begin)

aios.request(workers=2, memory="1GB", cpus=1)
aios.client().wait_for_workers(2, timeout=120)

def rate(report):
    return aios.train(train, workers=2, report=report).result()

pairs = [(rate(True), rate(False)) for _ in range({runs} + 1)][1:]
print("RESULT" + json.dumps(pairs))
"""
METRICS = 4  # a step


def measure() -> list[Figure]:
    with server() as running:
        printed = running.kernel().run(CELL.replace("{runs}", str(RUNS)), timeout=1800)
    pairs = json.loads(printed.partition("RESULT")[2].splitlines()[0])
    a_minute = 60 * METRICS * min(reporting for reporting, _ in pairs)
    assert a_minute > A_MINUTE, f"only {a_minute:.0f} metrics a minute were reported"
    return [
        Figure(
            name=f"DDP steps with {a_minute:,.0f} metrics a minute or more",
            peer="the same without reports",
            unit="steps/s",
            ours=tuple(reporting for reporting, _ in pairs),
            peers=tuple(silent for _, silent in pairs),
            target=0.98,
            more_is_better=True,
        )
    ]
