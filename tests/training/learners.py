"""Functions that show whether ranks learn together what one process learns alone."""

from __future__ import annotations

from typing import Any


def classifier(
    ctx: Any, steps: int = 50, batch: int = 22, samples: int = 242, epochs: int = 0, **how: Any
) -> dict[str, Any]:
    """Digits-like data, a small network with blocks; losses over the whole batch, weights, accuracy."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    x, y = problem(samples)
    torch.manual_seed(5)
    model: Any = net()
    optimizer: Any = torch.optim.AdamW(model.parameters(), lr=0.01)
    loader: Any = DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=True)
    model, optimizer, loader = ctx.prepare(model, optimizer, loader)
    losses: list[float] = []
    while len(losses) < steps:
        for inputs, labels in loader:
            with torch.no_grad():
                losses.append(float(nn.functional.cross_entropy(model(x), y)))
            loss = nn.functional.cross_entropy(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            ctx.report(loss=losses[-1])
            if len(losses) == steps:
                break
    with torch.no_grad():
        accuracy = float((model(x).argmax(1) == y).float().mean())
    inner = ctx.unwrap(model)
    weights = torch.cat([p.detach().flatten() for p in inner.parameters()])
    return {"losses": losses, "weights": weights.tolist(), "accuracy": accuracy, "type": type(inner).__name__}


def problem(samples: int) -> tuple[Any, Any]:
    import torch

    generator = torch.Generator().manual_seed(11)
    x = torch.randn(samples, 12, generator=generator)
    labels = (x @ torch.randn(12, 4, generator=generator)).argmax(1)
    return x, labels


def net() -> Any:
    from torch import nn

    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(width)
            self.inner = nn.Linear(width, 2 * width)
            self.outer = nn.Linear(2 * width, width)

        def forward(self, x: Any) -> Any:
            return x + self.outer(nn.functional.gelu(self.inner(self.norm(x))))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter = nn.Linear(12, 10)
            self.blocks = nn.ModuleList(Block(10) for _ in range(2))
            self.leave = nn.Linear(10, 4)

        def forward(self, x: Any) -> Any:
            x = self.enter(x)
            for block in self.blocks:
                x = block(x)
            return self.leave(x)

    return Net()
