"""Training on a real cluster: right results, scripts, output, and what a function gets."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from aios_lab.training import CannotTrain
from aios_lab.wire import RunState
from training import functions
from training.helpers import Train


def test_two_ranks_learn_what_one_does(start: Train, tmp_path: Path) -> None:
    alone = start(functions.regression, workers=1, seed=3)
    single = alone.result(60)
    run = start(functions.regression, workers=2, seed=3)
    assert run.result(60) == pytest.approx(single, abs=1e-5)
    view = run.view()
    assert (view.state, view.step, view.total_steps, view.epoch) == (RunState.FINISHED, 15, 15, 2)
    assert view.world_size == 2
    losses = [value for _, value in run.metrics()["loss"]]
    assert len(losses) == 15
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert [p.step for p in view.series["loss"]] == list(range(1, 16))
    recorded = (tmp_path / run.id / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in recorded] == list(range(1, 16))


def test_plain_ddp_code_runs_unchanged(start: Train) -> None:
    assert start(functions.plain_ddp).result(60) == 3.0


def test_ranks_see_what_torchrun_sets(start: Train) -> None:
    seen = start(functions.facts).result(60)
    assert seen["WORLD_SIZE"] == seen["LOCAL_WORLD_SIZE"] == "2"
    assert seen["RANK"] == seen["LOCAL_RANK"] == "0"
    assert seen["MASTER_ADDR"] == "127.0.0.1"
    assert seen["threads"] == int(seen["OMP_NUM_THREADS"]) == 1


def test_a_function_of_the_notebook_travels_by_value(start: Train) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    text = "class Scale:\n    by = 3\n\ndef fn(ctx, x=1):\n    return Scale.by * x, type(ctx).__name__\n"
    exec(compile(text, "<cell>", "exec"), namespace)
    assert start(namespace["fn"], x=5).result(60) == (15, "Context")


def test_a_model_that_is_returned_is_kept_with_the_run(start: Train) -> None:
    def fn(ctx: Any) -> Any:
        import torch

        return ctx.prepare(torch.nn.Linear(3, 2))

    run = start(fn)
    assert type(run.result(60)).__name__ == "Linear"
    assert run.view().has_model
    assert (run.folder / "model").is_dir()


def test_scripts_run_as_main_with_their_arguments(start: Train, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("WORD = 'beside'\n")
    script = tmp_path / "job.py"
    script.write_text(
        "import os, sys, beside\n"
        "import torch.distributed as dist\n"
        "if __name__ == '__main__':\n"
        "    dist.init_process_group('gloo')\n"
        "    out = open(sys.argv[1] + os.environ['RANK'], 'w')\n"
        "    out.write(f'{beside.WORD} {dist.get_world_size()} {os.path.basename(__file__)}')\n"
        "    dist.destroy_process_group()\n"
        "    sys.exit(0)\n"
    )
    run = start(script=script, args=[tmp_path / "out"])
    assert run.result(60) is None
    assert run.state is RunState.FINISHED
    assert [(tmp_path / f"out{rank}").read_text() for rank in (0, 1)] == ["beside 2 job.py"] * 2


def test_a_script_can_be_text(start: Train) -> None:
    run = start(script="import os\nprint('rank', os.environ['RANK'], 'says hello')\n").wait(60)
    assert "rank 1 says hello" in run.logs(1)
    assert "[rank 0] rank 0 says hello" in run.logs()


def test_a_flood_of_output_is_bounded_here_and_whole_in_the_file(start: Train) -> None:
    run = start(functions.chatty, workers=1, lines=200_000).wait(60)
    assert run.logs(0).count("\n") == 200_001
    shown = run.logs().splitlines()
    assert len(shown) <= 200
    assert shown[-1] == "[rank 0] the last line"
    assert any("lines left out" in line for line in shown)


def test_changes_are_told_while_it_runs(start: Train) -> None:
    changed = threading.Event()
    run = start(functions.regression, workers=1)
    forget = run.on_change(changed.set)
    assert changed.wait(60)
    forget()
    run.wait(60)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ({"fn": functions.facts, "workers": 5}, "the slice has 2"),
        ({"fn": functions.facts, "workers": 0}, "not a number of workers"),
        ({"fn": functions.facts, "strategy": "magic"}, "Use one of: ddp"),
        ({"fn": functions.facts, "unknown": 1}, "unexpected keyword argument 'unknown'"),
        ({"fn": "no function"}, "needs a function"),
        ({}, "needs a function or script"),
        ({"script": "def broken(:\n  pass\n"}, "not valid Python: line 1"),
        ({"script": "nowhere.py"}, "cannot be read"),
        ({"script": "print(1)", "lr": 1}, "--lr"),
    ],
)
def test_what_cannot_start_is_refused_before_anything_starts(
    start: Train, tmp_path: Path, what: dict[str, Any], says: str
) -> None:
    with pytest.raises(CannotTrain, match=says):
        start(**what)
    assert list(tmp_path.iterdir()) == []


def test_an_object_that_cannot_travel_is_named(start: Train) -> None:
    guard = threading.Lock()

    def fn() -> bool:
        return guard.locked()

    with pytest.raises(CannotTrain, match=r"'guard' .a lock., which .*fn"):
        start(fn)


def test_a_result_that_cannot_travel_says_so(start: Train) -> None:
    def fn() -> Any:
        return threading.Lock()

    run = start(fn).wait(60)
    with pytest.raises(RuntimeError, match="result cannot be sent back"):
        run.result()


def test_two_runs_at_once_wait_for_their_workers(start: Train, client: Client) -> None:
    runs = [start(functions.plain_ddp) for _ in range(2)]
    assert [run.result(60) for run in runs] == [3.0, 3.0]
