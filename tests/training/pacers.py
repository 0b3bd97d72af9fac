"""A function that shows in which pieces a rank computes its batches, and by which rate it learns."""

from __future__ import annotations

import time
from typing import Any

from aios_lab.training import Run

SHOWN = ("ranks", "at_once", "pieces", "batches", "rate")


def paces(ctx: Any) -> None:
    """Trains until it is stopped. With each step of the optimizer it reports how many ranks there are, how
    many samples this one computes at once and in how many pieces, the global batches of an epoch, and the
    learning rate of the step."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    model: Any = torch.nn.Linear(4, 1)
    optimizer: Any = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader: Any = DataLoader(TensorDataset(torch.randn(96, 4), torch.randn(96, 1)), batch_size=8)
    model, optimizer, loader = ctx.prepare(model, optimizer, loader)
    rates: list[float] = []
    optimizer.register_step_pre_hook(lambda *_: rates.append(optimizer.param_groups[0]["lr"]))
    pieces = 0
    while True:
        for inputs, labels in loader:
            loss = torch.nn.functional.mse_loss(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            pieces += 1
            time.sleep(0.02)
            if rates:
                shown = (ctx.world_size, len(inputs), pieces, len(loader), rates.pop())
                ctx.report(**dict(zip(SHOWN, shown, strict=True)))
                pieces = 0


def shown(run: Run) -> set[tuple[float, ...]]:
    """All that ``paces`` reported."""
    metrics = run.metrics()
    columns = ([round(value, 6) for _, value in metrics[name]] for name in SHOWN)
    return set(zip(*columns, strict=True))
