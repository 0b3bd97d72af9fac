"""A position in another order, what AdaScale measures of a batch in pieces, and steps that do not count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, TensorDataset

from aios_lab.training.errors import CannotTrain
from aios_lab.training.pacing import orders
from aios_lab.training.pacing.loader import SharedLoader
from aios_lab.training.pacing.pace import Pace
from aios_lab.training.pacing.rates import OwnGradients, Rate, square_of
from aios_lab.training.pacing.sharding import ShardedBatches, batches_of
from aios_lab.training.pacing.stepping import follow, weigh_gradients
from aios_lab.training.strategies.base import StrategyOptions
from aios_lab.training.strategies.sharing import Base


class Arranged(TensorDataset):
    """Data with an order of its own."""

    def epoch_order(self, batch: int, shuffle: bool, seed: int, epoch: int) -> list[int]:
        return list(range(len(self)))


def shared(
    size: int = 24, batch: int = 8, shuffle: bool = True, seed: int = 3, kind: Any = TensorDataset
) -> tuple[SharedLoader, ShardedBatches]:
    whole: Any = DataLoader(kind(torch.arange(size)), batch_size=batch, shuffle=shuffle)
    batches = batches_of(whole, seed=seed, rank=0, world=1)
    assert batches is not None
    return SharedLoader(whole, batches, Pace()), batches


def position(inside: bool, **order: Any) -> dict[str, Any]:
    loader, _ = shared(**order)
    walk = iter(loader)
    next(walk)
    if not inside:
        list(walk)
    return loader.position()


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"seed": 4}, "had the seed 3, this one has the seed 4"),
        ({"size": 30}, "had 24 samples, this one has 30 samples"),
        ({"shuffle": False}, "had shuffle=True, this one has shuffle=False"),
        ({"size": 30, "seed": 4}, "had 24 samples and the seed 3, this one has 30 samples and the seed 4"),
    ],
)
def test_another_order_is_refused_in_the_middle_of_an_epoch_and_said_between_two(
    other: dict[str, Any], says: str
) -> None:
    _, batches = shared(**other)
    with pytest.raises(CannotTrain, match=f"{says}.*after 8 samples"):
        orders.check(position(inside=True), batches, pytest.fail)
    said: list[str] = []
    orders.check(position(inside=False), batches, said.append)
    assert [says in text for text in said] == [True]


def test_other_batches_go_on_anywhere_but_in_data_that_they_arrange() -> None:
    _, batches = shared(batch=4)
    said: list[str] = []
    orders.check(position(inside=True), batches, said.append)
    assert ["batches of 8, this one has batches of 4" in text for text in said] == [True]
    _, arranged = shared(batch=4, kind=Arranged)
    with pytest.raises(CannotTrain, match="batches of 8, this one has batches of 4"):
        orders.check(position(inside=True, kind=Arranged), arranged, pytest.fail)


def test_the_same_order_goes_on_without_a_word() -> None:
    for inside in (True, False):
        _, batches = shared()
        orders.check(position(inside), batches, pytest.fail)
    _, batches = shared(shuffle=False, seed=4)
    orders.check(position(inside=True, shuffle=False), batches, pytest.fail)


@pytest.fixture
def group() -> Iterator[None]:
    """A process group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("pieces", [2, 4, 5])
def test_adascale_measures_pieces_of_a_batch_as_it_does_ranks(pieces: int) -> None:
    """Gradients are means of samples around 1 that spread by 2 in each of 32 directions."""
    wide, batch = 32, 16
    samples = 1 + 2 * torch.randn(300 * batch, wide, generator=torch.Generator().manual_seed(5))
    whole: Any = DataLoader(TensorDataset(samples), batch_size=batch)
    batches = batches_of(whole, seed=0, rank=0, world=1, pieces=pieces)
    assert batches is not None
    model: Any = torch.nn.Linear(wide, 1, bias=False)
    optimizer, pace = torch.optim.SGD(model.parameters(), lr=0.0), Pace()
    own, rate = OwnGradients(model.parameters(), pace), Rate("adascale", optimizer, 1.0)
    weigh_gradients(model, pace)

    def measured(step: Callable[[], Any]) -> Any:
        mean, parts = own.take()
        assert parts == pieces
        rate.measure(mean, square_of(optimizer), parts)
        return step()

    follow(optimizer, pace, measured)
    for (x,) in SharedLoader(whole, batches, pace):
        optimizer.zero_grad()
        model(x).mean().backward()
        optimizer.step()
    found = rate.state()
    assert found["square"] / found["seen"] == pytest.approx(wide, rel=0.1)
    assert found["variance"] / found["seen"] == pytest.approx(4 * wide / batch, rel=0.15)


def test_what_keeps_an_optimizer_without_state_steps_it_for_nothing() -> None:
    model, pace = torch.nn.Linear(2, 1), Pace()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    taken: list[Any] = []
    follow(optimizer, pace, lambda step: taken.append(step()))
    keeper = Base(StrategyOptions())
    keeper.state(model, optimizer)
    assert (pace.stepped, len(taken)) == (1, 1)  # as torch does it
    with pace.kept():
        keeper.load(model, optimizer, keeper.state(model, optimizer))
    assert (pace.stepped, len(taken)) == (1, 1)
