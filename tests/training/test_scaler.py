"""A GradScaler of the user's own, where a batch is computed in pieces."""

from __future__ import annotations

from typing import Any

import pytest

from training.helpers import Train

BATCHES = 12


def learns(ctx: Any, scales: bool) -> tuple[list[float], float]:
    """With gradients clipped as torch's recipe has it; the weights, and the scaler's scale, which doubles
    with each of its updates."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    generator = torch.Generator().manual_seed(7)
    data = TensorDataset(torch.randn(48, 4, generator=generator), torch.randn(48, 1, generator=generator))
    torch.manual_seed(1)
    model: Any = torch.nn.Linear(4, 1)
    optimizer: Any = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader: Any = DataLoader(data, batch_size=8)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=1, enabled=scales)
    model, optimizer, loader, scaler = ctx.prepare(model, optimizer, loader, scaler=scaler)
    for _ in range(2):
        for inputs, labels in loader:
            loss = torch.nn.functional.mse_loss(model(inputs), labels)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            ctx.report(loss=loss)
    weights = torch.cat([p.detach().flatten() for p in ctx.unwrap(model).parameters()])
    return weights.tolist(), scaler.get_scale()


def test_a_scaler_steps_with_whole_batches(start: Train) -> None:
    plain, _ = start(learns, scales=False, workers=1).result(90)
    found, scale = start(learns, scales=True, workers=2, accumulate=2).result(90)
    assert found == pytest.approx(plain, abs=1e-5)
    assert scale == 2.0 ** (1 + BATCHES)
