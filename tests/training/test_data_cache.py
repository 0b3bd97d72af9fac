"""Parts that are read ahead: before they are needed, few at a time, and none too many."""

from __future__ import annotations

import threading

from aios_lab.training.data.cache import AHEAD, PartCache
from aios_lab.training.data.reading import Reading


class Disk:
    """Reads parts, and notes which, on whose thread."""

    def __init__(self) -> None:
        self.read: list[int] = []
        self.here: list[int] = []
        self.ahead = threading.Condition()

    def __call__(self, part: int) -> tuple[str, int]:
        with self.ahead:
            self.read.append(part)
            if threading.current_thread() is threading.main_thread():
                self.here.append(part)
            self.ahead.notify_all()
        return f"part {part}", 10

    def until(self, *parts: int) -> None:
        with self.ahead:
            assert self.ahead.wait_for(lambda: set(parts) <= set(self.read), timeout=60)


def test_the_next_parts_of_all_lanes_are_read_ahead_and_the_last_ones_forgotten() -> None:
    disk, reading = Disk(), Reading(80, 1)
    cache = PartCache(disk, reading, room=4, parts=8)
    cache.plan([[0, 1, 2, 3], [4, 5, 6, 7]], window=8)
    for step in range(4):
        for _ in range(5):
            for lane in (0, 4):
                assert cache.get(lane + step, rows=2) == f"part {lane + step}"
                assert cache.held <= 2 * 2 + AHEAD
        if step < 3:
            disk.until(step + 1, step + 5)
    assert sorted(disk.read) == list(range(8))
    assert disk.here == [0, 4]  # all others were there when they were needed
    assert (reading.count.parts, reading.count.bytes) == (8, 80)
    assert cache.held <= 4


def test_an_epoch_that_is_broken_off_does_not_hold_up_the_next() -> None:
    disk = Disk()
    cache = PartCache(disk, Reading(80, 1), room=4, parts=8)
    cache.plan([[0, 1], [2, 3]], window=4)
    cache.get(0, rows=1)
    cache.get(2, rows=1)
    disk.until(1, 3)
    cache.plan([[4, 5], [6, 7]], window=4)
    cache.get(4, rows=1)
    cache.get(6, rows=1)
    disk.until(5, 7)


def test_without_a_plan_nothing_is_read_ahead_and_few_parts_are_held() -> None:
    disk = Disk()
    cache = PartCache(disk, Reading(80, 1), room=3, parts=8)
    for part in (0, 1, 2, 3, 4, 4, 3, 0):
        cache.get(part, rows=1)
        assert cache.held <= 3
    assert disk.read == disk.here == [0, 1, 2, 3, 4, 0]
