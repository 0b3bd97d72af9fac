"""Whole simulations of ours against AccaSim 1.1.3, from the file to the schedule, on the same jobs; and real
traces against the time that they may take.

The jobs are drawn from a fixed seed; ``AIOS_TRACES=<folder>`` adds lublin_256, and whole SDSC-SP2 and Alibaba
where they are there. Both simulators are told how many processors a job asks for and how long it takes.

AccaSim's EASYBackfilling hands its allocator an empty list of reserved nodes (`scheduler_class.py`), so that
its reservation keeps nobody out: whoever fits starts, in order of arrival. Our fair share does that for the
jobs of a single user, and there, as under fcfs, both have to come to the same waits. Our own EASY, which does
keep its promise, is held against the time of theirs alone.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from aios_lab.allocation import Node, Resources
from aios_lab.allocation.simulation import play, read_nodes, read_trace
from aios_lab.allocation.simulation.traces.lines import text_lines
from benchmarks.figure import Figure

RUNS = 3
JOBS = 2_000
PROCESSORS = 256
TARGET = 1.0
# Ours, theirs, and whether both should make the same schedule.
PAIRS = (("fcfs", "fcfs", True), ("fair_share", "easy", True), ("fcfs+easy", "easy", False))

SDSC, LUBLIN = "SDSC-SP2-1998-4.2-cln.swf", "lublin_256.swf"
PODS, MACHINES = "openb_pod_list_default.csv", "openb_node_list_gpu_node.csv"
# Seconds that a whole trace may take under a policy, on two slow cores.
LIMITS = ((SDSC, "fcfs+easy", 60.0), (PODS, "fair_share", 180.0), (PODS, "fcfs+easy", 180.0))

# AccaSim imports a name from `collections` that Python 3.10 moved; put back for its process alone.
PEER = """
import collections, collections.abc, contextlib, io, json, sys, time
collections.Mapping = collections.abc.Mapping
from accasim.base.allocator_class import FirstFit
from accasim.base.scheduler_class import EASYBackfilling, FirstInFirstOut
from accasim.base.simulator_class import Simulator
trace, system, policy, folder = sys.argv[1:]
begin = time.perf_counter()
dispatcher = {"fcfs": FirstInFirstOut, "easy": EASYBackfilling}[policy](FirstFit())
with contextlib.redirect_stdout(io.StringIO()):
    simulator = Simulator(trace, system, dispatcher, RESULTS_FOLDER_NAME=folder, scheduling_output=False,
                          statistics_output=False, LOG_LEVEL="ERROR")
    simulator.start_simulation()
seconds = time.perf_counter() - begin
waits = simulator.mapper.wtimes
print(json.dumps({"seconds": seconds, "wait": sum(waits) / len(waits)}))
"""


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        system = folder / "system.json"
        system.write_text(
            json.dumps({"groups": {"g0": {"core": PROCESSORS}}, "resources": {"g0": 1}}), encoding="utf-8"
        )
        pairs = [
            _figure(trace, system, mine, theirs, same)
            for trace in _traces(folder)
            for mine, theirs, same in PAIRS
        ]
    whole = [_whole(trace, policy, limit) for name, policy, limit in LIMITS if (trace := _given(name))]
    return pairs + whole


def _given(name: str) -> Path | None:
    """The file of this name in the folder of traces, plain or packed."""
    if not (folder := os.environ.get("AIOS_TRACES")):
        return None
    return next((path for path in (Path(folder, name), Path(folder, f"{name}.gz")) if path.is_file()), None)


def _whole(trace: Path, policy: str, limit: float) -> Figure:
    nodes = read_nodes(machines) if "openb" in trace.name and (machines := _given(MACHINES)) else ()
    seconds, wait = _ours(trace, policy, nodes)
    print(f"  {trace.name}, {policy}: {seconds:.1f} s, mean wait {wait:,.0f} s", flush=True)
    return Figure(f"simulate {trace.name}, {policy}", "the limit", "s", (seconds,), (limit,), TARGET)


def _traces(folder: Path) -> list[Path]:
    drawn = folder / f"{JOBS} jobs.swf"
    drawn.write_text("".join(_drawn(Random(0))), encoding="utf-8")
    if (given := _given(LUBLIN)) is None:
        return [drawn]
    lublin = folder / LUBLIN
    rows = (line.split() for line in text_lines(given) if line.strip() and not line.startswith(";"))
    # The requested time is unknown there; ours then takes the run time, and so shall theirs.
    lublin.write_text("".join(" ".join([*r[:8], r[3], *r[9:]]) + "\n" for r in rows), encoding="utf-8")
    return [drawn, lublin]


def _drawn(random: Random) -> list[str]:
    """Jobs as supercomputers have them: powers of two, log-uniform in time, more than there is room for."""
    lines, now = [], 0
    for number in range(1, JOBS + 1):
        now += int(random.expovariate(1 / 900)) + 1
        processors = 2 ** random.randrange(8)
        run = int(math.exp(random.uniform(math.log(10), math.log(60_000)))) + 1
        fields = [number, now, -1, run, processors, -1, -1, processors, run, -1, 1, 1, 1, -1, 1, -1, -1, -1]
        lines.append(" ".join(map(str, fields)) + "\n")
    return lines


def _figure(trace: Path, system: Path, mine: str, theirs: str, same: bool) -> Figure:
    # A trace that was given takes AccaSim a minute and more.
    runs = 1 if trace.name == LUBLIN else RUNS
    pairs = [(_ours(trace, mine), _peer(trace, system, theirs)) for _ in range(runs)]
    for (_, wait), (_, other) in pairs:
        if same and not math.isclose(wait, other, rel_tol=1e-9):
            raise AssertionError(f"{mine} on {trace.name}: mean wait {wait} s by ours, {other} s by AccaSim.")
    waits = f"mean wait {pairs[0][0][1]:,.0f} s"
    print(f"  {trace.stem}, {mine}: {waits}; AccaSim's {theirs}: {pairs[0][1][1]:,.0f} s", flush=True)
    return Figure(
        name=f"simulate {trace.stem}, {mine}",
        peer=f"AccaSim {theirs}" + ("" if same else " (no reservation)"),
        unit="s",
        ours=tuple(ours for (ours, _), _ in pairs),
        peers=tuple(peer for _, (peer, _) in pairs),
        target=TARGET,
    )


def _ours(trace: Path, policy: str, nodes: Sequence[Node] = ()) -> tuple[float, float]:
    """Seconds, and the mean wait."""
    begin = time.perf_counter()
    jobs = read_trace(trace)
    one = Node("cluster", Resources(cpu=1000 * (jobs.processors or PROCESSORS)))
    finished = play(jobs, nodes or [one], policy).finished
    seconds = time.perf_counter() - begin
    return seconds, sum(one.start - one.submit for one in finished) / len(finished)


def _peer(trace: Path, system: Path, policy: str) -> tuple[float, float]:
    command = [sys.executable, "-W", "ignore", "-c", PEER, str(trace), str(system), policy]
    done = subprocess.run(
        [*command, str(trace.parent / "results")], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"AccaSim does not run: {done.stderr.strip().splitlines()[-1]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["seconds"], answer["wait"]
