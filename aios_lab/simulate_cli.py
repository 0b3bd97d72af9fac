"""``jupyter aios simulate``: what would have happened to the jobs of a trace, or of a ledger."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from aios_lab.allocation import POLICIES, Node, Resources
from aios_lab.allocation.placement import DEFAULT_PLACEMENT, RULES
from aios_lab.allocation.simulation import (
    ORDERS,
    Comparison,
    Filling,
    SlowdownTable,
    Trace,
    compare,
    evaluate,
    fill,
    prepare,
    read_nodes,
    read_trace,
)
from aios_lab.allocation.simulation.filling import RANDOM, SEEDS
from aios_lab.allocation.simulation.protocol import LENGTH, STARTS
from aios_lab.allocation.simulation.traces import FORMATS
from aios_lab.broker.history import is_ledger, read_history

NODES = "name a CSV of nodes with --nodes, with the columns sn, cpu_milli, memory_mib and gpu"

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
        choices=["rlscheduler", "fgd"],
        help="rlscheduler: average bounded slowdown of ten sequences of 1,024 jobs (Zhang et al., SC 2020); "
        "fgd: how many GPUs can be given away when jobs come and none leaves (Weng et al., USENIX ATC 2023)",
    )
    parser.add_argument(
        "--placement",
        action="append",
        type=_placement,
        metavar="NAME",
        help=f"on which nodes jobs go; several for a comparison: {', '.join(RULES)}, and with --protocol fgd "
        f"also {RANDOM} ({DEFAULT_PLACEMENT}; with --protocol fgd all)",
    )
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, metavar="N", help=f"with --protocol fgd: runs ({SEEDS})"
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
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="with --policy: the first N jobs of the file only"
    )
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
        _keep_inputs(options)
        if is_ledger(options.trace):
            table, notes = _ledger(options)
        else:
            table, notes = _trace(options)
        if options.json is not None:
            text = json.dumps(table.to_json() | {"notes": notes}, indent=2, allow_nan=False)
            options.json.write_text(text + "\n", encoding="utf-8")
        if options.plot is not None:
            if not isinstance(table, Comparison):
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
    for written in (options.json, options.plot):
        if written is not None and sys.stderr.isatty():
            print(f"Wrote {written}.", file=sys.stderr)
    return 0


def _keep_inputs(options: argparse.Namespace) -> None:
    """Nothing that is read, or written already, is written over."""
    inputs = [path.resolve() for path in (options.trace, options.nodes) if path is not None]
    for name in ("plot", "json"):
        path = getattr(options, name)
        if path is not None and path.resolve() in inputs:
            raise ValueError(f"--{name} would write over {path}, which is used already: name another file.")
        inputs += [] if path is None else [path.resolve()]


Table = Comparison | SlowdownTable | Filling
Result = tuple[Table, tuple[str, ...]]


def _placement(text: str) -> str:
    if text not in (RANDOM, *RULES):
        raise argparse.ArgumentTypeError(f"there is no {text!r}; there are: {', '.join(RULES)}.")
    return text


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
        placements=_placements(options),
        elastic=True,
        past=history.past,
    )
    return compared, history.notes


def _trace(options: argparse.Namespace) -> Result:
    if options.since is not None:
        raise ValueError(f"--since is for ledgers, and {options.trace} is none: name a number of --jobs.")
    if options.protocol and options.jobs is not None:
        raise ValueError("--jobs is for a --policy: the protocols say how many jobs they take.")
    trace = read_trace(options.trace, options.format, options.jobs)
    return _table(trace, options), trace.notes


def _table(trace: Trace, options: argparse.Namespace) -> Table:
    if options.protocol == "fgd":
        return _filling(trace, options)
    return _protocol(trace, options) if options.protocol else _policies(trace, options)


def _filling(trace: Trace, options: argparse.Namespace) -> Filling:
    if options.nodes is None:
        raise ValueError("The fgd protocol fills nodes with GPUs: name a file of them with --nodes.")
    if options.seeds < 1:
        raise ValueError(f"--seeds is {options.seeds}: give 1 or more.")

    def tell(rule: str, seed: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{rule}: {seed + 1} of {options.seeds} ", end="\r", file=sys.stderr)

    rules = options.placement or [RANDOM, *RULES]
    return fill(trace, read_nodes(options.nodes), rules, options.seeds, tell)


def _protocol(trace: Trace, options: argparse.Namespace) -> SlowdownTable:
    return evaluate(
        prepare(trace, options.processors),
        options.order,
        defect=options.defect,
        starts=options.start,
        length=options.length,
    )


def _policies(trace: Trace, options: argparse.Namespace) -> Comparison:
    nodes, tell = _nodes(trace, options), _teller(len(trace))
    return compare(trace, nodes, options.policy, tell, placements=_placements(options))


def _teller(jobs: int) -> Callable[[str, int], None] | None:
    """Shows a person how far it is."""
    if not sys.stderr.isatty():
        return None

    def tell(policy: str, finished: int) -> None:
        if finished == jobs or finished % max(1, jobs // 100) == 0:
            print(f"\r{policy}: {finished / jobs:.0%} ", end="\r", file=sys.stderr)

    return tell


def _placements(options: argparse.Namespace) -> list[str]:
    if RANDOM in (options.placement or ()):
        raise ValueError(f"--placement {RANDOM} is for --protocol fgd; with a --policy: {', '.join(RULES)}.")
    return options.placement or [DEFAULT_PLACEMENT]


def _nodes(trace: Trace, options: argparse.Namespace) -> tuple[Node, ...]:
    if options.nodes is not None:
        return read_nodes(options.nodes)
    if options.processors is not None and options.processors < 1:
        raise ValueError(f"A cluster of {options.processors} processors runs nothing: give 1 or more.")
    processors = options.processors or trace.processors
    if processors is None:
        raise ValueError(f"{trace.source} does not say how large the cluster was: {_how_large(trace)}.")
    if _asks_for_gpus(trace):
        raise ValueError(f"The jobs of {trace.source} ask for GPUs, and --processors has none: {NODES}.")
    return (Node("cluster", Resources(cpu=1000 * processors)),)


def _asks_for_gpus(trace: Trace) -> bool:
    return any(unit.gpu for unit, _ in trace.shapes)


def _how_large(trace: Trace) -> str:
    if _asks_for_gpus(trace):
        return NODES
    return "name a file with --nodes, or give the number of its processors with --processors"
