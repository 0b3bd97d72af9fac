"""What another request would bring, and the whole of why one waits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_lab.allocation import InvalidSnapshot, Lease, Node, Resources, Snapshot, explain, what_if
from allocation.snapshots import THREAD, demand, node, snapshots

GPU = Resources(cpu=1000, memory=1024, gpu=1000, gpu_memory=16_384)
RIGID = {"preemptible": False}


def gpus(*claims: tuple[str, int, int, float | None], waits: int = 2) -> Snapshot:
    """A machine of 4 GPUs: who holds how many, for how long in all, and ada, who waits for some at once."""
    demands = [
        demand(name, name, most, unit=GPU, min=most, started=0.0, duration=duration, **RIGID)
        for name, most, _, duration in claims
    ]
    waiting = demand("ada", "ada", waits, unit=GPU, min=waits, submitted=5.0, duration=60.0)
    leases = tuple(Lease(name, "local", held) for name, _, held, _ in claims if held)
    return Snapshot((node(16, gpus=4),), (), (*demands, waiting), leases, now=10.0)


def test_and_if_i_asked_for_one_gpu() -> None:
    snapshot = gpus(("bob", 3, 3, 500.0))
    told = what_if(snapshot, replace(snapshot.demands[-1], min=1, max=1), "fcfs")
    assert (told.at_once, told.soon, dict(told.gives)) == (1, 1, {})
    assert told.before is not None
    assert (told.before.state, told.before.median) == ("expected", 490.0)
    assert told.after.state == "now"
    assert told.reason == "It has all 1 worker that it asked for."


def test_who_would_have_to_give() -> None:
    holder = demand("bob", "bob", 4, started=0.0, duration=500.0)
    waiting = demand("ada", "ada", 4, min=4, submitted=5.0)
    snapshot = Snapshot((node(4),), (), (holder, waiting), (Lease("bob", "local", 4),), now=10.0)
    told = what_if(snapshot, replace(waiting, min=1, max=2))
    assert (told.at_once, told.soon, dict(told.gives)) == (0, 2, {"bob": 2})
    assert told.after.state == "now"


def test_a_new_claim() -> None:
    snapshot = gpus(("bob", 4, 4, 300.0), waits=4)
    told = what_if(snapshot, demand("new", "eve", 1, unit=GPU, submitted=10.0), "fcfs")
    assert told.before is None
    assert told.after.median == 350.0  # after ada, who came before and takes a minute
    alone = what_if(gpus(("bob", 2, 2, 300.0)), demand("new", "eve", 9, unit=GPU, min=9), "fcfs")
    assert alone.after.state == "never"
    assert alone.reason.startswith("It can never start")


def test_another_shape_gives_back_the_old_one_first() -> None:
    snapshot = gpus(("bob", 3, 3, 500.0), waits=1)
    holds = replace(snapshot, leases=(*snapshot.leases, Lease("ada", "local", 1)))
    told = what_if(holds, replace(snapshot.demands[-1], unit=THREAD, max=2), "fcfs")
    assert (told.at_once, told.soon) == (2, 2)


def test_bad_changes_are_refused() -> None:
    snapshot = gpus(("bob", 3, 3, None))
    with pytest.raises(InvalidSnapshot, match="demand of claim ada has a negative amount"):
        what_if(snapshot, replace(snapshot.demands[-1], max=-1))
    with pytest.raises(ValueError, match="There is no policy"):
        what_if(snapshot, snapshot.demands[-1], "luck")


@given(snapshots(), st.integers(0, 4), st.data())
def test_a_change_that_changes_nothing_changes_nothing(
    snapshot: Snapshot, most: int, data: st.DataObject
) -> None:
    if not snapshot.demands:
        return
    one = data.draw(st.sampled_from(snapshot.demands))
    told = what_if(snapshot, one, replays=3)
    assert told.before == told.after
    assert dict(told.gives) == {}
    other = what_if(snapshot, replace(one, min=min(one.min, most), max=most), replays=3)
    assert all(units > 0 for units in other.gives.values())
    assert one.claim not in other.gives


def test_the_whole_answer_to_why() -> None:
    snapshot = gpus(("bob", 3, 3, None), waits=2)
    other = demand("cy", "cy", 2, unit=GPU, min=2, submitted=1.0)
    snapshot = replace(snapshot, demands=(*snapshot.demands, other))
    assert explain(snapshot, "ada") == (
        "Waiting for 2 workers (1 CPU thread, 1.07 GB of memory, 1 GPU, 17.2 GB of GPU memory each): "
        "bob's bob.ipynb holds 3 of 4 GPUs; cy's cy.ipynb is ahead; 1 worker would start now."
    )
    queued = explain(snapshot, "ada", "fcfs+easy")
    assert "it is number 2 in the queue (first come, first served), after cy's cy.ipynb" in queued
    assert "is ahead" not in queued
    assert queued.endswith("; 1 worker would start now.")


def test_a_smaller_worker_is_named_where_one_would_start() -> None:
    big = replace(GPU, cpu=4000, gpu=4000, gpu_memory=65_536)
    snapshot = gpus(("bob", 3, 3, None), waits=1)
    snapshot = replace(snapshot, demands=(snapshot.demands[0], replace(snapshot.demands[1], unit=big)))
    assert explain(snapshot, "ada", "fcfs").endswith(
        "; 1 worker with 4 CPU threads, 1.07 GB of memory, 1 GPU, 17.2 GB of GPU memory would start now."
    )


def test_nothing_would_start_on_a_full_machine() -> None:
    text = explain(gpus(("bob", 4, 4, None)), "ada")
    assert text.endswith("bob's bob.ipynb holds 4 of 4 GPUs; nothing would start now.")


def test_memory_is_offered_in_amounts_that_can_be_asked_for() -> None:
    room = Node("local", Resources(8000, 10_000))
    waiting = demand("a", "ada", 1, unit=Resources(1000, 9000), submitted=5.0)
    holder = demand("h", "bob", 1, unit=Resources(1000, 5123), **RIGID)
    snapshot = Snapshot((room,), (), (holder, waiting), (Lease("h", "local", 1),), now=10.0)
    assert explain(snapshot, "a").endswith("; 1 worker with 1 CPU thread, 5.1 GB of memory would start now.")


@given(snapshots(), st.sampled_from(["fair_share", "fcfs", "sjf+easy"]))
def test_every_claim_is_explained_in_words(snapshot: Snapshot, policy: str) -> None:
    for one in snapshot.demands:
        said = explain(snapshot, one.claim, policy)
        assert said.endswith(".")
        assert ".;" not in said
