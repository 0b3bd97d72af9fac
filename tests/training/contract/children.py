"""Starts processes of its own, in the ways that training scripts do: ``children.py FOLDER``."""

import asyncio
import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.multiprocessing as mp
from torch.utils.data import DataLoader, Dataset


@dataclass
class Sample:
    number: int


class Numbers(Dataset):
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor(Sample(index).number)


def square(number: int) -> int:
    return Sample(number).number ** 2


def spawned(index: int, folder: str) -> None:
    Path(folder, f"spawned {os.environ['RANK']} {index}").touch()


async def later() -> int:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "raise SystemExit(5)")
    return await process.wait()


def loaded(workers: int, **options: object) -> list[int]:
    loader = DataLoader(Numbers(), batch_size=5, num_workers=workers, **options)  # type: ignore[arg-type]
    return [int(v) for batch in loader for v in batch]


def main() -> None:
    folder, rank = sys.argv[1], os.environ["RANK"]
    mp.spawn(spawned, args=(folder,), nprocs=1)  # each that is spawned imports torch, which takes seconds
    with ProcessPoolExecutor(1, mp_context=mp.get_context("spawn")) as pool:
        squares = list(pool.map(square, range(4)))
    with mp.Pool(2) as forked:
        squares += forked.map(square, range(4))
    facts = {
        "forked": loaded(2),
        "spawned": loaded(1, multiprocessing_context="spawn", persistent_workers=True),
        "squares": squares,
        "ran": subprocess.run([sys.executable, "-c", "print(6*7)"], capture_output=True, text=True).stdout,
        "later": asyncio.run(later()),
        "there": sorted(p.name for p in Path(folder).glob(f"spawned {rank} *")),
    }
    Path(folder, rank).write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
