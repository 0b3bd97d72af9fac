"""``jupyter aios simulate``: what would have happened to the jobs of a trace, or of a ledger."""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from aios_lab.allocation import POLICIES, Node, Resources
from aios_lab.allocation.simulation import (
    ORDERS,
    Comparison,
    SlowdownTable,
    Trace,
    compare,
    evaluate,
    prepare,
    read_nodes,
    read_trace,
)
from aios_lab.allocation.simulation.protocol import LENGTH, STARTS
from aios_lab.allocation.simulation.traces import FORMATS
from aios_lab.broker.history import is_ledger, read_history

_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "trace",
        type=Path,
        help="a file of jobs: SWF, or CSV of pods or GPU jobs, also .gz; or a ledger, to play again what it "
        "recorded",
    )
    parser.add_argument("--format", choices=FORMATS, help="the trace's format (recognised by itself)")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--policy",
        action="append",
        choices=[*POLICIES],
        metavar="NAME",
        help=f"play the whole trace under this policy; several for a comparison: {', '.join(POLICIES)}",
    )
    how.add_argument(
        "--protocol",
        choices=["rlscheduler"],
        help="rlscheduler: average bounded slowdown of ten sequences of 1,024 jobs (Zhang et al., SC 2020)",
    )
    parser.add_argument(
        "--nodes",
        type=Path,
        metavar="FILE",
        help="CSV of the cluster's nodes: sn, cpu_milli, memory_mib, gpu",
    )
    parser.add_argument(
        "--since",
        type=_span,
        metavar="SPAN",
        help="of a ledger, only the last 90m, 12h, 7d or 4w (all that it has)",
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="with --policy: the first N jobs only")
    parser.add_argument("--order", nargs="+", choices=ORDERS, default=[*ORDERS], help="these orders (all)")
    parser.add_argument(
        "--defect", action="store_true", help="also WFP3 and UNICEP with the mistake of the published table"
    )
    parser.add_argument(
        "--processors", type=int, metavar="N", help="the cluster's size (what the trace's header says)"
    )
    parser.add_argument(
        "--start",
        type=int,
        nargs="+",
        default=[*STARTS],
        metavar="INDEX",
        help="the jobs with which sequences begin, counted from 0 (the ten of the published table)",
    )
    parser.add_argument(
        "--length", type=int, default=LENGTH, metavar="N", help=f"jobs of a sequence ({LENGTH})"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="with --policy: write a page of plots to this file"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file as well")


def simulate(options: argparse.Namespace) -> int:
    """Prints the table; returns the exit code: 0, or 1 when the trace or a file cannot be used."""
    try:
        if is_ledger(options.trace):
            table, notes = _ledger(options)
        else:
            table, notes = _trace(options)
        if options.json is not None:
            text = json.dumps(table.to_json() | {"notes": notes}, indent=2, allow_nan=False)
            options.json.write_text(text + "\n", encoding="utf-8")
        if options.plot is not None:
            if isinstance(table, SlowdownTable):
                raise ValueError("--plot draws policies, and the protocol's table has none: name a --policy.")
            options.plot.write_text(table.to_html(options.trace.name), encoding="utf-8")
    except OSError as error:
        print(f"{error.filename or options.trace}: {error.strerror}.", file=sys.stderr)
        return 1
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    for note in notes:
        print(note, file=sys.stderr)
    print(table.to_table())
    return 0


Result = tuple[Comparison | SlowdownTable, tuple[str, ...]]


def _span(text: str) -> float:
    """Seconds in '90m', '12h', '7d' or '4w'."""
    match = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if match is None or not int(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90m, 12h, 7d or 4w.")
    return int(match[1]) * _SECONDS[match[2]]


def _ledger(options: argparse.Namespace) -> Result:
    """What was recorded, and the same uses under other policies."""
    for name in ("protocol", "nodes", "jobs", "processors", "format"):
        if getattr(options, name) is not None:
            raise ValueError(f"{options.trace} is a ledger, which --{name} is not for: it takes --policy.")
    now = time.time()
    history = read_history(options.trace, None if options.since is None else now - options.since, now)
    compared = compare(
        history.jobs,
        history.nodes,
        options.policy,
        _teller(len(history.jobs)),
        principals=history.principals,
        elastic=True,
        past=history.past,
    )
    return compared, history.notes


def _trace(options: argparse.Namespace) -> Result:
    if options.since is not None:
        raise ValueError(f"--since is for ledgers, and {options.trace} is none: name a number of --jobs.")
    trace = read_trace(options.trace, options.format)
    return _protocol(trace, options) if options.protocol else _policies(trace, options), trace.notes


def _protocol(trace: Trace, options: argparse.Namespace) -> SlowdownTable:
    return evaluate(
        prepare(trace, options.processors),
        options.order,
        defect=options.defect,
        starts=options.start,
        length=options.length,
    )


def _policies(trace: Trace, options: argparse.Namespace) -> Comparison:
    jobs = [*itertools.islice(trace, options.jobs)]
    return compare(jobs, _nodes(trace, options), options.policy, _teller(len(jobs)))


def _teller(jobs: int) -> Callable[[str, int], None] | None:
    """Shows a person how far it is."""
    if not sys.stderr.isatty():
        return None

    def tell(policy: str, finished: int) -> None:
        if finished == jobs or finished % max(1, jobs // 100) == 0:
            print(f"\r{policy}: {finished / jobs:.0%} ", end="\r", file=sys.stderr)

    return tell


def _nodes(trace: Trace, options: argparse.Namespace) -> tuple[Node, ...]:
    if options.nodes is not None:
        return read_nodes(options.nodes)
    processors = options.processors or trace.processors
    if processors is None:
        raise ValueError(
            f"{trace.source} does not say how large the cluster was: name a file with --nodes, or give the "
            "number of its processors with --processors."
        )
    return (Node("cluster", Resources(cpu=1000 * processors)),)
