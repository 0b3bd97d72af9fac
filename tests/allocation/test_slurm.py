"""Slurm's factors: the documentation's example, the numbers of its test suite, ties and bad trees."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_lab.allocation import fair_share_factor, fair_tree

Shares = dict[str, dict[str, Any]]


def tree(**entries: tuple[str, object]) -> Shares:
    return {name: {"parent": parent, "shares": shares} for name, (parent, shares) in entries.items()}


# SchedMD/slurm doc/html/classic_fair_share.shtml at 284c3b95, the worked example.
EXAMPLE = tree(
    A=("root", 40),
    D=("root", 60),
    B=("A", 30),
    C=("A", 10),
    E=("D", 25),
    F=("D", 35),
    User1=("B", 1),
    User2=("C", 1),
    User3=("C", 1),
    User4=("E", 1),
    User5=("F", 1),
)
EXAMPLE_USAGE = {"User1": 0.2, "User2": 0.25, "User3": 0, "User4": 0.25, "User5": 0}

# SchedMD/slurm testsuite/python/scripts/prio_multifactor.c and tests/test_130_2.py at 284c3b95 (numbers
# only): shares and raw usage, and the factor that sshare shows.
SUITE = tree(
    AccountA=("root", 40),
    AccountB=("AccountA", 30),
    User1=("AccountB", 1),
    AccountC=("AccountA", 10),
    User2=("AccountC", 1),
    User3=("AccountC", 1),
    AccountD=("root", 60),
    AccountE=("AccountD", 25),
    User4=("AccountE", 1),
    AccountF=("AccountD", 35),
    User5=("AccountF", 1),
    AccountG=("root", 0),
    User6=("AccountG", 0),
    AccountH=("root", 50),
    AccountHTA=("AccountH", "parent"),
    UHTAStd1=("AccountHTA", "parent"),
    UHTAStd2=("AccountHTA", 30),
    UHTAStd3=("AccountHTA", 50),
    UHRA1=("AccountH", "parent"),
    UHRA2=("AccountH", 40),
    UHRA3=("AccountH", 50),
)
SUITE_USAGE = {
    "User1": 20,
    "User2": 25,
    "User4": 25,
    "User6": 30,
    "UHTAStd1": 10,
    "UHTAStd2": 10,
    "UHTAStd3": 25,
    "UHRA1": 20,
    "UHRA2": 20,
    "UHRA3": 25,
}
SUITE_FACTORS = {
    "User1": 0.527550,
    "User2": 0.065672,
    "User3": 0.226431,
    "User4": 0.609507,
    "User5": 0.813594,
    "User6": 0.000000,
    "UHRA1": 0.336475,
    "UHRA2": 0.176777,
    "UHRA3": 0.185749,
    "UHTAStd1": 0.336475,
    "UHTAStd2": 0.211966,
    "UHTAStd3": 0.185749,
}


def test_the_example_of_the_documentation() -> None:
    published = {"User1": 0.408479, "User2": 0.022097, "User3": 0.125, "User4": 0.5, "User5": 0.749154}
    assert fair_share_factor(EXAMPLE, EXAMPLE_USAGE) == pytest.approx(published, abs=6e-7)


def test_the_numbers_of_slurms_own_test() -> None:
    """With FairShare=parent for users and for an account, and an account that has no shares."""
    whole = sum(SUITE_USAGE.values())
    factors = fair_share_factor(SUITE, {user: used / whole for user, used in SUITE_USAGE.items()})
    assert factors == pytest.approx(SUITE_FACTORS, abs=6e-7)


def test_fair_tree_on_the_example() -> None:
    """By hand, from doc/html/fair_tree.shtml: D (0.6 / 0.357) before A (0.4 / 0.643), then F, E, B, C."""
    factors = fair_tree(EXAMPLE, EXAMPLE_USAGE)
    assert factors == {"User5": 1.0, "User4": 0.8, "User1": 0.6, "User3": 0.4, "User2": 0.2}
    assert list(factors) == ["User5", "User4", "User1", "User3", "User2"]


def test_without_use_all_are_first() -> None:
    assert set(fair_share_factor(EXAMPLE, {}).values()) == {1.0}
    assert set(fair_tree(EXAMPLE, {}).values()) == {1.0}


def test_users_who_tie_have_one_rank_and_the_next_its_place() -> None:
    shares = tree(a=("root", 1), b=("root", 1), c=("root", 2), d=("root", 1))
    assert fair_tree(shares, {"a": 0.1, "b": 0.1, "c": 0.2, "d": 0.3}) == {"a": 1, "b": 1, "c": 1, "d": 0.25}


def test_a_user_who_ties_with_an_account_has_the_rank_of_its_best() -> None:
    shares = tree(solo=("root", 1), team=("root", 1), good=("team", 1), bad=("team", 1))
    factors = fair_tree(shares, {"solo": 40, "good": 10, "bad": 30})
    assert list(factors.items()) == [("solo", 1.0), ("good", 1.0), ("bad", 1 / 3)]


def test_accounts_that_tie_are_merged() -> None:
    """Who took more within his account waits behind both moderate ones, whichever account they are of."""
    shares = tree(
        red=("root", 1), blue=("root", 1), r1=("red", 1), r2=("red", 1), b1=("blue", 1), b2=("blue", 1)
    )
    factors = fair_tree(shares, {"r1": 1, "r2": 9, "b1": 4, "b2": 6})
    assert list(factors.items()) == [("r1", 1.0), ("b1", 0.75), ("b2", 0.5), ("r2", 0.25)]


def test_a_user_without_shares_is_last() -> None:
    shares = tree(a=("root", 1), none=("root", 0))
    assert fair_share_factor(shares, {"a": 1.0}) == {"a": 0.5, "none": 0}
    assert fair_tree(shares, {"a": 1.0}) == {"a": 1, "none": 0.5}


def test_who_counts_as_the_parent_is_first_in_fair_tree() -> None:
    shares = tree(team=("root", 1), lead=("team", "parent"), member=("team", 1))
    assert list(fair_tree(shares, {"lead": 5, "member": 1})) == ["lead", "member"]


def test_the_root_may_be_listed_under_any_name() -> None:
    listed = {"cluster": {"parent": None, "shares": 1}} | tree(a=("cluster", 1), b=("cluster", 3))
    assert fair_share_factor(listed, {"a": 0.25, "b": 0.75}) == {"a": 0.5, "b": 0.5}


def test_no_tree_no_factors() -> None:
    assert fair_share_factor({}, {}) == fair_tree({}, {}) == {}


def test_a_deep_tree_is_no_trouble() -> None:
    shares = {f"n{n}": {"parent": f"n{n - 1}" if n else "root", "shares": 1} for n in range(5000)}
    assert fair_share_factor(shares, {"n4999": 1.0}) == {"n4999": 0.5}
    assert fair_tree(shares, {"n4999": 1.0}) == {"n4999": 1}


@pytest.mark.parametrize("rule", [fair_share_factor, fair_tree])
@pytest.mark.parametrize(
    ("shares", "usage", "message"),
    [
        (tree(a=("b", 1), b=("c", 1), c=("b", 1)), {}, "'b' is its own ancestor: a → b → c → b"),
        (tree(a=("a", 1)), {}, "'a' is its own ancestor"),
        (tree(a=("nowhere", 1)), {}, "parent of 'a' is 'nowhere', who is unknown; the root is 'root'"),
        (tree(a=("", 1), b=("", 1)), {}, "'a' and 'b' have no parent"),
        (tree(a=("root", -1)), {}, "shares of 'a' .* is -1"),
        (tree(a=("root", math.nan)), {}, "shares of 'a' .* is nan"),
        (tree(a=("root", "many")), {}, "shares of 'a' .* is 'many'"),
        ({"a": {"parent": "root"}}, {}, "'a' is .* give its parent and shares"),
        (tree(a=("root", 1)), {"a": -0.1}, "usage of 'a' is -0.1"),
        (tree(a=("root", 1)), {"a": math.inf}, "usage of 'a' is inf"),
        (tree(a=("root", 1)), {"b": 0.1}, "usage names 'b', who has no shares"),
        (tree(a=("root", 1), b=("a", 1)), {"a": 0.1}, "usage names the account 'a'"),
    ],
)
def test_what_is_wrong_is_named(rule: Any, shares: Shares, usage: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rule(shares, usage)


def test_seconds_are_not_taken_for_parts_of_the_whole() -> None:
    with pytest.raises(ValueError, match="usages add up to 7200"):
        fair_share_factor(tree(a=("root", 1)), {"a": 7200})


@st.composite
def trees(draw: st.DrawFn) -> tuple[Shares, dict[str, float]]:
    """Each entry below the root or an earlier one; whoever is nobody's parent is a user."""
    names = [f"n{n}" for n in range(draw(st.integers(1, 12)))]
    amounts = st.one_of(st.integers(0, 3), st.just("parent"))
    shares = {
        name: {"parent": draw(st.sampled_from(["root", *names[:n]])), "shares": draw(amounts)}
        for n, name in enumerate(names)
    }
    users = set(names) - {entry["parent"] for entry in shares.values()}
    return shares, {user: draw(st.integers(0, 4)) / (4 * len(users)) for user in sorted(users)}


@given(trees(), st.randoms(use_true_random=False))
def test_all_users_have_a_factor_in_any_order_of_the_tree(
    made: tuple[Shares, dict[str, float]], random: Random
) -> None:
    shares, usage = made
    shuffled = dict(random.sample(list(shares.items()), len(shares)))
    for rule in (fair_share_factor, fair_tree):
        factors = rule(shares, usage)
        assert factors.keys() == usage.keys()
        assert all(0 <= factor <= 1 for factor in factors.values())
        assert rule(shuffled, usage) == pytest.approx(factors)
    ranks = list(fair_tree(shares, usage).values())
    assert ranks[0] == 1
    assert ranks == sorted(ranks, reverse=True)


@given(trees(), st.floats(1e-3, 1e3))
def test_fair_tree_takes_usage_in_any_unit(made: tuple[Shares, dict[str, float]], unit: float) -> None:
    shares, usage = made
    whole = {user: round(used * 1000 * unit) for user, used in usage.items()}
    doubled = {user: 2 * used for user, used in whole.items()}
    assert fair_tree(shares, whole) == fair_tree(shares, doubled)
