"""Checkpoints of a run on disk: whole or not there, verified before they are used, the newest few kept.

A checkpoint is a folder ``step-<number>`` with the shards of all ranks, as torch.distributed.checkpoint
writes them, and a manifest with the SHA-256 of every file. It is written under another name, synced and then
renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

FOLDER = "checkpoints"
MANIFEST = "manifest.json"
KEEP = 3
_WHOLE, _DRAFT, _DAMAGED = "step-", "draft-", "damaged-"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint says of itself. ``steps`` are boundaries between optimizer steps that were passed,
    ``reported`` is the step that people saw, ``stepped`` counts those of the first optimizer, ``loaders``
    tells how far each prepared DataLoader was."""

    run: str
    attempt: int
    steps: int
    reported: int
    world_size: int
    time: float
    loaders: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    bytes: int = 0
    stepped: int = 0


class Outdated(Exception):
    """A newer attempt of the run has written since: its checkpoints count, not this one."""


class Apart(Exception):
    """What other ranks wrote is not where rank 0 looks."""


class Damaged(Exception):
    """A checkpoint that is not as it was written; the message says what is wrong."""


def folder_of(run_folder: str | os.PathLike[str]) -> Path:
    return Path(run_folder) / FOLDER


def draft(folder: Path, steps: int, attempt: int) -> Path:
    """Where the ranks of this attempt write; what an earlier one left there is of no use."""
    return folder / f"{_DRAFT}{steps:010d}-{attempt}"


def commit(written: Path, manifest: Manifest, keep: int = KEEP) -> tuple[Path, Manifest]:
    """Make what all ranks have written a checkpoint, and let go of the oldest beyond ``keep``.

    Raises:
        OSError: the disk is full, or the folder is gone; the checkpoints before it stand.
        Outdated: another attempt has taken the place of this one; its checkpoints stand.
        Apart: ranks wrote to folders of their own; the checkpoints before it stand.
    """
    if (newest := _newest_attempt(written.parent)) > manifest.attempt:
        shutil.rmtree(written, ignore_errors=True)
        raise Outdated(f"attempt {newest} of this run has begun to write since")
    files = sorted(path for path in written.iterdir() if path.is_file())
    if missing := sorted(_named(written) - {path.name for path in files}):
        shutil.rmtree(written, ignore_errors=True)
        raise Apart(
            f"{missing[0]} is not where rank 0 looks: the run's folder, {written.parent.parent}, must be "
            "seen by all workers"
        )
    whole = replace(
        manifest,
        files={path.name: _digest(path) for path in files},
        bytes=sum(path.stat().st_size for path in files),
    )
    _write(written / MANIFEST, _sealed(asdict(whole)))
    _sync(written)
    place = written.parent / f"{_WHOLE}{manifest.steps:010d}"
    if place.exists():  # of an attempt that went another way from here
        place.rename(place.with_name(f"{_DRAFT}old-{manifest.steps}"))
    written.rename(place)
    _sync(place.parent)
    for old in [*listed(place.parent)[keep:], *place.parent.glob(f"{_DRAFT}old-*")]:
        shutil.rmtree(old, ignore_errors=True)
    return place, whole


def _named(written: Path) -> set[str]:
    """The files of all ranks, as they have told rank 0."""
    from torch.distributed.checkpoint.filesystem import FileSystemReader  # only ranks commit

    return {part.relative_path for part in FileSystemReader(written).read_metadata().storage_data.values()}


def _newest_attempt(folder: Path) -> int:
    """The latest attempt that has written here, to its end or not; -1 where none has."""
    drafts = [path.name.removeprefix(_DRAFT).partition("-") for path in folder.glob(f"{_DRAFT}*")]
    attempts = [int(attempt) for steps, _, attempt in drafts if steps.isdigit() and attempt.isdigit()]
    for checkpoint in listed(folder):
        with suppress(Damaged):
            attempts.append(read_manifest(checkpoint).attempt)
    return max(attempts, default=-1)


def listed(folder: Path) -> list[Path]:
    """Checkpoints that were written to their end, the newest first; they may be damaged."""
    return sorted(folder.glob(f"{_WHOLE}*"), reverse=True)


def verify(checkpoint: Path) -> Manifest:
    """Read every file of a checkpoint.

    Raises:
        Damaged: a file is missing, was cut off or has other content.
    """
    manifest = read_manifest(checkpoint)
    for name, digest in manifest.files.items():
        try:
            found = _digest(checkpoint / name)
        except OSError as error:
            raise Damaged(f"its file {name} cannot be read ({error.strerror})") from None
        if found != digest:
            raise Damaged(f"its file {name} is not what was written")
    return manifest


def read_manifest(checkpoint: Path) -> Manifest:
    """Raises: Damaged."""
    try:
        text = (checkpoint / MANIFEST).read_text(encoding="utf-8")
        fields = json.loads(text)
        seal = fields.pop("seal")
        manifest = Manifest(**fields)
    except OSError as error:
        raise Damaged(f"its manifest cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damaged("its manifest is not what was written") from None
    if seal != _seal(fields):
        raise Damaged("its manifest is not what was written")
    return manifest


def newest_good(folder: Path, say: Callable[[str], None]) -> tuple[Path, Manifest] | None:
    """The newest checkpoint that is whole; what is not is set aside, and said."""
    for left in sorted(folder.glob(f"{_DRAFT}*")):
        say(f"The checkpoint at step {step_of(left)} was not written to its end; it is not used.")
        shutil.rmtree(left, ignore_errors=True)
    candidates = listed(folder)
    for index, checkpoint in enumerate(candidates):
        try:
            return checkpoint, verify(checkpoint)
        except Damaged as damage:
            before = candidates[index + 1 : index + 2]
            instead = (
                f"the one at step {step_of(before[0])} is tried" if before else "there is none before it"
            )
            say(f"The checkpoint at step {step_of(checkpoint)} is damaged: {damage}; {instead}.")
            _set_aside(checkpoint)
    return None


def _set_aside(checkpoint: Path) -> None:
    place = checkpoint.with_name(f"{_DAMAGED}{checkpoint.name}")
    shutil.rmtree(place, ignore_errors=True)
    checkpoint.rename(place)


def step_of(checkpoint: Path) -> int:
    """The step that people saw; where it cannot be read, the number of batches in the name, and -1 where
    somebody named it otherwise."""
    try:
        return read_manifest(checkpoint).reported
    except Damaged:
        digits = checkpoint.name.removeprefix(_WHOLE).removeprefix(_DRAFT).partition("-")[0]
        return int(digits) if digits.isdigit() else -1


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _sealed(fields: dict[str, Any]) -> str:
    return json.dumps(fields | {"seal": _seal(fields)}, indent=1)


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
