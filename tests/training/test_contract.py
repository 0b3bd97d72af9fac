"""Unchanged scripts get from us what they get from torchrun: the same surroundings and the same verdict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import accelerate
import pytest

from aios_lab.training import TrainingFailed
from aios_lab.wire import RunState
from training import torchrun as agent
from training.helpers import Train

CONTRACT = Path(__file__).parent / "contract"
UPSTREAM = Path(accelerate.__file__).parent / "test_utils" / "scripts"


class Torchrun:
    """One agent for all cases: it takes seconds to start."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, agent.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __call__(self, script: Path, *args: object) -> bool:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([str(script), *map(str, args)]) + "\n")
        self._process.stdin.flush()
        return bool(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def torchrun() -> Iterator[Torchrun]:
    os.environ["SENTINEL_OF_THE_LAUNCHER"] = "set by who launched it"
    running = Torchrun()
    yield running
    running.close()
    del os.environ["SENTINEL_OF_THE_LAUNCHER"]


def content(start: Train, script: Path, *args: object) -> bool:
    """Our verdict."""
    run = start(script=script, args=list(args))
    try:
        run.wait(300)
    except TrainingFailed:
        assert run.state is RunState.FAILED
        return False
    assert run.state is RunState.FINISHED, run.logs()
    return True


def facts(folder: Path) -> list[Any]:
    return [json.loads((folder / rank).read_text()) for rank in "01"]


def both(start: Train, torchrun: Torchrun, folder: Path, script: str, *args: object) -> tuple[Any, Any]:
    """What the script's ranks wrote under us and under torchrun."""
    found = []
    for name in ("ours", "theirs"):
        (folder / name).mkdir()
        verdict = torchrun if name == "theirs" else lambda *case: content(start, *case)
        assert verdict(CONTRACT / script, folder / name, *args), name
        found.append(facts(folder / name))
    return found[0], found[1]


def test_a_script_finds_the_same_around_it(start: Train, torchrun: Torchrun, tmp_path: Path) -> None:
    ours, theirs = both(start, torchrun, tmp_path, "environment.py", "--with", "argu ments", "")
    for mine, its in zip(ours, theirs, strict=True):
        mine["argv"][0] = its["argv"][0] = "FOLDER"
        assert mine == its


@pytest.mark.parametrize("how", ["plainly", "explicitly"])
def test_ranks_meet_in_every_way(start: Train, torchrun: Torchrun, tmp_path: Path, how: str) -> None:
    ours, theirs = both(start, torchrun, tmp_path, "rendezvous.py", how)
    assert ours == theirs


def test_scripts_start_processes_of_their_own(start: Train, torchrun: Torchrun, tmp_path: Path) -> None:
    ours, theirs = both(start, torchrun, tmp_path, "children.py")
    assert ours == theirs


EXITS = [
    *(
        "exit:0",
        "exit:None",
        "exit:False",
        "exit:3",
        "exit:-1",
        "exit:256",
        "exit:'text'",
        "exit:''",
        "exit:1.5",
    ),
    *(
        "hard:0",
        "hard:5",
        "raise",
        "interrupt",
        "caught interrupt",
        "caught term",
        "argparse",
        "thread fails",
        "open executor",
    ),
    *(
        "signal:SIGKILL",
        "signal:SIGTERM",
        "signal:SIGSEGV",
        "signal:SIGABRT",
        "signal:SIGUSR1",
        "signal:SIGINT",
    ),
    "nothing",
]


@pytest.mark.parametrize("how", EXITS)
def test_an_end_is_judged_alike(start: Train, torchrun: Torchrun, how: str) -> None:
    assert content(start, CONTRACT / "exits.py", how) == torchrun(CONTRACT / "exits.py", how)


@pytest.mark.parametrize("how", ["exit:1", "hard:1", "raise", "signal:SIGTERM"])
def test_one_rank_that_fails_is_enough(start: Train, torchrun: Torchrun, how: str) -> None:
    case = CONTRACT / "exits.py", how, 1
    assert content(start, *case) is torchrun(*case) is False


@pytest.mark.parametrize("how", ["late", "late exit"])
def test_what_runs_at_exit_runs(start: Train, torchrun: Torchrun, tmp_path: Path, how: str) -> None:
    written = {}
    for name in ("ours", "theirs"):
        folder = tmp_path / name
        folder.mkdir()
        case = CONTRACT / "exits.py", f"{how}:{folder}"
        verdict = content(start, *case) if name == "ours" else torchrun(*case)
        written[name] = verdict, {path.read_text() for path in folder.iterdir()}  # one may be cut off
    assert written["ours"] == written["theirs"]


@pytest.mark.parametrize(
    ("how", "says"), [("raise", "recorded and raised"), ("hard", "told in the error file")]
)
def test_an_error_that_is_recorded_is_told(start: Train, torchrun: Torchrun, how: str, says: str) -> None:
    assert not torchrun(CONTRACT / "recorded.py", how)
    with pytest.raises(TrainingFailed, match=says):
        start(script=CONTRACT / "recorded.py", args=[how]).wait(60)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("test_ops.py", "sending tensors across devices"),  # on CPUs it works alone, under torchrun too
        ("test_sync.py", "**Test Distributed `no_sync` context manager with multiple forwards**"),
        ("test_script.py", "Num processes: 2"),
    ],
)
def test_scripts_of_accelerate_pass(
    start: Train, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    run = start(script=UPSTREAM / name).wait(600)
    assert run.state is RunState.FINISHED
    assert told in run.logs(0)
