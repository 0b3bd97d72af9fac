"""Checkpoints on disk: whole or not there, verified, kept a few; and what a rank keeps in them."""

from __future__ import annotations

import random
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed.checkpoint import filesystem, state_dict_saver
from torch.distributed.checkpoint._dedup_save_plans import dedup_save_plans
from torch.distributed.checkpoint.default_planner import create_default_local_save_plan

from aios_lab.training.errors import CannotTrain
from aios_lab.training.keeping import Keeping
from aios_lab.training.pacing.rates import Rate, gain
from aios_lab.training.rank.boundaries import AHEAD, LONGEST_PART, SHORTEST_PART, Boundaries
from aios_lab.training.saving import checkpoints, state
from aios_lab.training.saving.checkpoints import (
    Apart,
    Damaged,
    Manifest,
    Outdated,
    commit,
    draft,
    listed,
    newest_good,
    verify,
)


def written(folder: Path, steps: int, keep: int = 3, attempt: int = 0) -> Path:
    place = draft(folder, steps, attempt)
    writer = filesystem.FileSystemWriter(place)
    state_dict_saver.save({"value": torch.arange(64 * steps)}, storage_writer=writer, no_dist=True)
    return commit(place, Manifest("r-1", attempt, steps, steps, 2, 1.0), keep)[0]


def test_a_checkpoint_is_verified_and_the_oldest_go(tmp_path: Path) -> None:
    for steps in (1, 2, 3, 4):
        written(tmp_path, steps, keep=2)
    assert [verify(path).steps for path in listed(tmp_path)] == [4, 3]
    found = newest_good(tmp_path, pytest.fail)
    assert found is not None
    sizes = [path.stat().st_size for path in found[0].iterdir() if path.name != checkpoints.MANIFEST]
    assert (found[1].steps, found[1].bytes) == (4, sum(sizes))


def test_a_checkpoint_whose_parts_lie_elsewhere_does_not_stand(tmp_path: Path) -> None:
    written(tmp_path, 2, keep=1)
    place = draft(tmp_path, 3, 0)
    writer = filesystem.FileSystemWriter(place)
    state_dict_saver.save({"value": torch.arange(9)}, storage_writer=writer, no_dist=True)
    (place / "__0_0.distcp").unlink()  # as if another host's rank had written it, to a disk of its own
    with pytest.raises(Apart, match=f"{tmp_path.parent}, must be seen by all workers"):
        commit(place, Manifest("r-1", 0, 3, 3, 2, 1.0), keep=1)
    assert [verify(path).steps for path in listed(tmp_path)] == [2]
    assert not place.exists()


def test_of_what_all_ranks_have_rank_0s_comes_back(tmp_path: Path) -> None:
    """Two ranks whose values differ, each planned for and written as the ranks do."""

    def kept(rank: int) -> dict[str, Any]:
        norm = torch.nn.BatchNorm1d(1000)
        torch.nn.init.constant_(norm.running_mean, rank)
        user = {"best": rank, "tensor": torch.full((10,), float(rank))}
        return state.packed({"parts": [{"trained": {"model": norm.state_dict()}}], "user": user}, rank)

    plans = [create_default_local_save_plan(kept(rank), rank == 0) for rank in range(2)]
    first, second = ({item.index.fqn for item in plan.items} for plan in dedup_save_plans(plans))
    assert second == {"random.1"}
    assert {"rest", "random.0", "user.tensor", "parts.0.trained.model.running_mean"} < first


def cut(place: Path) -> None:
    with (place / "__0_0.distcp").open("r+b") as file:
        file.truncate(100)


def flip(place: Path) -> None:
    path = place / "__0_0.distcp"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def forge(place: Path) -> None:
    path = place / checkpoints.MANIFEST
    path.write_text(path.read_text().replace('"reported": 3', '"reported": 9'))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (cut, "is not what was written"),
        (flip, "is not what was written"),
        (forge, "its manifest is not what was written"),
        (lambda place: (place / ".metadata").unlink(), "cannot be read"),
        (lambda place: (place / checkpoints.MANIFEST).write_text("{"), "its manifest is not"),
        (lambda place: (place / checkpoints.MANIFEST).unlink(), "its manifest cannot be read"),
    ],
)
def test_a_damaged_one_gives_way_to_the_one_before_and_that_is_said(
    tmp_path: Path, harm: Any, says: str
) -> None:
    written(tmp_path, 2)
    place = written(tmp_path, 3)
    harm(place)
    with pytest.raises(Damaged, match=says):
        verify(place)
    said: list[str] = []
    found = newest_good(tmp_path, said.append)
    assert found is not None
    assert found[1].steps == 2
    assert len(said) == 1
    assert "step 3 is damaged" in said[0]
    assert "step 2 is tried" in said[0]
    assert newest_good(tmp_path, pytest.fail) == found


def test_one_that_was_not_written_to_its_end_is_not_used(tmp_path: Path) -> None:
    written(tmp_path, 2)
    half = draft(tmp_path, 5, 1)
    half.mkdir()
    (half / "__0_0.distcp").write_bytes(b"half")
    said: list[str] = []
    found = newest_good(tmp_path, said.append)
    assert found is not None
    assert found[1].steps == 2
    assert "step 5 was not written to its end" in said[0]


def test_one_that_is_written_again_replaces_the_first(tmp_path: Path) -> None:
    written(tmp_path, 2)
    written(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000002"]


def test_an_attempt_that_another_has_taken_the_place_of_leaves_its_checkpoints_alone(tmp_path: Path) -> None:
    written(tmp_path, 2, attempt=1)
    with pytest.raises(Outdated, match="attempt 1 of this run"):
        written(tmp_path, 2, attempt=0)
    assert verify(listed(tmp_path)[0]).attempt == 1
    draft(tmp_path, 9, 2).mkdir()
    draft(tmp_path, 9, 2).with_name("draft-of-mine").mkdir()
    with pytest.raises(Outdated, match="attempt 2 of this run"):
        written(tmp_path, 5, attempt=1)
    assert written(tmp_path, 5, attempt=2).exists()
    assert [verify(path).attempt for path in listed(tmp_path)] == [2, 1]


def test_any_state_comes_back_as_it_was(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 1)
    kept = {
        "empty": {},
        "numbers": {0: 1.5, 1: [torch.ones(2), None, "text"]},
        "model": model,
        "order": OrderedDict(a=torch.tensor(3)),
        "pair": (1, torch.zeros(1)),
    }
    random.seed(7)
    torch.manual_seed(7)
    dcp.save(
        state.packed({"user": kept}, rank=0),
        storage_writer=dcp.FileSystemWriter(tmp_path),  # type: ignore[attr-defined]
        no_dist=True,
    )
    expected = (random.random(), float(torch.rand(())))
    saved, states = state.unpacked(tmp_path, rank=0)
    found = saved.get("user")
    assert found["empty"] == {}
    assert found["numbers"][0] == 1.5
    assert found["numbers"][1][1:] == [None, "text"]
    torch.testing.assert_close(found["model"]["weight"], model.weight.detach())
    assert int(found["order"]["a"]) == 3
    assert found["pair"][0] == 1
    state.restore_random(states, seed=0)
    assert (random.random(), float(torch.rand(()))) == expected
    assert state.unpacked(tmp_path, rank=1)[1] is None
    assert saved.get("nothing") is None
    with pytest.raises(ValueError, match="it has no other"):
        saved.into({"other": torch.zeros(1)}, "user", "order")


class Shared(dict[str, str]):
    """A store of one process."""

    def set(self, key: str, value: str) -> None:
        self[key] = value

    def get(self, key: str) -> bytes:  # type: ignore[override]
        return self[key].encode()

    def check(self, keys: list[str]) -> bool:
        return all(key in self for key in keys)

    def add(self, key: str, amount: int) -> int:
        self[key] = str(int(super().get(key, "0")) + amount)
        return int(self[key])


@given(st.integers(2, 4), st.data())
def test_all_ranks_stop_at_the_same_step_whenever_they_hear_of_it(world: int, data: Any) -> None:
    """Ranks that average gradients: nobody begins a step before all have begun the one before."""
    store = Shared()
    ranks = [Boundaries(rank, world) for rank in range(world)]
    heard = [data.draw(st.integers(0, 6)) for _ in ranks]
    settled = max(heard) + data.draw(st.integers(0, 3))
    stopped: dict[int, int] = {}
    for step in range(1, 20):
        for rank in data.draw(st.permutations(range(world))):
            if rank in stopped:
                continue
            if step == heard[rank] + 1:
                ranks[rank].hold(1, "pause")
            if rank == 0 and step == settled + 1:
                ranks[0].settle(1)
            if ranks[rank].due(step, store):
                stopped[rank] = step
    assert stopped == dict.fromkeys(range(world), settled + 1 + AHEAD)


@given(st.integers(2, 4), st.data())
def test_all_ranks_part_at_the_same_step_soon_after_all_know_of_the_stop(world: int, data: Any) -> None:
    store = Shared()
    ranks = [Boundaries(rank, world) for rank in range(world)]
    heard = [data.draw(st.integers(1, 6)) for _ in ranks]
    parted: dict[int, int] = {}
    for step in range(1, 20):
        for rank in data.draw(st.permutations(range(world))):
            if rank in parted:
                continue
            if step == heard[rank]:
                ranks[rank].part(store)
            if ranks[rank].due(step, store) == "stop":
                parted[rank] = step
    assert len(parted) == world
    assert len({*parted.values()}) == 1
    assert max(heard) < parted[0] <= max(heard) + 2


def test_a_stop_waits_for_a_step_only_where_steps_are_known_to_be_short() -> None:
    alone = Boundaries(0, 1)
    assert alone.patience == 0
    alone.due(1, None)
    assert SHORTEST_PART <= alone.patience <= LONGEST_PART
    alone._took = LONGEST_PART
    assert alone.patience == 0
    alone.part(None)
    assert alone.parting
    assert alone.stay()
    assert alone.due(2, None) is None
    alone.part(None)
    assert alone.due(3, None) == "stop"
    assert not alone.stay()  # what it ends with is being saved
    assert alone.parting
    assert alone.stay(even_here=True)


def test_one_rank_alone_stops_at_once_and_saves_each_so_many_steps() -> None:
    alone = Boundaries(0, 1, every=4)
    assert [alone.due(step, None) for step in range(1, 9)] == [None, None, None, "save"] * 2
    alone.hold(3, "pause")
    assert alone.due(9, None) is None
    alone.settle(3)
    assert alone.due(10, None) == "pause"
    assert alone.due(11, None) is None


def test_the_learning_rate_follows_the_batch_by_its_rule() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    seen: list[float] = []
    for rule in ("linear", "sqrt"):
        Rate(rule, optimizer, 4.0).step(lambda: seen.append(optimizer.param_groups[0]["lr"]))
    assert seen == pytest.approx([0.4, 0.2])
    assert optimizer.param_groups[0]["lr"] == 0.1
    noisy, agreed = Rate("adascale", optimizer, 4.0), Rate("adascale", optimizer, 4.0)
    for _ in range(50):
        noisy.measure(own=4.0, mean=1.0, parts=4)  # four orthogonal gradients of length 2
        agreed.measure(own=4.0, mean=4.0, parts=4)
    assert noisy.factor == pytest.approx(4.0)
    assert agreed.factor == pytest.approx(1.0)
    again = Rate("adascale", optimizer, 2.0)
    again.restore(noisy.state())
    assert again.factor == pytest.approx(2.0)


@given(st.floats(0, 1e6), st.floats(1e-6, 1e6), st.floats(1, 64))
def test_the_gain_lies_between_one_and_the_scale(variance: float, square: float, scale: float) -> None:
    assert 1 - 1e-9 <= gain(variance, square, scale) <= scale * (1 + 1e-9)


def test_a_run_to_go_on_from_is_found_by_its_id_or_its_checkpoint(tmp_path: Path) -> None:
    folder = checkpoints.folder_of(tmp_path / "r-1")
    first, second = written(folder, 1), written(folder, 2)
    assert Keeping(resume="r-1").found(tmp_path) == Keeping(resume=str(second))
    assert Keeping(resume="r-1@1").found(tmp_path) == Keeping(resume=str(first))
    assert Keeping(resume=str(first)).found(tmp_path) == Keeping(resume=str(first))
    flip(second)
    instead = Keeping(resume="r-1").found(tmp_path)
    assert instead.resume == str(first)
    assert [said.partition(":")[0] for said in instead.passed_over] == ["The checkpoint at step 2 is damaged"]
    for name in (str(second), "r-1@2"):
        with pytest.raises(CannotTrain, match="The checkpoint at step 2 is damaged: its file"):
            Keeping(resume=name).found(tmp_path)
    for name, says in (("r-2", "has no checkpoint"), ("r-1@7", "has none at step 7"), ("r-1@x", "step x")):
        with pytest.raises(CannotTrain, match=says):
            Keeping(resume=name).found(tmp_path)
    copied = first.rename(tmp_path / "best")
    assert Keeping(resume=str(copied)).found(tmp_path).resume == str(copied)


@pytest.mark.parametrize(
    ("keeping", "says"),
    [
        (Keeping(checkpoint_every=0), "checkpoint_every=0"),
        (Keeping(min_workers=5), "more than the 2"),
        (Keeping(batch_growth="cubic"), "Use one of: linear, sqrt, adascale"),
    ],
)
def test_what_is_not_possible_is_refused(keeping: Keeping, says: str) -> None:
    with pytest.raises(CannotTrain, match=says):
        keeping.check(2)
