"""Readers: what they make of good files, and what they say of bad ones, row by row."""

from __future__ import annotations

import gzip
import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_lab.allocation import Resources
from aios_lab.allocation.simulation import Job, Trace, TraceError, read_trace
from aios_lab.allocation.simulation.traces.alibaba import read_alibaba
from aios_lab.allocation.simulation.traces.philly import read_philly
from aios_lab.allocation.simulation.traces.swf import read_swf

SWF = """\
; Version: 2.2
; Note: about MaxProcs: nothing
; UnixStartTime: 893466664
; MaxNodes: 64 (thin ones)
; MaxProcs: 128

   11   100      5  28826    1  27758.5  -1    4  28800    -1  1 153  75 18180  3 -1 -1 -1
   12   160     -1     -1   -1     -1    -1   38     -1    -1  5  -1  -1    -1 -1 -1 -1 -1
"""
PODS = """\
name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time
pod-0,12000,16384,1,460,,LS,Running,0,500,20
pod-1,6000,12288,8,1000,V100M16|V100M32,BE,Running,30,900,30
pod-2,3000,1024,0,0,,BE,Pending,40,100,
pod-3,3000,1024,0,0,,BE,Running,50,,60
"""
PHILLY = """\
timestamp,duration,num_gpus,gpu_time,cluster
2017-10-09 07:01:55,66.0,1,66.0,11cb48
2017-10-09 07:01:56,2951.0,8,2951.0,6214e9
2017-10-09T09:01:56.500+02:00,10,2,20,6214e9
"""


def read(folder: Path, text: str, name: str = "jobs.txt", format: str | None = None) -> Trace:
    path = folder / name
    path.write_text(text)
    return read_trace(path, format)


def test_a_standard_workload_format_file(tmp_path: Path) -> None:
    trace = read(tmp_path, SWF)
    processor = Resources(cpu=1000)
    assert list(trace) == [
        Job(11, 100, 28826, processor, 4, 28800, "153", "75", "3"),
        Job(12, 160, None, processor, 38, None),
    ]
    assert (trace.format, trace.processors, trace.began) == ("swf", 128, 893466664)
    assert trace.header["MaxNodes"] == "64 (thin ones)"
    assert trace.notes == ()
    assert trace[0].need == Resources(cpu=4000)
    assert [job.estimate for job in trace] == [28800, None]


@pytest.mark.parametrize(
    ("header", "processors"),
    [
        ("; MaxNodes: 64", 64),
        (";MaxProcs: 32\n; MaxNodes: 64\n; MaxProcs: 7", 32),
        ("; MaxProcs: -1\n; MaxNodes: 64", 64),
        ("; MaxProcs: unknown", None),
        ("; MaxProcs: 0", None),
        (";", None),
    ],
)
def test_processors_in_the_header(tmp_path: Path, header: str, processors: int | None) -> None:
    assert read(tmp_path, header + "\n" + SWF.splitlines()[-1]).processors == processors


def test_pods(tmp_path: Path) -> None:
    trace = read(tmp_path, PODS)
    assert list(trace) == [
        Job(0, 0, 480, Resources(12000, 16384, 460), queue="LS"),
        Job(1, 30, 870, Resources(6000, 12288, 8000), queue="BE", gpu_models=("V100M16", "V100M32")),
        Job(2, 40, 60, Resources(3000, 1024), queue="BE"),
        Job(3, 50, None, Resources(3000, 1024), queue="BE"),
    ]
    assert (trace.format, trace.processors, trace.began) == ("alibaba", None, None)
    assert trace.notes == (
        "Row 4: the pod was never scheduled; it is taken to run as long as it was there, "
        "creation to deletion.",
    )


def test_gpu_jobs(tmp_path: Path) -> None:
    trace = read(tmp_path, PHILLY)
    gpu = Resources(gpu=1000)
    assert list(trace) == [
        Job(0, 0, 66, gpu, 1, group="11cb48"),
        Job(1, 1, 2951, gpu, 8, group="6214e9"),
        Job(2, 1.5, 10, gpu, 2, group="6214e9"),
    ]
    assert (trace.format, trace.began) == ("philly", 1507532515)


def test_gpu_jobs_by_the_second_and_by_user(tmp_path: Path) -> None:
    text = '\ufeffNum_GPUs, "timestamp", duration, user\n2, 0, 7, ada\n0, 5, 7, bob\n1, 9.5, 0, "eve, 3rd"\n'
    trace = read(tmp_path, text)
    assert [(job.id, job.submit, job.run, job.count, job.user) for job in trace] == [
        (0, 0, 7, 2, "ada"),
        (2, 9.5, 0, 1, "eve, 3rd"),
    ]
    assert trace.began is None
    assert trace.notes == ("Row 3: the job asks for no GPU and is left out.",)


@pytest.mark.parametrize("text", [SWF, PODS, PHILLY])
def test_gzip_is_seen_whatever_the_name(tmp_path: Path, text: str) -> None:
    plain = read(tmp_path, text)
    packed = tmp_path / "packed.dat"
    packed.write_bytes(gzip.compress(text.encode()))
    trace = read_trace(packed)
    assert list(trace) == list(plain)
    assert trace.format == plain.format


def test_windows_and_strange_bytes(tmp_path: Path) -> None:
    path = tmp_path / "jobs.swf"
    path.write_bytes(b"; Installation: Universit\xe4t\r\n" + SWF.replace("\n", "\r\n").encode())
    assert len(read_trace(path)) == 2


line = SWF.splitlines()[-2]


def test_shuffled_times_are_sorted_and_noted(tmp_path: Path) -> None:
    times = [30, 10, 10, 20, 5]
    rows = [line.replace("11   100", f"{number}   {time}") for number, time in enumerate(times)]
    trace = read(tmp_path, "\n".join(rows))
    assert [(job.submit, job.id) for job in trace] == [(5, 4), (10, 1), (10, 2), (20, 3), (30, 0)]
    assert trace.notes == (
        "Row 2 and 1 more: submitted before the row above it; the jobs are sorted by submit time.",
    )


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5), st.sampled_from("abc")), min_size=1))
def test_sorting_keeps_jobs_whole(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, str]]
) -> None:
    text = "timestamp,duration,num_gpus,user\n" + "".join(
        f"{submit},{gpus * 10},{gpus},{user}\n" for submit, gpus, user in rows
    )
    trace = read(tmp_path_factory.mktemp("trace"), text)
    expected = sorted(enumerate(rows), key=lambda item: item[1][0])
    assert [(job.id, (job.submit, job.count, job.user)) for job in trace] == expected
    assert all(job.run == job.count * 10 for job in trace)


def test_jobs_without_processors_are_left_out_and_noted(tmp_path: Path) -> None:
    nothing = line.replace("    1  27758.5  -1    4 ", "   -1  27758.5  -1    0 ")
    trace = read(tmp_path, "\n".join([line, nothing, nothing]))
    assert len(trace) == 1
    assert trace.notes == ("Row 2 and 1 more: the job names no processors and is left out.",)


def changed(text: str, row: int, old: str, new: str) -> str:
    """The text with one row (from 1) changed."""
    lines = text.splitlines()
    assert old in lines[row - 1]
    lines[row - 1] = lines[row - 1].replace(old, new, 1)
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "row", "field", "problem"),
    [
        ("", None, None, "the file is empty"),
        ("\n \n\n", None, None, "the file is empty"),
        ("; MaxProcs: 4\n", None, None, "it holds no job"),
        (PODS.splitlines()[0], None, None, "it holds no job"),
        ("Dear diary,\n", 1, None, "this is no trace that is known"),
        ("\n\na,b,c\n1,2,3\n", 3, None, "this is no trace that is known"),
        ("\x00\x01\x02", 1, None, "this is no trace that is known"),
        ("; " + "x" * 70_000, 1, None, "characters or more"),
        # Standard Workload Format
        (changed(SWF, 7, "-1 -1 -1", "-1 -1"), 7, None, "17 fields, and the Standard Workload Format has 18"),
        (changed(SWF, 8, "-1 -1 -1", "-1 -1 -1 -1"), 8, None, "19 fields"),
        (SWF + "13 170 -1 7", 9, None, "4 fields"),
        (changed(SWF, 7, " 100 ", " soon "), 7, "submit time", "'soon' is not a number"),
        (changed(SWF, 7, "28826", "nan"), 7, "run time", "'nan' is not a finite number"),
        (changed(SWF, 7, "28826", "inf"), 7, "run time", "'inf' is not a finite number"),
        (changed(SWF, 7, "28826", "-5"), 7, "run time", "-5 is negative, and not the -1 that says unknown"),
        (changed(SWF, 7, "28826", "1e30"), 7, "run time", "1e30 is too large"),
        (changed(SWF, 7, "28800", "-2"), 7, "requested time", "-2 is negative"),
        (changed(SWF, 7, " 100 ", " -1 "), 7, "submit time", "-1 is negative."),
        (changed(SWF, 7, "    4 ", "  4.5 "), 7, "requested processors", "4.5 is not a whole number"),
        (changed(SWF, 7, "    4 ", "   -3 "), 7, "requested processors", "-3 is negative"),
        (changed(SWF, 8, "  12 ", " x12 "), 8, "job number", "'x12' is not a number"),
        (changed(SWF, 7, "18180", "a.out"), 7, "executable", "'a.out' is not a number"),
        # pods
        (PODS.replace("num_gpu,", "gpus,"), 1, None, "the column num_gpu is missing"),
        ("cpu_milli,gpu_milli\n1,2\n", 1, None, "the columns memory_mib, num_gpu, creation_time, deletion_"),
        (PODS.replace("qos", "num_gpu"), 1, None, "the column num_gpu stands there twice"),
        (changed(PODS, 3, ",900", ",900,1"), 3, None, "12 fields, and the first row names 11"),
        (changed(PODS, 3, "pod-1,", ""), 3, None, "10 fields, and the first row names 11"),
        (changed(PODS, 3, "6000", "many"), 3, "cpu_milli", "'many' is not a number"),
        (changed(PODS, 3, "6000", ""), 3, "cpu_milli", "an empty field is not a number"),
        (changed(PODS, 3, "12288", "-1"), 3, "memory_mib", "'-1' is negative"),
        (changed(PODS, 3, ",8,", ",2.5,"), 3, "num_gpu", "'2.5' is not a whole number"),
        (changed(PODS, 2, ",460,", ",1460,"), 2, "gpu_milli", "1460 is more than the 1000 of a whole GPU"),
        (changed(PODS, 3, ",1000,", ",500,"), 3, "gpu_milli", "500 of each of 8 GPUs"),
        (changed(PODS, 3, ",30,", ",NaN,"), 3, "creation_time", "'NaN' is not a finite number"),
        (changed(PODS, 3, "900,30", "900,20"), 3, "scheduled_time", "20 is before the creation_time, 30"),
        (changed(PODS, 3, "900,30", "29,30"), 3, "deletion_time", "29 is before the pod began, 30"),
        (changed(PODS, 3, "900,30", "-9,30"), 3, "deletion_time", "'-9' is negative"),
        (changed(PODS, 3, "900", "9" * 400), 3, "deletion_time", "is not a finite number"),
        (changed(PODS, 3, "900", "9" * 40), 3, "deletion_time", "is too large"),
        # GPU jobs
        (PHILLY.replace("duration", "length"), 1, None, "the column duration is missing"),
        (changed(PHILLY, 3, "8,", ""), 3, None, "4 fields, and the first row names 5"),
        (changed(PHILLY, 3, "8,", "eight,"), 3, "num_gpus", "'eight' is not a number"),
        (changed(PHILLY, 3, "2951.0", "-2951.0"), 3, "duration", "'-2951.0' is negative"),
        (
            changed(PHILLY, 3, "2017-10-09 ", "2017-13-09 "),
            3,
            "timestamp",
            "is not a time such as 2017-10-09",
        ),
        (changed(PHILLY, 3, "2017-10-09 07:01:56", "77"), 3, "timestamp", "'77' is not a time such as"),
        (changed(PHILLY, 2, "2017-10-09 07:01:55", "77"), 3, "timestamp", "is not a number"),
        (changed(PHILLY, 2, "2017-10-09 07:01:55", "-7"), 2, "timestamp", "'-7' is negative"),
        (PHILLY + '"' + "x\n" * 70_000, 5, None, "it is no CSV: "),
        (changed(PHILLY, 3, "6214e9", '"6214e9'), 3, None, "it is no CSV: "),
    ],
)
def test_what_is_wrong_and_where(
    tmp_path: Path, text: str, row: int | None, field: str | None, problem: str
) -> None:
    with pytest.raises(TraceError) as caught:
        read(tmp_path, text, "bad.txt")
    error = caught.value
    assert (error.row, error.field) == (row, field)
    assert problem in str(error)
    place = [str(tmp_path / "bad.txt"), *([f"row {row}"] if row else []), *([field] if field else [])]
    assert str(error).startswith(", ".join(place) + ": ")
    assert len(str(error)) < 500
    assert "\n" not in str(error)


@pytest.mark.parametrize("cut", [12, -9])
def test_a_gzip_file_that_is_cut_short(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "jobs.swf.gz"
    path.write_bytes(gzip.compress(SWF.encode())[:cut])
    with pytest.raises(TraceError, match="the gzip file is cut short or damaged"):
        read_trace(path)


def test_a_gzip_file_that_is_damaged(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(SWF.encode()))
    packed[-6] ^= 255  # in the checksum
    path = tmp_path / "jobs.swf.gz"
    path.write_bytes(packed)
    with pytest.raises(TraceError, match="the gzip file is cut short or damaged"):
        read_trace(path)


def test_a_named_format_is_taken_at_its_word(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="the columns cpu_milli, memory_mib, num_gpu"):
        read(tmp_path, PHILLY, format="alibaba")
    with pytest.raises(ValueError, match="no trace format 'pbs'; there are swf, alibaba, philly"):
        read(tmp_path, SWF, format="pbs")
    with pytest.raises(FileNotFoundError):
        read_trace(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"submit": -1.0}, "Job 7: submit is -1.0"),
        ({"run": float("nan")}, "Job 7: run is nan"),
        ({"requested": float("inf")}, "Job 7: requested is inf"),
        ({"count": 0}, "Job 7: count is 0"),
        ({"unit": Resources(gpu=-1)}, "Job 7: gpu is -1"),
    ],
)
def test_jobs_that_cannot_be(change: dict[str, object], problem: str) -> None:
    options: dict[str, object] = {"id": 7, "submit": 0.0, "run": 1.0, "unit": Resources(cpu=1000)} | change
    with pytest.raises(ValueError, match=problem):
        Job(**options)  # type: ignore[arg-type]


def endless() -> Iterator[str]:
    """More rows than anybody has room for."""
    line = SWF.splitlines()[-2]
    return (line.replace("11   100", f"{n}   {n}") for n in itertools.count())


def test_too_many_rows_are_refused_before_they_fill_the_memory() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(
            TraceError, match="row 20001: the trace has more than 20,000 jobs: take its first"
        ):
            read_swf(endless(), "endless.swf", most=20_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 * 20_000


def test_the_first_jobs_of_an_endless_trace_are_read_without_the_rest() -> None:
    assert [job.id for job in read_swf(endless(), "endless.swf", first=3)] == [0, 1, 2]
    assert len(read_alibaba(PODS.splitlines(keepends=True), "pods.csv", first=2)) == 2
    assert len(read_philly(PHILLY.splitlines(keepends=True), "jobs.csv", first=1)) == 1
    with pytest.raises(ValueError, match="The first 0 jobs of endless"):
        read_swf(endless(), "endless.swf", first=0)


def test_many_rows_take_little_memory(tmp_path: Path) -> None:
    """A reader holds less than a hundred bytes a job, so that ten million fit into a gigabyte."""
    path, count = tmp_path / "many.swf", 50_000
    path.write_text("\n".join(line.replace("11   100", f"{n}   {n}") for n in range(count)))
    tracemalloc.start()
    try:
        trace = read_trace(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(trace) == count
    assert peak < 100 * count
