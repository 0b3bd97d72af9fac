"""What the order of samples follows from, kept with a position in it, which means others in another order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aios_lab.training.errors import CannotTrain
from aios_lab.training.pacing.sharding import ShardedBatches

_WORDS = {"size": "{} samples", "shuffle": "shuffle={}", "seed": "the seed {}", "batch": "batches of {}"}


def of(batches: ShardedBatches) -> dict[str, Any]:
    """For the position."""
    return {
        "size": batches.size,
        "shuffle": batches.shuffle,
        "seed": batches.seed,
        "batch": batches.asked,
        "first_world": batches.first_world,
    }


def check(position: Mapping[str, Any], batches: ShardedBatches, say: Callable[[str], None]) -> None:
    """Whether ``batches`` go on at a position. What differs at the end of an epoch is only said.

    Raises:
        CannotTrain: in the middle of an epoch samples would be taken twice, or never.
    """
    before, now = position.get("order"), of(batches)
    if before is None:  # it was kept before orders were
        return
    differ = [name for name in _WORDS if before[name] != now[name] and _matters(name, batches)]
    if not differ:
        return
    was, does = (" and ".join(_WORDS[name].format(one[name]) for name in differ) for one in (before, now))
    text = f"The checkpoint's DataLoader had {was}, this one has {does}"
    if not position["consumed"] or (differ == ["batch"] and not batches.arranged):
        say(f"{text}.")
        return
    raise CannotTrain(
        f"{text}. The checkpoint is from the middle of an epoch, after {position['consumed']} samples: going "
        "on there would take some twice and others never. Give the DataLoader the same, or begin with a "
        "checkpoint from between two epochs."
    )


def _matters(name: str, batches: ShardedBatches) -> bool:
    """A seed that nothing is shuffled by does not."""
    return name != "seed" or batches.shuffle
