"""What users get wrong on their ranks: a clear error within a bounded time, and nothing left running."""

from __future__ import annotations

import socket
from typing import Any

import psutil
import pytest
from distributed import Client

from aios_lab.training import TrainingFailed
from aios_lab.training.worker.logs import FILE_LIMIT
from training import functions
from training.helpers import Train

BOUND = 120  # seconds on a loaded machine; torch's own patience is half an hour


def failure(start: Train, fn: Any, **options: Any) -> TrainingFailed:
    with pytest.raises(TrainingFailed) as caught:
        start(fn, **options).wait(BOUND)
    return caught.value


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_ranks_that_made_different_models(start: Train, strategy: str) -> None:
    def fn(ctx: Any) -> None:
        import torch

        ctx.prepare(torch.nn.Linear(4, 2 + ctx.rank))

    failed = failure(start, fn, strategy=strategy)
    assert "All ranks must make the same model: 'weight' is 2x4 on rank 0 and 3x4 on rank 1" in str(failed)


def test_ranks_that_made_models_of_different_parts(start: Train) -> None:
    def fn(ctx: Any) -> None:
        import torch

        ctx.prepare(torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(1 + ctx.rank))))

    assert "'1.weight' is missing on rank 0 and 2x2 on rank 1" in str(failure(start, fn))


def test_ranks_that_disagree_in_a_collective(start: Train) -> None:
    def fn(ctx: Any) -> None:
        import torch
        import torch.distributed as dist

        dist.all_reduce(torch.ones(1000 * (1 + ctx.rank)), group=ctx.process_group)

    assert "ranks called the same collective with tensors of different sizes" in str(failure(start, fn))


def test_a_rank_that_leaves_the_others_waiting(start: Train) -> None:
    def fn(ctx: Any) -> None:
        import torch
        import torch.distributed as dist

        group = ctx.process_group
        if ctx.rank == 0:
            dist.all_reduce(torch.ones(1), group=group)

    failed = failure(start, fn)
    assert failed.rank == 0
    assert failed.followed == ()


def test_a_port_that_is_taken(start: Train) -> None:
    def fn(port: int) -> None:
        import os

        import torch.distributed as dist

        rank = int(os.environ["RANK"])
        dist.TCPStore("127.0.0.1", port, is_master=rank == 0, wait_for_workers=False)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        failed = failure(start, fn, port=taken.getsockname()[1])
    assert "EADDRINUSE" in str(failed)


@pytest.mark.parametrize("what", ["tensor", "model", "group"])
def test_cuda_where_there_is_none(start: Train, what: str) -> None:
    def fn(ctx: Any, what: str) -> None:
        import torch
        import torch.distributed as dist

        if what == "tensor":
            torch.ones(1, device="cuda")
        elif what == "model":
            torch.nn.Linear(1, 1).cuda()
        else:
            dist.init_process_group("nccl")

    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    assert any(word in str(failure(start, fn, what=what)) for word in ("CUDA", "NCCL"))


def test_a_gigabyte_of_output(start: Train, client: Client) -> None:
    def fn() -> str:
        import os

        megabyte = (b"x" * 1023 + b"\n") * 1024
        for _ in range(1024):
            written = 0
            while written < len(megabyte):
                written += os.write(1, megabyte[written:])
        print("the last line")
        return "done"

    def held() -> int:
        return psutil.Process().memory_info().rss

    before = client.run(held)
    run = start(fn, workers=1)
    assert run.result(2 * BOUND) == "done"
    assert run.logs().splitlines()[-1] == "[rank 0] the last line"
    assert (run.folder / "rank0.log").stat().st_size < FILE_LIMIT + 100
    grown = {address: rss - before[address] for address, rss in client.run(held).items()}
    assert max(grown.values()) < 256 * 2**20


def test_endless_output_without_a_line(start: Train) -> None:
    def fn() -> str:
        import sys

        for _ in range(64):
            sys.stdout.write("y" * 2**20)
        return "done"

    assert start(fn, workers=1).result(BOUND) == "done"


def test_ranks_that_fork(start: Train) -> None:
    def fn() -> int:
        import os
        import time

        for _ in range(20):
            if os.fork() == 0:
                os.setsid()
                time.sleep(3600)
        return len(os.listdir("/proc/self/fd"))

    assert start(fn).result(BOUND) > 0


def test_the_cluster_is_whole_afterwards(start: Train) -> None:
    assert start(functions.plain_ddp).result(BOUND) == 3.0
