"""What users get wrong on their ranks: a clear error within a bounded time, and nothing left running."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client

from aios_lab.training import CannotTrain, Run, TrainingFailed
from aios_lab.training.worker.logs import FILE_LIMIT
from aios_lab.wire import RunState
from training import functions
from training.helpers import Train, ranks_left
from training.test_failures import until

BOUND = 120  # seconds on a loaded machine; torch's own patience is half an hour


def failure(start: Train, fn: Any, **options: Any) -> TrainingFailed:
    with pytest.raises(TrainingFailed) as caught:
        start(fn, **options).wait(BOUND)
    return caught.value


class Config:
    """Has an object of its own that cannot travel."""

    def __init__(self) -> None:
        self.guard = threading.Lock()


def test_what_cannot_travel_is_named_however_deep_it_lies(start: Train, tmp_path: Path) -> None:
    config, words = Config(), (word for word in "text")

    def helper() -> bool:
        return config.guard.locked()

    def uses() -> bool:
        return helper()

    def takes(ctx: Any, words: Any = None) -> None: ...

    for fn, options, named in (
        (uses, {}, r"'config' \(a Config\), which .*helper\(\) uses, cannot be sent"),
        (takes, {"words": words}, r"The argument 'words' \(a generator\) cannot be sent"),
    ):
        with pytest.raises(CannotTrain, match=named):
            start(fn, **options)
    assert list(tmp_path.iterdir()) == [], "no run was begun"


@pytest.mark.parametrize("code", ["out of data", 7])
def test_a_function_that_exits(start: Train, code: str | int) -> None:
    def fn(code: str | int) -> None:
        import sys

        sys.exit(code)

    assert f"sys.exit({code!r})" in str(failure(start, fn, code=code))


def test_a_function_that_exits_well(start: Train) -> None:
    def fn() -> None:
        import sys

        sys.exit()

    assert start(fn).wait(BOUND).state is RunState.FINISHED


class Stuck:
    """Unpickling it never ends."""

    def __reduce__(self) -> Any:
        return time.sleep, (3600,)


def test_a_function_that_hangs_before_it_begins(start: Train) -> None:
    stuck = Stuck()

    def fn() -> Any:
        return stuck

    run = start(fn)
    with pytest.raises(TimeoutError, match="goes on after"):
        run.wait(0.1)
    while len(ranks_left(0)) < 2:
        time.sleep(0.05)
    ends_when_stopped(run)


@pytest.mark.parametrize("how", ["computes", "sleeps", "waits for a thread", "reads what nobody writes"])
def test_a_function_that_hangs(start: Train, how: str) -> None:
    """Whatever it hangs in, its user stops it and has his workers again."""

    def fn(ctx: Any, how: str) -> None:
        import os
        import threading
        import time

        print("hangs", flush=True)
        if how == "computes":
            sum(1 for _ in iter(int, 1))
        elif how == "sleeps":
            while True:
                try:
                    time.sleep(3600)
                except KeyboardInterrupt:  # it will have none of it
                    continue
        elif how == "waits for a thread":
            thread = threading.Thread(target=time.sleep, args=[3600])
            thread.start()
            thread.join()
        else:
            os.read(os.pipe()[0], 1)

    run = start(fn, how=how)
    until(run, "hangs")
    ends_when_stopped(run)


def ends_when_stopped(run: Run) -> None:
    run.cancel()
    run.wait(20)
    assert run.state is RunState.STOPPED
    assert ranks_left(0.5) == []


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


@pytest.mark.parametrize("end", ["returns", "raises", "is killed"])
def test_ranks_that_fork(start: Train, tmp_path: Path, end: str) -> None:
    """What they leave has sessions of its own, parents that are gone, and ears for nothing."""

    def fn(folder: str, end: str) -> str:
        import os
        import signal
        import time

        for _ in range(10):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                        signal.signal(number, signal.SIG_IGN)
                    open(f"{folder}/{os.getpid()}", "w").close()
                    time.sleep(3600)
                os._exit(0)
        while len(os.listdir(folder)) < 20:
            time.sleep(0.01)
        if end == "raises":
            raise ValueError("had enough")
        if end == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return "done"

    left = tmp_path / "left"
    left.mkdir()
    if end == "returns":
        assert start(fn, folder=str(left), end=end).result(BOUND) == "done"
    else:
        says = "had enough" if end == "raises" else "SIGKILL"
        assert says in str(failure(start, fn, folder=str(left), end=end))
    pids = [int(name) for name in os.listdir(left)]
    assert len(pids) == 20
    patience = time.monotonic() + 5
    while (alive := [pid for pid in pids if psutil.pid_exists(pid)]) and time.monotonic() < patience:
        time.sleep(0.05)
    assert alive == []


@pytest.mark.parametrize("end", ["returns", "raises"])
def test_a_process_that_a_rank_forked_does_not_speak_for_it(start: Train, end: str) -> None:
    def fn(ctx: Any, end: str) -> int:
        import os

        ctx.report(value=1)
        if child := os.fork():
            os.waitpid(child, 0)
            ctx.report(value=2)
            return 1
        ctx.report(value=3)
        if end == "raises":
            raise ValueError("of the child")
        return 2

    run = start(fn, end=end)
    assert run.result(BOUND) == 1
    assert run.metrics()["value"] == [(1, 1.0), (2, 2.0)]


def test_the_cluster_is_whole_afterwards(start: Train) -> None:
    assert start(functions.plain_ddp).result(BOUND) == 3.0
