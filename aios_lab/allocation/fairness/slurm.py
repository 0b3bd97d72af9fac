"""Slurm's two ways to turn shares and past usage into an order of users.

Sources: SchedMD, "Classic Fairshare Algorithm" and "Fair Tree Fairshare Algorithm" (Slurm documentation),
with ``src/plugins/priority/multifactor`` and ``src/common/assoc_mgr.c`` where these leave something open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import groupby
from math import inf
from typing import Any

from aios_lab.allocation.fairness.checks import amount, exact

# The parent of the first tier, unless an entry without a parent says that it is the root.
ROOT = "root"

# Shares of this mean: to have no level of one's own, but to count as the parent does (FairShare=parent).
PARENT = "parent"

# Usages that are parts of a whole may add up to this: sshare and the like print them rounded.
WHOLE = 1.001


def fair_share_factor(
    shares: Mapping[str, Mapping[str, Any]], usage: Mapping[str, float]
) -> dict[str, float]:
    """Slurm's classic factor of every user, 0 to 1: 1 before any use, 0.5 at exactly one's share.

    ``shares`` has ``{"parent": name, "shares": number}`` by account and user; users are the entries that are
    nobody's parent. Shares of "parent" (FairShare=parent) count as the parent does. ``usage`` has each
    user's part of all recent usage (0 to 1, `decay`-ed by the caller); users left out have none.

    F = 2^(−U_E / S), S the product of the parts that a user's shares have on every level, and the effective
    usage U_E = U_A + (U_E of the parent − U_A) · shares / shares of all siblings, with U_E = U_A on the
    first tier. A user without shares has 0; siblings without any are charged as their parent is.

    Raises:
        ValueError: a parent is unknown or leads back to its child, there are two roots, a number is
            negative, NaN or infinite, or usage names an account or a stranger or adds up to more than 1.
    """
    tree = _Tree(shares, usage)
    if tree.used[tree.root] > WHOLE:
        raise ValueError(
            f"The usages add up to {float(tree.used[tree.root]):g}: give each as a part of all usage, 0 to 1."
        )
    part = {tree.root: 1.0}
    effective = {tree.root: float(tree.used[tree.root])}
    for name in tree.downward:
        parent, used = tree.parent[name], float(tree.used[name])
        if name in tree.as_parent:
            part[name], effective[name] = part[parent], effective[parent]
            continue
        level = float(tree.level(name))
        part[name] = part[parent] * level
        if parent == tree.root:
            effective[name] = used
        elif tree.siblings_shares(name):
            effective[name] = used + (effective[parent] - used) * level
        else:
            effective[name] = effective[parent]
    return {user: 2.0 ** -(effective[user] / part[user]) if part[user] else 0.0 for user in tree.users}


def fair_tree(shares: Mapping[str, Mapping[str, Any]], usage: Mapping[str, float]) -> dict[str, float]:
    """Slurm's Fair Tree factor of every user, in the order in which they are to be served.

    The arguments are those of `fair_share_factor`, but usages may be in any unit. On each level siblings
    are ranked by S / U, their part of the siblings' shares over their part of the parent's usage, and all
    users of an account come before all users of the next. A factor is rank over number of users, at most 1.

    Ties: users have the same rank; a user has that of the best one in an account that he ties with;
    accounts are merged before descending. Equal users are listed by name.

    Raises:
        ValueError: as `fair_share_factor`, save for the sum of the usages.
    """
    tree = _Tree(shares, usage)
    users = len(tree.users)
    factors: dict[str, float] = {}
    rank = users
    for user, tied in _ranked(tree):
        if not tied:
            rank = users - len(factors)
        factors[user] = rank / users
    return factors


def _ranked(tree: _Tree) -> Iterator[tuple[str, bool]]:
    """Users in order, and whether each has the rank of the one before."""
    stack: list[tuple[list[str], bool]] = [([tree.root], False)]
    while stack:
        names, tied = stack.pop()
        if names[0] in tree.users:
            yield names[0], tied
            continue
        below: list[tuple[list[str], bool]] = []
        children = sorted((child for name in names for child in tree.children[name]), key=tree.rank_key)
        for _, equal in groupby(children, key=lambda child: tree.rank_key(child)[0]):
            group = list(equal)
            accounts = [name for name in group if name not in tree.users]
            parts = [[name] for name in group if name in tree.users] + ([accounts] if accounts else [])
            below += [(part, place > 0 or (tied and not below)) for place, part in enumerate(parts)]
        stack += reversed(below)


class _Tree:
    """Accounts and users below one root; accounts with shares of "parent" make room for their children."""

    def __init__(self, shares: Mapping[str, Mapping[str, Any]], usage: Mapping[str, float]) -> None:
        direct = {name: _parent(name, entry) for name, entry in shares.items()}
        self.root = _root(direct)
        direct.pop(self.root, None)
        parents = set(direct.values())
        self.users = {name: None for name in direct if name not in parents}
        self.as_parent = {name for name in direct if shares[name].get("shares") == PARENT}
        self.moved_up = {name for name in self.as_parent if name not in self.users}
        self.shares = {name: _shares(name, shares[name]) for name in direct if name not in self.as_parent}
        self.downward = _downward(direct, self.root)
        self.parent = {name: self._above(direct, name) for name in self.downward}
        self.children: dict[str, list[str]] = {name: [] for name in (self.root, *direct)}
        for name in self.downward:
            if name not in self.moved_up:
                self.children[self.parent[name]].append(name)
        charged = self._charged(usage)
        self.used = {name: charged.get(name, Fraction(0)) for name in (self.root, *self.downward)}
        for name in reversed(self.downward):
            if name not in self.moved_up:
                self.used[self.parent[name]] += self.used[name]
        self._level_shares = {
            name: sum((self.shares.get(child, Fraction(0)) for child in children), Fraction(0))
            for name, children in self.children.items()
        }

    def siblings_shares(self, name: str) -> Fraction:
        """The shares of this one and all its siblings."""
        return self._level_shares[self.parent[name]]

    def level(self, name: str) -> Fraction:
        """The part of them that this one has."""
        together = self.siblings_shares(name)
        return self.shares[name] / together if together else Fraction(0)

    def rank_key(self, name: str) -> tuple[Fraction | float, bool, str]:
        """Siblings in order: higher S / U, then users before accounts, then by name."""
        return self._minus_level_fair_share(name), name not in self.users, name

    def _minus_level_fair_share(self, name: str) -> Fraction | float:
        if name in self.as_parent:
            return -inf
        level, of_parent = self.level(name), self.used[self.parent[name]]
        if not level:
            return 0.0
        return -level * of_parent / self.used[name] if self.used[name] else -inf

    def _above(self, direct: Mapping[str, str], name: str) -> str:
        above = direct[name]
        while above in self.moved_up:
            above = direct[above]
        return above

    def _charged(self, usage: Mapping[str, float]) -> dict[str, Fraction]:
        for name in usage:
            if name in self.users:
                continue
            if name in self.children:
                raise ValueError(f"usage names the account {name!r}: give the usage of its users.")
            raise ValueError(f"usage names {name!r}, who has no shares.")
        return {name: exact(amount(value, f"The usage of {name!r}")) for name, value in usage.items()}


def _parent(name: str, entry: Mapping[str, Any]) -> str:
    if not isinstance(entry, Mapping) or "shares" not in entry:
        raise ValueError(f"{name!r} is {entry!r}: give its parent and shares.")
    return entry.get("parent") or ""


def _shares(name: str, entry: Mapping[str, Any]) -> Fraction:
    return exact(amount(entry["shares"], f'The shares of {name!r} ("{PARENT}" is possible too)'))


def _root(parents: Mapping[str, str]) -> str:
    roots = [name for name, parent in parents.items() if not parent]
    if len(roots) > 1:
        raise ValueError(f"{roots[0]!r} and {roots[1]!r} have no parent: give both {ROOT!r}.")
    return roots[0] if roots else ROOT


def _downward(parents: Mapping[str, str], root: str) -> list[str]:
    """All names, every parent before its children."""
    known = {root: True}
    order: list[str] = []
    for name in parents:
        path: dict[str, None] = {}
        while name not in known:
            if name not in parents:
                child = next(reversed(path))
                raise ValueError(
                    f"The parent of {child!r} is {name!r}, who is unknown; the root is {root!r}."
                )
            if name in path:
                raise ValueError(f"{name!r} is its own ancestor: {' → '.join([*path, name])}.")
            path[name] = None
            name = parents[name]
        for passed in reversed(path):
            known[passed] = True
            order.append(passed)
    return order
