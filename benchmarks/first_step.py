"""The same first step for every launcher: two ranks, DDP over Gloo, a small network. Rank 0 notes the time.

``python first_step.py OUT`` takes it under torchrun. ``python first_step.py --serve NAME OUT`` is a warm
process, as a notebook is, that launches it by accelerate or Ray for each line that it reads, and answers with
the seconds that it took.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path


def first_step(out: str) -> None:
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

    if not dist.is_initialized():  # Ray has done it
        dist.init_process_group("gloo")
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    nn.functional.cross_entropy(model(torch.randn(32, 64)), torch.randint(10, (32,))).backward()
    optimizer.step()
    if dist.get_rank() == 0:
        Path(out).write_text(str(time.time()))
    dist.barrier()


def by_accelerate(out: str) -> None:
    from accelerate import notebook_launcher

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    notebook_launcher(first_step, (out,), num_processes=2, use_port=port)


def by_ray(out: str) -> None:
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

    TorchTrainer(lambda: first_step(out), scaling_config=ScalingConfig(num_workers=2)).fit()


def serve(name: str, out: str) -> None:
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # launchers print
    import torch  # noqa: F401

    if name == "ray":
        import ray

        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    launch = {"accelerate": by_accelerate, "ray": by_ray}[name]
    print("ready", file=told, flush=True)
    for _ in sys.stdin:
        begin = time.time()
        launch(out)
        print(float(Path(out).read_text()) - begin, file=told, flush=True)


if __name__ == "__main__":
    serve(*sys.argv[2:]) if sys.argv[1] == "--serve" else first_step(sys.argv[1])
