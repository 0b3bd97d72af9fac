"""How full a cluster gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aios_lab.allocation import Node, Resources
from aios_lab.allocation.placement import Task
from aios_lab.allocation.simulation import Job, fill
from aios_lab.allocation.simulation.filling import LEVELS, inflated
from aios_lab.cli import main


def gpu_jobs(*parts: int) -> list[Job]:
    return [Job(id, 0.0, 1.0, Resources(1000, 1024, part)) for id, part in enumerate(parts)]


NODES = (Node("a", Resources(8000, 65_536, 2000)), Node("b", Resources(8000, 65_536, 2000)))


def test_what_has_no_room_is_turned_away() -> None:
    """Parts of 600 milli-GPU: one a device, whatever the rule, however many come."""
    made = fill(gpu_jobs(*[600] * 4), NODES, ["first", "pack", "spread", "fgd", "random"], seeds=2)
    assert made.gpus == 4
    for rule in made.ratios:
        assert made.ratios[rule][80] == (0.6, 0.6)
        assert set(made.ratios[rule]) == set(LEVELS)


def test_every_rule_meets_the_same_tasks_and_twice_the_same() -> None:
    jobs = gpu_jobs(300, 500, 1000, 2000, 700)
    made = fill(jobs, NODES, ["fgd", "spread"], seeds=3)
    assert made == fill(jobs, NODES, ["fgd", "spread"], seeds=3)
    assert made.ratios["fgd"] == fill(jobs, NODES, ["fgd"], seeds=3).ratios["fgd"]


def test_copies_are_added_until_enough_is_asked_for() -> None:
    from random import Random

    tasks = [Task(1, 1, 1, 400), Task(1)]
    more = inflated(tasks, 2000, Random(1))
    assert sum(task.gpu for task in more) == 2000
    assert set(more) == set(tasks)
    assert sorted(inflated(tasks, 0, Random(1))) == sorted(tasks)


WRONG = {
    "no such rule": ((NODES, ["tight"]), "no placement 'tight'; there are: random, first, pack, spread, fgd"),
    "no GPUs": (((Node("a", Resources(8000)),), ["fgd"]), "The nodes have no GPUs"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_is_named(case: str) -> None:
    (nodes, rules), message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        fill(gpu_jobs(500), nodes, rules)


def test_jobs_without_gpus_fill_nothing() -> None:
    with pytest.raises(ValueError, match="No job asks for a GPU"):
        fill(gpu_jobs(0, 0), NODES, ["fgd"])


@pytest.fixture
def traces(tmp_path: Path) -> tuple[Path, Path]:
    pods, nodes = tmp_path / "pods.csv", tmp_path / "nodes.csv"
    rows = [f"{cpu},1024,1,{part},0,9" for cpu, part in ((1000, 500), (2000, 1000), (1000, 300))]
    heading = "cpu_milli,memory_mib,num_gpu,gpu_milli,creation_time,deletion_time\n"
    pods.write_text(heading + "\n".join(rows) + "\n")
    nodes.write_text("sn,cpu_milli,memory_mib,gpu\na,8000,65536,2\nb,8000,65536,1\n")
    return pods, nodes


def test_from_the_shell(
    traces: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pods, nodes = traces
    figures = tmp_path / "figures.json"
    command = ["simulate", str(pods), "--nodes", str(nodes), "--protocol", "fgd", "--seeds", "2"]
    assert main([*command, "--placement", "fgd", "--placement", "pack", "--json", str(figures)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "GPUs in use, of 3"
    assert [line.split()[0] for line in lines[-2:]] == ["fgd", "pack"]
    made = json.loads(figures.read_text())
    assert made["gpus"] == 3
    assert len(made["ratios"]["fgd"]["120"]) == 2


def test_nodes_have_to_be_named(traces: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(traces[0]), "--protocol", "fgd"]) == 1
    assert "name a file of them with --nodes" in capsys.readouterr().err
