"""Functions that the tests train: small, real, and some of them ill-behaved."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any


def regression(
    ctx: Any,
    epochs: int = 3,
    batch: int = 15,
    samples: int = 64,
    rule: str = "sgd",
    fails_at: int | None = None,
    needs_every_epoch: bool = False,
) -> list[float]:
    """Weights after some epochs over data whose last batch is small; the same on any number of ranks."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(1)
    x = torch.randn(samples, 4)
    y = x @ torch.tensor([[1.0], [-2.0], [3.0], [0.5]]) + 0.1
    model: Any = torch.nn.Linear(4, 1)
    optimizer: Any = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    if rule == "adam":
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    loader: Any = DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=True)
    rates: Any = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.7)
    model, optimizer, loader, rates = ctx.prepare(model, optimizer, loader, scheduler=rates)
    ctx.progress(total_steps=epochs * len(loader), total_epochs=epochs)
    step = 0
    for epoch in range(epochs):
        losses = []
        for inputs, labels in loader:
            loss = torch.nn.functional.mse_loss(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            ctx.report(epoch=epoch, loss=loss)
            step += 1
            if step == fails_at:
                ctx.finish()  # what is being written is there before it fails
                raise RuntimeError("broken off")
        rates.step()
        if needs_every_epoch:
            print(sum(losses) / len(losses))
    inner = ctx.unwrap(model)
    return [float(v) for v in torch.cat([p.detach().flatten() for p in inner.parameters()])]


def plain_ddp() -> float:
    """As any DDP tutorial has it: no context."""
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    dist.init_process_group("gloo")
    model = DistributedDataParallel(torch.nn.Linear(2, 1))
    model(torch.ones(3, 2)).sum().backward()
    total = torch.tensor([float(dist.get_rank() + 1)])
    dist.all_reduce(total)
    dist.destroy_process_group()
    return float(total)


def facts(ctx: Any) -> dict[str, Any]:
    import torch

    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "OMP_NUM_THREADS", "MASTER_ADDR")
    return {
        **{name: os.environ[name] for name in names},
        "threads": torch.get_num_threads(),
        "rank": ctx.rank,
    }


def until_stopped(ctx: Any) -> int:
    from aios_lab.training import Stopped

    step = 0
    try:
        while True:
            step += 1
            ctx.report(value=step)
            time.sleep(0.01)
    except Stopped:
        return step


def deaf() -> None:
    """Neither reports nor reacts to an interrupt."""
    print("deaf", flush=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    while True:
        time.sleep(3600)


def in_a_collective(ctx: Any) -> None:
    """Rank 0 never joins the barrier that rank 1 waits at."""
    import torch.distributed as dist

    group = ctx.process_group
    print("waiting", flush=True)
    if ctx.rank == 1:
        dist.barrier(group)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    while True:
        time.sleep(3600)


def fails_on_one(ctx: Any, how: str) -> None:
    """Rank 1 fails in some way while rank 0 waits for it."""
    import torch
    import torch.distributed as dist

    group = ctx.process_group
    if ctx.rank == 1:
        if how == "raise":
            raise ValueError("rank one is unhappy")
        if how == "exit":
            sys.exit(3)
        if how == "hard":
            os._exit(4)
        os.kill(os.getpid(), signal.SIGSEGV)
    dist.all_reduce(torch.ones(1), group=group)


def chatty(lines: int) -> None:
    line = "x" * 60
    for number in range(lines):
        print(number, line)
    print("the last line")


def with_children(ctx: Any) -> int:
    """Leaves a process behind that ignores everything."""
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
    return 7


def problem(samples: int) -> tuple[Any, Any, Any]:
    """Inputs, targets, and the number of each; seeds torch."""
    import torch

    torch.manual_seed(1)
    x = torch.randn(samples, 4)
    return x, x @ torch.tensor([[1.0], [-2.0], [3.0], [0.5]]) + 0.1, torch.arange(samples)


def counted(
    ctx: Any, seen: str, epochs: int = 3, samples: int = 96, pause: float = 0.01, given: bool = False
) -> list[float]:
    """As ``regression``; each rank also writes which samples it took in which step, under its attempt. A step
    takes ``pause`` seconds until there is a file ``fast`` beside the folder ``seen``. With ``given``
    it trains on the run's data, which is to be ``problem``."""
    import json

    import torch
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(*problem(samples))
    model: Any = torch.nn.Linear(4, 1)
    optimizer: Any = torch.optim.Adam(model.parameters(), lr=0.05)
    loader: Any = DataLoader(ctx.data if given else data, batch_size=8, shuffle=True)
    rates: Any = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)
    model, optimizer, loader, rates = ctx.prepare(model, optimizer, loader, scheduler=rates)
    ctx.progress(total_steps=epochs * len(loader), total_epochs=epochs)
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
    with open(f"{seen}/{attempt}-{ctx.rank}", "a") as notes:
        for epoch in range(epochs):
            for inputs, labels, which in loader:
                loss = torch.nn.functional.mse_loss(model(inputs), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if not os.path.exists(f"{seen}/../fast"):
                    time.sleep(pause)
                ctx.report(epoch=epoch, loss=loss)
                step = round(loader.epoch * len(loader) + loader.batches.consumed / loader.batches.batch)
                json.dump([step, epoch, which.tolist()], notes)
                notes.write("\n")
                notes.flush()
            rates.step()
    inner = ctx.unwrap(model)
    return [float(v) for v in torch.cat([p.detach().flatten() for p in inner.parameters()])]


def dies_at_step(ctx: Any, at: int) -> None:
    """As out of memory: killed at the same place every time."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    model: Any = torch.nn.Linear(1, 1)
    loader: Any = DataLoader(TensorDataset(torch.ones(20, 1)), batch_size=2)
    optimizer: Any = torch.optim.SGD(model.parameters(), lr=0.1)
    model, optimizer, loader = ctx.prepare(model, optimizer, loader)
    for step, (batch,) in enumerate(loader):
        model(batch).sum().backward()
        optimizer.step()
        if step == at and ctx.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def until_told(
    ctx: Any,
    pause: float = 0.05,
    catches: bool = True,
    hangs_at: int = 0,
    never_saves: bool = False,
    slow_to_gather: bool = False,
) -> tuple[float, int]:
    """Each step adds one to its only weight; what that is when it is stopped, and the number of steps."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from aios_lab.training import Stopped
    from aios_lab.training.saving import checkpoints

    class Slow(torch.nn.Linear):
        def __getstate__(self) -> dict[str, Any]:
            time.sleep(float(os.environ.pop("SLOW", "0")))
            return self.__dict__.copy()

    def for_ever(*args: Any) -> None:
        print("saving", flush=True)
        time.sleep(3600)

    if never_saves:
        vars(checkpoints)["commit"] = for_ever
    model: Any = (Slow if slow_to_gather else torch.nn.Linear)(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    optimizer: Any = torch.optim.SGD(model.parameters(), lr=1.0)
    loader: Any = DataLoader(TensorDataset(torch.ones(8, 1)), batch_size=4)
    model, optimizer, loader = ctx.prepare(model, optimizer, loader)
    step = 0
    try:
        while True:
            for (x,) in loader:
                optimizer.zero_grad()
                (-model(x)).mean().backward()
                optimizer.step()
                step += 1
                if step == hangs_at:
                    print("hangs", flush=True)
                    time.sleep(3600)
                ctx.report(step=step, value=step)
                time.sleep(pause)
    except Stopped:
        if not catches:
            raise
        if slow_to_gather:
            os.environ["SLOW"] = "2.5"
        return float(ctx.unwrap(model).weight), step


def rated(ctx: Any, fails_at: int = 0) -> tuple[list[float], list[int], int]:
    """The learning rate and the number of this rank's samples in each step, and how many steps counted."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(1)
    x = torch.randn(96, 4)
    model: Any = torch.nn.Linear(4, 1)
    optimizer: Any = torch.optim.SGD(model.parameters(), lr=0.1)  # without any state of its own
    loader: Any = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=16)
    model, optimizer, loader = ctx.prepare(model, optimizer, loader)
    rates: list[float] = []
    sizes: list[int] = []
    optimizer.register_step_pre_hook(lambda *_: rates.append(optimizer.param_groups[0]["lr"]))
    for inputs, targets in loader:
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(inputs), targets).backward()
        optimizer.step()
        sizes.append(len(inputs))
        ctx.report(rate=rates[-1])
        if len(sizes) == fails_at:
            ctx.finish()
            raise RuntimeError("broken off")
    return rates, sizes, ctx._pace.stepped
