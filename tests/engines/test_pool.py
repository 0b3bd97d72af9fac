"""Spare slices: handed over at once, never shared, replaced in the background, gone with the engine."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import pytest

from aios_lab.allocation.types import Resources
from aios_lab.engines.base import Spares
from aios_lab.engines.local import budget
from aios_lab.engines.processes import marked, start_time
from engines.running import UNIT, Running
from live import until

# Tasks are functions within tests; what they use of this module travels with them.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Running]:
    """One that keeps a spare of two workers, which is ready."""
    running = Running(tmp_path, {"cpus": 8, "memory": "16GB"}, spares=1)
    running.expect(UNIT, 2)
    spare(running)
    yield running
    running.stop()


def spare(engine: Running, after: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The processes of the spare, once there is one, or another one ``after`` these: its host first."""

    def ready() -> tuple[int, ...]:
        pids = [one.info.pids for one in engine.engine.pool.spares]
        return next((each for each in pids if not set(each) & set(after)), ())

    found: tuple[int, ...] = until("a spare is ready", ready, seconds=60)
    return found


def named(key: str) -> str:
    return os.environ[key]


def test_a_grant_of_the_usual_size_gets_the_processes_of_the_spare(engine: Running):
    before = spare(engine)
    with engine.slice(2) as (slice_id, client):
        assert set(engine.pids(slice_id)) == set(before)
        assert set(client.run(named, "AIOS_SLICE").values()) == {slice_id}
        assert engine.engine.pool.hits == 1
        after = spare(engine)  # another has taken its place
        assert not set(after) & set(before)
        first = engine.info(slice_id)
        with engine.slice(2) as (other, _):
            second = engine.info(other)
            assert first is not None
            assert second is not None
            assert set(second.pids) == set(after)
            assert second.credentials != first.credentials
    assert engine.heard.gone == {}


def test_a_spare_is_brought_to_the_size_that_was_asked_for(engine: Running):
    with engine.slice(3) as (slice_id, client):
        assert engine.engine.pool.hits == 1
        assert set(client.run(named, "AIOS_SLICE").values()) == {slice_id}, "the third, too"
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == 3
        engine.scale(slice_id, 1)
        until("one is left", lambda: len(client.scheduler_info(n_workers=-1)["workers"]) == 1)


def test_another_shape_is_opened_anew_and_becomes_usual(engine: Running):
    wide = Resources(cpu=2000, memory=2048)
    before = spare(engine)
    for _ in range(2):
        with engine.slice(1, wide) as (slice_id, client):
            assert not set(engine.pids(slice_id)) & set(before)
            assert set(client.nthreads().values()) == {2}
    assert engine.engine.pool.hits == 0
    assert spare(engine, after=before)
    with engine.slice(1, wide) as (_, client):
        assert set(client.nthreads().values()) == {2}
    assert (engine.engine.pool.hits, engine.engine.pool.misses) == (1, 2)


def test_a_spare_that_dies_is_replaced_and_nobody_hears_of_it(engine: Running):
    before = spare(engine)
    os.kill(before[0], signal.SIGKILL)
    until("it is gone", lambda: all(start_time(pid) is None for pid in before))
    assert spare(engine, after=before)
    assert (engine.heard.gone, engine.heard.workers, engine.heard.troubles) == ({}, {}, {})


def test_with_the_forkserver_spares_end_and_come_back(engine: Running):
    before = spare(engine)
    warm = engine.engine._warm
    assert warm is not None
    os.kill(warm.pid, signal.SIGKILL)
    until("they are gone", lambda: all(start_time(pid) is None for pid in before))
    assert spare(engine, after=before)
    with engine.slice(2) as (_, client):
        assert len(client.run(os.getpid)) == 2


def test_stopping_the_engine_leaves_no_spare(tmp_path: Path):
    running = Running(tmp_path, {"cpus": 8, "memory": "16GB"}, spares=2)
    running.expect(UNIT, 1)
    until("the first is there", lambda: running.engine.pool.spares, seconds=60)
    pids = {pid for one in running.engine.pool.spares for pid in one.info.pids}
    mark = {engine for pid, engine in marked() if pid in pids}
    running.stop()  # most likely while the second is being opened
    assert not [pid for pid, engine in marked() if engine in mark]


def test_there_are_none_when_memory_is_short(engine: Running, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(budget, "_FREE", 1.0)  # all of the machine's memory is to be left alone
    before = spare(engine)
    engine.expect(UNIT, 2)
    until("it is ended", lambda: not engine.engine.pool.spares)
    until("its processes are gone", lambda: all(start_time(pid) is None for pid in before))
    with engine.slice(2) as (_, client):
        assert len(client.run(os.getpid)) == 2
    assert engine.call(engine.engine.spares()) == {"slice": Spares(misses=1), "process": Spares()}
