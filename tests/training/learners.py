"""Functions that show whether ranks learn together what one process learns alone."""

from __future__ import annotations

from typing import Any

STEPS = 50


def classifier(ctx: Any, after: int = 0) -> dict[str, Any]:
    """A small network with blocks: the loss over all samples before each of its first steps, the weights
    then, and after so many steps more the accuracy on samples that it has not seen.

    253 samples in batches of 22 are 11 whole ones and one of 11.
    """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    x, y, unseen, theirs = problem(253)
    torch.manual_seed(5)
    model: Any = net()
    optimizer: Any = torch.optim.AdamW(model.parameters(), lr=0.01)
    loader: Any = DataLoader(TensorDataset(x, y), batch_size=22)
    model, optimizer, loader = ctx.prepare(model, optimizer, loader)
    losses: list[float] = []
    weights: list[float] = []
    taken = [0]
    optimizer.register_step_post_hook(lambda *_: taken.append(1))
    while len(losses) < STEPS or len(taken) < STEPS + after:
        for inputs, labels in loader:
            if len(losses) < len(taken) <= STEPS:
                with torch.no_grad():
                    losses.append(float(nn.functional.cross_entropy(model(x), y)))
                if len(losses) == STEPS:
                    inner = ctx.unwrap(model)
                    weights = torch.cat([p.detach().flatten() for p in inner.parameters()]).tolist()
            if len(losses) == STEPS and len(taken) == STEPS + after:
                break
            loss = nn.functional.cross_entropy(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            ctx.report(loss=losses[-1])
    with torch.no_grad():
        accuracy = float((model(unseen).argmax(1) == theirs).float().mean())
    return {"losses": losses, "weights": weights, "accuracy": accuracy, "type": type(inner).__name__}


def plainly(*given: Any) -> Any:
    """In place of ``ctx.prepare``."""
    return given


def problem(samples: int) -> tuple[Any, Any, Any, Any]:
    """Inputs and labels to learn from, and a thousand others."""
    import torch

    generator = torch.Generator().manual_seed(11)
    x = torch.randn(samples, 12, generator=generator)
    rule = torch.randn(12, 4, generator=generator)
    unseen = torch.randn(1000, 12, generator=generator)
    return x, (x @ rule).argmax(1), unseen, (unseen @ rule).argmax(1)


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
