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
from aios_lab.training.pacing.stepping import follow, hold, weigh_gradients
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
@pytest.mark.parametrize("pieces", [2, 4, 8])
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


class Pause(Exception):
    """The world ends at a boundary."""


def accumulated(model: Any, samples: int, position: dict[str, Any] | None, cut: int) -> dict[str, Any] | None:
    """Two epochs of batches of 2 whose gradients the function itself adds up, four to a step; where they are
    at the boundary number ``cut``, at which their world ends. The next one has no gradients."""
    whole: Any = DataLoader(TensorDataset(torch.arange(float(samples)).reshape(-1, 1)), batch_size=2)
    batches = batches_of(whole, seed=0, rank=0, world=1)
    assert batches is not None
    optimizer, pace = torch.optim.SGD(model.parameters(), lr=0.01), Pace()
    kept: list[dict[str, Any]] = []
    follow(optimizer, pace)
    optimizer.zero_grad()

    def boundary() -> None:
        kept.append(loader.position())
        if len(kept) == cut:
            raise Pause

    def arrived() -> None:
        pace.catching_up = False

    loader = SharedLoader(whole, batches, pace, boundary, arrived)
    if position is not None:
        loader.go_on(position)
        pace.catching_up = True
    try:
        for _ in range(2):
            for number, (x,) in enumerate(loader, 1):
                model(x).square().mean().backward()
                if number % 4 == 0:
                    optimizer.step()
                    optimizer.zero_grad()
    except Pause:
        return kept[-1]
    return None


@pytest.mark.parametrize("samples", [16, 20])
def test_a_function_that_adds_up_gradients_itself_loses_none_wherever_it_is_cut(samples: int) -> None:
    """Batches whose gradients wait for their step are no place to end; some of an epoch's last may, too."""

    def learned(cut: int) -> tuple[float, bool]:
        model: Any = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(model.weight, 0.1)
        torch.nn.init.zeros_(model.bias)
        position = accumulated(model, samples, None, cut)
        if position is not None:
            accumulated(model, samples, position, 0)
        return model.weight.item(), position is not None

    expected, _ = learned(0)
    cuts = 0
    while (found := learned(cuts + 1))[1]:
        cuts += 1
        assert found[0] == pytest.approx(expected, rel=1e-6), cuts
    assert cuts >= 3


def adversaries(pieces: int, drop: Callable[[Any, Any], None]) -> list[torch.Tensor]:
    """The discriminator's gradients in each step of the usual loop of two networks, where the generator's
    loss leaves gradients at the discriminator that are dropped before its next step."""
    torch.manual_seed(0)
    judge, maker = torch.nn.Linear(2, 1), torch.nn.Linear(2, 2)
    judges, makers = (torch.optim.SGD(model.parameters(), lr=0.0) for model in (judge, maker))
    whole: Any = DataLoader(TensorDataset(torch.randn(12, 2), torch.randn(12, 2)), batch_size=4)
    batches = batches_of(whole, seed=0, rank=0, world=1, pieces=pieces)
    assert batches is not None
    pace = Pace()
    taken: list[torch.Tensor] = []
    for model in (judge, maker):
        weigh_gradients(model, pace)
    follow(judges, pace, lambda step: taken.append(judge.weight.grad.clone()) or step())
    follow(makers, pace)
    for real, noise in SharedLoader(whole, batches, pace):
        drop(judge, judges)
        (judge(real).square().mean() - judge(maker(noise).detach()).mean()).backward()
        judges.step()
        drop(maker, makers)
        judge(maker(noise)).square().mean().backward()
        makers.step()
    assert (pace.stepped, pace.step) == (6, 3)
    return taken


@pytest.mark.parametrize(
    "drop",
    [
        lambda _, optimizer: optimizer.zero_grad(),
        lambda _, optimizer: optimizer.zero_grad(set_to_none=False),
        lambda model, _: model.zero_grad(),
    ],
    ids=["set to none", "set to zero", "by the module"],
)
def test_what_a_function_drops_between_two_steps_is_dropped_in_pieces_too(drop: Any) -> None:
    for whole, pieces in zip(adversaries(1, drop), adversaries(2, drop), strict=True):
        torch.testing.assert_close(pieces, whole)


@pytest.mark.parametrize("kept", [False, True], ids=["plain", "with a scaler"])
def test_a_loop_that_is_left_between_two_pieces_leaves_nothing_to_the_next(kept: bool) -> None:
    whole: Any = DataLoader(TensorDataset(torch.arange(1.0, 9.0).reshape(-1, 1)), batch_size=4)
    batches = batches_of(whole, seed=0, rank=0, world=1, pieces=2)
    assert batches is not None
    model: Any = torch.nn.Linear(1, 1)
    optimizer, pace = torch.optim.SGD(model.parameters(), lr=0.0), Pace()
    scaler = torch.amp.GradScaler("cpu", enabled=kept)
    found: list[float] = []
    weigh_gradients(model, pace)
    follow(optimizer, pace, lambda step: found.append(float(model.weight.grad)))
    hold(scaler, ("unscale_", "step", "update"), pace)
    loader = SharedLoader(whole, batches, pace)
    for left in (True, False):
        for (x,) in loader:
            optimizer.zero_grad()
            scaler.scale(model(x).mean()).backward()
            scaler.step(optimizer)
            scaler.update()
            if left:
                break
    assert found == pytest.approx([2.5, 6.5])
