"""Who is told what changes decides as who is shown everything, past use included."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from aios_lab.allocation import DEFAULT_SHARING, Node, Principal, Resources, Sharing, Snapshot
from aios_lab.allocation.decide import policy_of
from aios_lab.allocation.scheduler import Books, RigidBooks
from allocation.snapshots import demand

HOUR = 3600.0
USERS = ("one/ada", "one/bob", "two/cy", "two/dan")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["arrive", "leave", "wait"]),
            st.sampled_from(USERS),
            st.integers(1, 4),
            st.sampled_from([1000, 2000]),
            st.integers(0, 40),
        ),
        max_size=25,
    ),
    st.sampled_from(["share", "fair_tree"]),
    st.sampled_from([100, 300, 0]),
)
def test_a_claim_without_room_that_is_not_shown_changes_nothing(
    story: list[tuple[str, str, int, int, int]], order: str, weight: int
) -> None:
    nodes = (Node("a", Resources(cpu=4000)), Node("b", Resources(cpu=3000)))
    principals = (Principal("cluster/one/ada", weight=weight), Principal("cluster/two", weight=200))
    sharing: Sharing = replace(DEFAULT_SHARING, order=order)
    setting = Snapshot(nodes, principals, (), sharing=sharing)
    books = [kind(policy_of("fair_share"), setting) for kind in (Books, RigidBooks)]
    held: dict[str, int] = {}
    now = 0.0
    for number, (deed, user, count, cpu, hours) in enumerate(story):
        now += hours * HOUR
        if deed == "arrive":
            path, unit = f"cluster/{user}", Resources(cpu=cpu)
            one = demand(f"c{number}", user, count, principal=path, unit=unit, min=count, preemptible=False)
            for book in books:
                book.arrive(replace(one, submitted=now))
        elif deed == "leave" and held:
            claim = min(held)
            del held[claim]
            for book in books:
                book.leave(claim, now)
        all_shown, few_shown = (book.decide(now) for book in books)
        assert (all_shown.grants, all_shown.shrinks) == (few_shown.grants, few_shown.shrinks)
        for grant in all_shown.grants:
            held[grant.claim] = held.get(grant.claim, 0) + grant.units
