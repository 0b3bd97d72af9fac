"""A position in the data that outlives the world: any ranks, interrupted anywhere, see each sample once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from aios_lab.training.pacing.loader import SharedLoader
from aios_lab.training.pacing.pace import Pace, Pieces
from aios_lab.training.pacing.sharding import batches_of
from aios_lab.training.pacing.stepping import follow, weigh_gradients

Seen = list[tuple[int, int]]  # epoch, sample


class Pause(Exception):
    """The world ends at a boundary."""


class Rank:
    """One rank's loader, whose every batch is a step; it pauses at the boundary ``until``."""

    def __init__(self, size: int, batch: int, rank: int, world: int, first: int, until: int | None) -> None:
        whole = DataLoader(TensorDataset(torch.arange(size)), batch_size=batch, shuffle=True)
        batches = batches_of(whole, seed=3, rank=rank, world=world, first_world=first)
        assert batches is not None
        self.pace = Pace(optimizers=1)
        self.until, self.passed = until, 0
        self.position: dict[str, Any] | None = None
        self.loader = SharedLoader(whole, batches, self.pace, self.boundary, self.arrived)

    def boundary(self) -> None:
        if self.passed == self.until:
            self.position = self.loader.position()
            raise Pause
        self.passed += 1

    def arrived(self) -> None:
        self.pace.catching_up = False

    def go_on(self, position: dict[str, Any] | None) -> None:
        if position is not None:
            self.loader.go_on(position)
            self.pace.catching_up = True

    def samples(self) -> Iterator[tuple[int, list[int]]]:
        """What it computes of one epoch, with the number of samples that count."""
        for (batch,) in self.loader:
            yield self.loader.epoch, batch.tolist()[: self.pace.samples if self.pace.weight else 0]
            if self.pace.counts:
                self.pace.count()


def lived(rank: Rank, epochs: int) -> Seen:
    """The samples that this rank sees until its world ends."""
    seen: Seen = []
    try:
        for _ in range(epochs):
            for epoch, batch in rank.samples():
                seen += [(epoch, sample) for sample in batch]
    except Pause:
        pass
    return seen


@settings(deadline=None, max_examples=60)
@given(
    size=st.integers(1, 60),
    batch=st.integers(4, 12),
    epochs=st.integers(1, 3),
    worlds=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 12)), min_size=1, max_size=6),
)
def test_any_sequence_of_worlds_sees_each_sample_once_an_epoch(
    size: int, batch: int, epochs: int, worlds: list[tuple[int, int]]
) -> None:
    seen: Seen = []
    position: dict[str, Any] | None = None
    ended = False
    for number, (world, steps) in enumerate([*worlds, (1, -1)]):
        until = None if steps < 0 else steps
        ranks = [Rank(size, batch, rank, world, worlds[0][0], until) for rank in range(world)]
        for rank in ranks:
            rank.go_on(position)
            seen += lived(rank, epochs)
        assert len({str(rank.position) for rank in ranks}) == 1, number
        if ranks[0].position is None:
            ended = True
            break
        position = ranks[0].position
    assert ended
    assert Counter(seen) == Counter((epoch, sample) for epoch in range(epochs) for sample in range(size))


def test_the_order_is_the_same_whatever_the_worlds() -> None:
    alone = Rank(20, 4, 0, 1, 1, None)
    expected = [batch for _ in range(2) for _, batch in alone.samples()]
    first = Rank(20, 4, 0, 1, 1, 7)
    begun: list[list[int]] = []
    with suppress(Pause):
        for _ in range(2):
            begun.extend(batch for _, batch in first.samples())
    second = Rank(20, 4, 0, 1, 1, None)
    second.go_on(first.position)
    rest = [batch for _ in range(2) for _, batch in second.samples()]
    assert begun[:5] == expected[:5]
    assert rest == expected[7:]


def test_a_look_at_the_first_batch_is_no_epoch_and_is_repeated() -> None:
    def look(rank: Rank) -> list[int]:
        return next(iter(rank.loader))[0].tolist()  # type: ignore[no-any-return]

    first = Rank(12, 4, 0, 1, 1, 4)
    seen = look(first)
    with suppress(Pause):
        for _ in range(3):
            list(first.samples())
    assert first.position is not None
    assert (first.position["epoch"], first.position["looks"]) == (1, [0])
    second = Rank(12, 4, 0, 1, 1, None)
    second.go_on(first.position)
    assert look(second) == seen
    assert second.pace.catching_up
    assert [len(list(second.samples())) for _ in range(3)] == [0, 3, 3]
    assert second.loader.epochs_done == 0


def test_a_position_may_be_taken_in_the_middle_of_an_epoch_and_after_it() -> None:
    rank = Rank(12, 4, 0, 1, 1, None)
    batches = rank.samples()
    next(batches)
    assert rank.loader.position()["consumed"] == 4
    list(batches)
    position = rank.loader.position()
    assert (position["iteration"], position["epoch"], position["consumed"]) == (1, 1, 0)
    assert position["looks"] == []
    by_hand = Rank(12, 4, 0, 1, 1, None)
    by_hand.loader.skip_to({"iteration": 1, "epoch": 1, "consumed": 8, "looks": []})
    assert len(list(by_hand.samples())) == 1
    assert by_hand.loader.epoch == 2


def gradients(world: int, first: int, batch: int = 12) -> list[torch.Tensor]:
    """What each step's averaged gradients are, of ranks that are computed one after the other."""
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(30, 3), torch.randn(30, 1))
    totals: list[torch.Tensor] = []
    for rank in range(world):
        model: Any = torch.nn.Linear(3, 1)
        torch.nn.init.constant_(model.weight, 0.5)
        torch.nn.init.zeros_(model.bias)
        pace = Pace()
        weigh_gradients(model, pace)
        stepped: list[torch.Tensor] = []
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def keep(step: Callable[[], Any], model: Any = model, stepped: Any = stepped) -> None:
            stepped.append(model.weight.grad.clone())

        follow(optimizer, pace, keep)
        whole: Any = DataLoader(data, batch_size=batch, shuffle=True)
        batches = batches_of(whole, seed=1, rank=rank, world=world, first_world=first)
        assert batches is not None
        for x, y in SharedLoader(whole, batches, pace):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(x), y).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1e6)
            optimizer.step()
        totals = stepped if not totals else [a + b for a, b in zip(totals, stepped, strict=True)]
    return [total / world for total in totals]


@pytest.mark.parametrize(("world", "first"), [(1, 3), (2, 3), (1, 12), (3, 3), (5, 2)])
def test_a_batch_in_pieces_is_one_step_with_the_gradient_of_the_whole(world: int, first: int) -> None:
    whole, pieces = gradients(1, 1), gradients(world, first)
    assert len(pieces) == len(whole) == 3
    for expected, found in zip(whole, pieces, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_what_is_reported_for_pieces_is_their_mean() -> None:
    pieces = Pieces()
    pieces.add({"loss": 1.0}, 3)
    pieces.add({"loss": 3.0, "norm": 5.0}, 1)
    assert pieces.take() == {"loss": 1.5, "norm": 5.0}
    assert pieces.take() == {}
