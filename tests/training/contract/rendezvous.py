"""Ways for ranks to come together: ``rendezvous.py FOLDER plainly|explicitly``."""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def meet(**options):  # type: ignore[no-untyped-def]
    dist.init_process_group("gloo", **options)
    assert (dist.get_rank(), dist.get_world_size()) == (rank, world)
    total = torch.nn.functional.one_hot(torch.tensor(rank), num_classes=world)
    dist.all_reduce(total)
    assert total.tolist() == [1] * world
    everyone = [None] * world
    dist.all_gather_object(everyone, {"rank": rank})
    assert everyone == [{"rank": r} for r in range(world)]
    dist.monitored_barrier(timeout=timedelta(minutes=2))
    half = dist.new_group([0])
    if rank == 0:
        dist.barrier(half)
    dist.barrier()
    dist.destroy_process_group()


# The ranks' store serves one meeting: addresses of an earlier group in it would mislead a later one.
if sys.argv[2] == "plainly":
    meet()
else:
    meet(init_method="env://", rank=rank, world_size=world, timeout=timedelta(minutes=5))
meet(init_method=f"file://{sys.argv[1]}/meeting", rank=rank, world_size=world)
own = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
own.set(f"here {rank}", "yes")
own.wait([f"here {r}" for r in range(world)])
Path(sys.argv[1], f"{rank}").write_text(json.dumps({"met": 2}))
