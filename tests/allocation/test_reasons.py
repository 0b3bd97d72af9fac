"""What people read: one sentence that names what is missing and who holds it."""

from __future__ import annotations

import pytest

from aios_lab.allocation import Lease, Principal, Resources, Snapshot, decide, explain
from allocation.snapshots import carry_out, demand, node


def settled(snapshot: Snapshot) -> Snapshot:
    for _ in range(3):
        snapshot = carry_out(snapshot, decide(snapshot))
    return snapshot


def test_who_holds_what() -> None:
    snapshot = settled(Snapshot((node(2),), (), (demand("a", "ada", 2), demand("b", "bob", 2))))
    assert explain(snapshot, "a") == (
        "Waiting for 1 more worker (1 CPU thread, 1.07 GB of memory): "
        "bob's b.ipynb holds 1 of 2 CPU threads. "
        "Its fair share is 1 worker now."
    )


def test_who_gives_back() -> None:
    snapshot = Snapshot(
        (node(2),), (), (demand("a", "ada", 2), demand("b", "bob", 2)), (Lease("a", "local", 2),)
    )
    reasons = decide(snapshot).reasons
    assert (
        reasons["b"]
        == "Waiting for 1 worker (1 CPU thread, 1.07 GB of memory): ada's a.ipynb gives back 1 worker."
    )
    assert reasons["a"] == (
        "It gives back 1 worker: bob's b.ipynb waits for its share; its own share is 1 worker."
    )


def test_many_holders_are_counted() -> None:
    claims = tuple(
        demand(user, user, 1, submitted=i) for i, user in enumerate(("ada", "bob", "cy", "di", "eve", "fay"))
    )
    text = explain(settled(Snapshot((node(5),), (), claims)), "fay")
    assert "ada's ada.ipynb holds 1 of 5 CPU threads, bob's" in text
    assert text.endswith("and 2 more; nothing would start now.")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"unit": Resources(64_000, 1024)},
            "It can never start: one worker needs 64 CPU threads, 1.07 GB of memory, "
            "and the largest node has 2 CPU threads.",
        ),
        ({"unit": Resources(1000, 1 << 20)}, "the largest node has 8.59 GB of memory."),
        ({"unit": Resources(1000, 1024, 1000)}, "and the cluster has no GPUs."),
        (
            {"min": 3, "max": 3},
            "It can never start: it needs 3 workers at once (1 CPU thread, 1.07 GB of memory each), "
            "and the cluster has room for 2 in all.",
        ),
    ],
)
def test_what_can_never_be(options: dict[str, object], says: str) -> None:
    snapshot = Snapshot((node(2),), (), (demand("a", "ada", 2, **options),))
    assert says in decide(snapshot).reasons["a"]


def test_the_whole_cluster_is_less_than_asked() -> None:
    snapshot = settled(Snapshot((node(2),), (), (demand("a", "ada", 9),)))
    assert explain(snapshot, "a") == "It holds 2 workers, and the cluster has room for no more than 2 in all."


def test_limits() -> None:
    limit = Principal("cluster/default/ada", limit=Resources(1000, 9000))
    snapshot = settled(Snapshot((node(2),), (limit,), (demand("a", "ada", 2),)))
    assert explain(snapshot, "a") == (
        "Waiting for 1 more worker (1 CPU thread, 1.07 GB of memory): "
        "user ada may use at most 1 CPU thread and uses 1 CPU thread."
    )
    tight = Principal("cluster/default", limit=Resources(500, 9000))
    never = decide(Snapshot((node(2),), (tight,), (demand("a", "ada", 2),))).reasons["a"]
    assert "project default may use at most 0.5 CPU threads" in never


def test_nothing_is_missing() -> None:
    snapshot = settled(Snapshot((node(2),), (), (demand("a", "ada", 2),)))
    assert decide(snapshot).reasons == {}
    assert explain(snapshot, "a") == "It has all 2 workers that it asked for."
    with pytest.raises(KeyError):
        explain(snapshot, "b")
