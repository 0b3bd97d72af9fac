"""``jupyter aios simulate`` from a file to a table."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from aios_lab.cli import main
from allocation.simulation.test_protocol import JOBS
from allocation.simulation.workloads import Row, write_swf

ALL = ["--protocol", "rlscheduler", "--start", "0", "--length", "6"]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """The six jobs whose schedules the protocol's tests work out by hand."""
    return write_swf(tmp_path / "six.swf", JOBS.values())


def simulated(path: Path, *options: str) -> int:
    return main(["simulate", str(path), *ALL, *options])


def test_from_the_shell(trace: Path, tmp_path: Path) -> None:
    """FCFS starts at 1000, 1010, 1020, 1028, 1028 and 1034; a bounded slowdown divides by 10 s at least."""
    packed, figures = tmp_path / "six.swf.gz", tmp_path / "figures.json"
    packed.write_bytes(gzip.compress(trace.read_bytes()))
    command = [sys.executable, "-m", "aios_lab.cli", "simulate", str(packed), *ALL]
    command += ["--order", "fcfs", "sjf", "--json", str(figures)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    mean = (1 + 19 / 10 + 26 / 10 + 31 / 10 + 43 / 20 + 31 / 10) / 6
    # 30 + 40 + 32 + 18 + 20 + 3 processor-seconds; the last start is 34 s after the first submit.
    used = 143 / (34 * 4)
    line = next(line for line in run.stdout.splitlines() if line.startswith("FCFS"))
    assert line.split() == ["FCFS", f"{mean:.2f}", f"{mean:.2f}", "–", f"{mean:.2f}", f"{used:.3f}"]
    assert run.stdout.count("Without backfill") == run.stdout.count("With backfill") == 1
    made = json.loads(figures.read_text())
    assert (made["processors"], made["starts"], made["length"], made["notes"]) == (4, [0], 6, [])
    assert [(cell["order"], cell["backfill"], cell["defect"]) for cell in made["cells"]] == [
        ("fcfs", False, False),
        ("sjf", False, False),
        ("fcfs", True, False),
        ("sjf", True, False),
    ]
    first = made["cells"][0]
    assert first["slowdowns"] == [pytest.approx(mean)]
    assert first["slowdown"] == pytest.approx(mean)
    assert first["slowdown_interval"] == [pytest.approx(mean)] * 2
    assert first["utilisation"] == pytest.approx(used)


def test_the_published_mistake_only_when_it_is_asked_for(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulated(trace) == 0
    right = capsys.readouterr().out
    assert simulated(trace, "--defect") == 0
    both = capsys.readouterr().out
    assert "as published" not in right
    assert both.count("WFP3 as published") == both.count("UNICEP as published") == 4
    assert all(title in right for title in ("FCFS", "WFP3", "UNICEP", "SJF", "F1", "SAF"))


def test_notes_are_told_beside_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_swf(tmp_path / "late.swf", [*JOBS.values(), Row(5, 1, 1, 1)])
    assert simulated(path, "--order", "fcfs") == 0
    told = capsys.readouterr()
    assert told.err == "Row 8: submitted before the row above it; the jobs are sorted by submit time.\n"
    assert told.out.startswith(f"{path}, 4 processors: average bounded slowdown over 1 sequence of 6 jobs.")


def test_processors_of_the_user(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulated(trace, "--processors", "100", "--order", "saf") == 0
    assert "SAF        1.00    1.00 – 1.00" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--start", "3"], "A sequence of 6 jobs from job 3 needs 9 jobs that ran, and "),
        (["--processors", "3"], "Job 2 of "),
        (["--processors", "0"], "A cluster of 0 processors runs nothing"),
        (["--format", "philly"], "row 1: the columns timestamp, duration, num_gpus are missing."),
        (["--json", "/nowhere/figures.json"], "/nowhere/figures.json: No such file or directory."),
    ],
)
def test_one_sentence_for_what_cannot_be(
    trace: Path, capsys: pytest.CaptureFixture[str], options: list[str], problem: str
) -> None:
    assert simulated(trace, *options) == 1
    told = capsys.readouterr()
    assert problem in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "No such file or directory."),
        ("", "the file is empty."),
        ("1 2 3\n", "row 1: 3 fields, and the Standard Workload Format has 18."),
        ("timestamp,duration,num_gpus\n0,1,1\n", "does not say how many processors its cluster has"),
        (
            "cpu_milli,memory_mib,num_gpu,gpu_milli,creation_time,deletion_time\n1,1,1,10,0,1\n1,1,0,0,0,1\n",
            "has jobs of several shapes, and the protocol knows processors only",
        ),
    ],
)
def test_one_sentence_for_a_bad_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, problem: str
) -> None:
    path = tmp_path / "bad"
    if text is not None:
        path.write_text(text)
    assert simulated(path) == 1
    told = capsys.readouterr()
    assert str(path) in told.err
    assert problem in told.err
    assert told.err.count("\n") <= 2


@pytest.mark.parametrize("wrong", [["--order", "lifo"], ["--length", "many"], ["--protocol", "other"]])
def test_what_the_command_line_refuses(trace: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        simulated(trace, *wrong)
    assert caught.value.code == 2


def test_a_reader_who_has_seen_enough(trace: Path) -> None:
    command = [sys.executable, "-m", "aios_lab.cli", "simulate", str(trace), *ALL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 0)


def test_policies_side_by_side(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    policies = ["--policy", "fcfs", "--policy", "sjf+easy", "--json", str(figures)]
    assert main(["simulate", str(trace), *policies]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("6 jobs\n")
    assert [line.split()[0] for line in printed.splitlines() if line[:4] in ("fcfs", "sjf+")] == [
        "fcfs",
        "sjf+easy",
    ]
    made = json.loads(figures.read_text())["policies"]
    starts = (1000, 1010, 1020, 1028, 1028, 1034)  # FCFS as above
    waits = [start - row.submit for start, row in zip(starts, JOBS.values(), strict=True)]
    assert made["fcfs"]["wait"]["mean"] == pytest.approx(sum(waits) / 6)
    assert main(["simulate", str(trace), "--policy", "fcfs", "--jobs", "1"]) == 0
    assert capsys.readouterr().out.startswith("1 job\n")


@pytest.mark.parametrize("name", ["--plot", "--json"])
def test_what_is_read_is_not_written_over(trace: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    before = trace.read_bytes()
    assert main(["simulate", str(trace), "--policy", "fcfs", name, str(trace)]) == 1
    assert f"{name} would write over {trace}" in capsys.readouterr().err
    assert trace.read_bytes() == before


def test_random_placement_is_for_its_protocol_alone(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(trace), "--policy", "fcfs", "--placement", "random"]) == 1
    assert "--placement random is for --protocol fgd" in capsys.readouterr().err


def test_pods_on_the_nodes_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pods, nodes = tmp_path / "pods.csv", tmp_path / "nodes.csv"
    pods.write_text(
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,creation_time,deletion_time,scheduled_time\n"
        "a,1000,1024,1,500,0,10,0\nb,1000,1024,1,500,1,11,1\nc,1000,1024,2,1000,2,12,2\n"
    )
    nodes.write_text("sn,cpu_milli,memory_mib,gpu,model\nn0,8000,8192,1,T4\n")
    assert main(["simulate", str(pods), "--policy", "fair_share", "--nodes", str(nodes)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("2 jobs")
    assert "1 job left out: the cluster has no room for it even when empty." in printed
    assert main(["simulate", str(pods), "--policy", "fcfs"]) == 1
    assert (
        "does not say how large the cluster was: name a CSV of nodes with --nodes" in capsys.readouterr().err
    )
    assert main(["simulate", str(pods), "--policy", "fcfs", "--processors", "100"]) == 1
    assert "ask for GPUs, and --processors has none: name a CSV of nodes" in capsys.readouterr().err
    nodes.write_text("sn,cpu_milli,memory_mib,gpu\nn0,8000,8192,1\nn0,1,1,1\n")
    assert main(["simulate", str(pods), "--policy", "fcfs", "--nodes", str(nodes)]) == 1
    assert "row 3" in (said := capsys.readouterr().err), said
    assert "'n0' is there twice" in said


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--jobs", "0"], "The first 0 jobs of "),
        (["--jobs", "-1"], "The first -1 jobs of "),
        (["--processors", "0"], "A cluster of 0 processors runs nothing"),
        (["--processors", "-4"], "A cluster of -4 processors runs nothing"),
        (
            ["--nodes", "nothing.csv"],
            "Nothing ran under fcfs: the cluster has no room for it even when empty.",
        ),
        (["--nodes", "nan.csv"], "row 2, gpu: 'nan' is not a finite number."),
        (["--nodes", "negative.csv"], "row 2, cpu_milli: '-8000' is negative."),
        (["--nodes", "short.csv"], "row 1: the column memory_mib is missing."),
    ],
)
def test_a_cluster_or_a_number_that_cannot_be(
    trace: Path, capsys: pytest.CaptureFixture[str], options: list[str], problem: str
) -> None:
    for name, text in (
        ("nothing", "sn,cpu_milli,memory_mib,gpu\nn0,0,0,0\n"),
        ("nan", "sn,cpu_milli,memory_mib,gpu\nn0,8000,8192,nan\n"),
        ("negative", "sn,cpu_milli,memory_mib,gpu\nn0,-8000,8192,1\n"),
        ("short", "sn,cpu_milli,gpu\nn0,8000,1\n"),
    ):
        (trace.parent / f"{name}.csv").write_text(text)
    given = [str(trace.parent / each) if each.endswith(".csv") else each for each in options]
    assert main(["simulate", str(trace), "--policy", "fcfs", *given]) == 1
    told = capsys.readouterr().err
    assert problem in told
    assert told.count("\n") == 1


def test_shuffled_rows_are_played_as_if_they_were_in_order(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", str(trace), "--policy", "fcfs"]) == 0
    in_order = capsys.readouterr().out
    head, *rows = trace.read_text().splitlines(keepends=True)
    shuffled = tmp_path / "shuffled.swf"
    shuffled.write_text(head + "".join(reversed(rows)))
    assert main(["simulate", str(shuffled), "--policy", "fcfs"]) == 0
    told = capsys.readouterr()
    assert told.out == in_order
    assert "submitted before the row above it; the jobs are sorted by submit time." in told.err


def test_either_policies_or_a_protocol(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], ["--policy", "quick"], ["--policy", "fcfs", "--protocol", "rlscheduler"]):
        with pytest.raises(SystemExit) as ended:
            main(["simulate", str(trace), *options])
        assert ended.value.code == 2
    assert "quick" in capsys.readouterr().err
