"""What one rank says and waits for between two steps, where there is nothing to save, or rank 0 is long."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, TCPStore

from aios_lab.training.frames import FrameReader
from aios_lab.training.pacing.pace import Pace
from aios_lab.training.rank.continuity import Continuity
from aios_lab.training.rank.link import Link
from aios_lab.training.spec import RankSpec
from aios_lab.training.strategies.base import StrategyOptions, make


def rank(folder: Path, number: int = 0, world: int = 1, attempt: int = 0) -> tuple[Continuity, int]:
    """A rank's continuity, and where it is heard. Its orders' pipe stays open: a rank ends with it."""
    heard, says = os.pipe()
    orders, _ = os.pipe()
    place, own = str(folder), StrategyOptions()
    spec = RankSpec(
        "r-1", number, world, number, world, 0, 1, "here", own, place, place, (), {}, None, attempt=attempt
    )

    def never() -> NoReturn:
        pytest.fail("nothing is paused")

    continuity = Continuity(spec, Link(says, orders), Pace(), make(own), lambda: None, never)
    return continuity, heard


def test_a_rank_that_has_nothing_to_save_says_so(tmp_path: Path) -> None:
    continuity, heard = rank(tmp_path)
    continuity._boundaries.hold(1, "save")
    continuity._boundaries.settle(1)
    continuity.boundary()
    kinds = [kind for kind, _ in FrameReader().feed(os.read(heard, 65536))]
    assert kinds == ["going", "unsaved"]


def test_ranks_wait_for_rank_0_that_reads_a_large_checkpoint(tmp_path: Path) -> None:
    impatient: Any = {"timeout": timedelta(seconds=0.3)}
    host = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, **impatient)
    mine, other = (
        PrefixStore("aios", TCPStore("127.0.0.1", host.port, is_master=False, **impatient)) for _ in range(2)
    )
    continuity, _ = rank(tmp_path, number=1, world=2, attempt=1)
    continuity._store = mine
    with ThreadPoolExecutor(1) as thread:
        saved = thread.submit(continuity.saved)
        with pytest.raises(dist.DistStoreError):  # whoever waits as stores do has given up by then
            other.get("never")
        other.set("resume", "")
        assert saved.result(60) is None
