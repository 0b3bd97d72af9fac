"""The command lines of %aios: what they take, their help, and errors that never end the kernel."""

from __future__ import annotations

import argparse
import ast
import shlex
from collections.abc import Sequence
from typing import Any, NoReturn

from IPython.core.error import UsageError

from aios_lab.notebook.errors import did_you_mean

ABOUT = """%aios: my slice of the machine, and what runs on it.

usage: %aios [command] [options]

  %aios                             my slice, who else holds what, why I wait
  %aios request --workers 2 …       ask for another size; says what I get
  %aios release                     give all workers back
  %aios why                         why I have less than I asked for, and when I get more
  %aios forecast                    when I get what I wait for
  %aios forecast --gpus 1 …         and if I asked for this instead; asks for nothing
  %aios train FUNCTION …            train a function that exists
  %%aios train …                    train the function that the cell defines, or with --script the cell itself
  %aios attach [RUN]                watch a run that goes on, by its id or name; the newest when left out
  %aios models [list]               registered models
  %aios models versions NAME        the versions of one
  %aios compress NAME …             a smaller version by low-rank factors

%aios COMMAND --help tells the options of a command."""


class HelpShown(Exception):
    """The help was printed: there is nothing more to do."""


class Parser(argparse.ArgumentParser):
    """An argument parser for a notebook: errors are UsageErrors, and nothing exits."""

    _words: Sequence[str] = ()

    def __init__(self, command: str, about: str) -> None:
        super().__init__(prog=f"%aios {command}", description=about, allow_abbrev=False)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Raises UsageError. Unknown options get a hint at what was meant."""
        self._words = list(args or ())
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        hint = self._hint() if message.startswith("unrecognized arguments: -") else ""
        raise UsageError(f"{self.prog}: {message}.{hint}\n{self.format_usage().rstrip()}")

    def _hint(self) -> str:
        """About the first option that is none of ours."""
        known = self._option_string_actions
        for index, word in enumerate(self._words):
            name, equals, value = word.partition("=")
            if not name.startswith("--") or name in known:
                continue
            if near := did_you_mean(name, known):
                return near
            if "--set" not in known:
                return ""
            after = self._words[index + 1 : index + 2]
            given = value if equals else after[0] if after and not after[0].startswith("-") else "…"
            return f" Arguments of the function are given with --set {name[2:].replace('-', '_')}={given}"
        return ""

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise HelpShown


def split(line: str) -> list[str]:
    """The words of a line as a shell sees them. Raises UsageError for a quotation that does not end."""
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"%aios: {str(error).lower()}: {line}") from None


def setting(text: str) -> tuple[str, Any]:
    """``key=value``; the value is a Python literal, or else the text itself."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=value")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def _request() -> Parser:
    return _claim(Parser("request", "Ask for another size of my slice. What is left out stays as it is."))


def _forecast() -> Parser:
    about = (
        "When my slice gets what it waits for; with options, what asking for that would bring. Nothing is "
        "asked for. What is left out stays as it is."
    )
    return _claim(Parser("forecast", about))


def _claim(parser: Parser) -> Parser:
    """The options of a request."""
    parser.add_argument("--workers", type=int, metavar="N", help="at most so many workers")
    parser.add_argument("--memory", metavar="SIZE", help="memory of each worker: 2GB, 512MiB")
    parser.add_argument("--gpus", type=float, metavar="N", help="accelerators of each worker")
    parser.add_argument("--cpus", type=float, metavar="N", help="CPU threads of each worker")
    parser.add_argument(
        "--priority", choices=("low", "normal", "high"), help="before or after others who wait"
    )
    parser.add_argument("--min-workers", type=int, metavar="N", help="start only with so many workers")
    parser.add_argument("--project", metavar="NAME", help="whose quota it counts against")
    parser.add_argument(
        "--duration", type=float, metavar="SECONDS", help="how long it will be used, as a guess"
    )
    return parser


def _train() -> Parser:
    parser = Parser(
        "train",
        "Train on the workers of my slice: the function that the cell defines (the last one), or a script. "
        "The run is bound to `run` and `_run`.",
    )
    parser.add_argument(
        "target", nargs="?", metavar="FUNCTION", help="a function that exists (%%aios train only)"
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="ranks, one a worker; all there are when left out"
    )
    _strategy(parser)
    _keeping(parser)
    parser.add_argument("--function", metavar="NAME", help="which function of the cell")
    parser.add_argument(
        "--script",
        nargs="?",
        const="",
        metavar="PATH",
        help="run a script file, or without PATH the cell's text",
    )
    parser.add_argument(
        "--arg", action="append", default=[], metavar="TEXT", help="an argument, may be repeated"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=setting,
        metavar="NAME=VALUE",
        help="an option of the function",
    )
    parser.add_argument("--name", help="what the run is called")
    parser.add_argument(
        "--detach",
        action="store_true",
        help="let it go on by itself, also without this kernel or the server; see %%aios attach",
    )
    return parser


def _attach() -> Parser:
    parser = Parser(
        "attach",
        "Watch a run with its history, such as one that was detached from another kernel. It is bound to "
        "`run` and `_run`. An interrupt stops it.",
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="its id or name; the newest that goes on")
    return parser


def _strategy(parser: Parser) -> None:
    """The options of how ranks work together; what they may be is checked where they are known."""
    parser.add_argument(
        "--strategy", default="ddp", metavar="NAME", help="how ranks work together: ddp or fsdp (ddp)"
    )
    for name, values, what in (
        ("--precision", "BITS", "what the model computes in: fp32, bf16 or fp16 (fp32)"),
        ("--gradients", "BITS", "what ddp sends gradients as: fp32, bf16 or fp16 (fp32)"),
    ):
        parser.add_argument(name, metavar=values, default=argparse.SUPPRESS, help=what)
    parser.add_argument(
        "--accumulate",
        type=int,
        metavar="N",
        default=argparse.SUPPRESS,
        help="take each rank's part of a batch in N pieces (1)",
    )
    for name, what in (
        ("--checkpoint-activations", "compute activations again in the backward pass, which saves memory"),
        ("--compile", "torch.compile the model"),
        ("--cpu-offload", "fsdp: keep parameters and optimizer state in the host's memory"),
    ):
        parser.add_argument(name, action="store_true", default=argparse.SUPPRESS, help=what)


def _keeping(parser: Parser) -> None:
    """How a run is kept and goes on; what is left out stays out, as with those of the strategy."""
    for name, what in (
        ("--checkpoint-every", "save each so many global batches (every 30 seconds)"),
        ("--checkpoint-keep", "how many checkpoints are kept (3)"),
        ("--min-workers", "with fewer the run waits (1)"),
    ):
        parser.add_argument(name, type=int, metavar="N", default=argparse.SUPPRESS, help=what)
    parser.add_argument(
        "--batch-growth",
        metavar="RULE",
        default=argparse.SUPPRESS,
        help="let the global batch follow the workers, and the learning rate by linear, sqrt or adascale",
    )
    parser.add_argument(
        "--resume",
        metavar="RUN",
        default=argparse.SUPPRESS,
        help="begin with the newest checkpoint of this run, or with this checkpoint",
    )


def _models() -> Parser:
    parser = Parser("models", "Registered models and their versions.")
    parser.add_argument("what", nargs="?", choices=("list", "versions"), default="list")
    parser.add_argument("model", nargs="?", metavar="NAME", help="whose versions")
    return parser


def _compress() -> Parser:
    parser = Parser("compress", "Make a smaller version of a model by low-rank factors, and measure both.")
    parser.add_argument("model", metavar="NAME")
    parser.add_argument("--version", type=int, metavar="N", help="the newest when left out")
    parser.add_argument(
        "--energy", type=float, default=0.9, metavar="SHARE", help="what to keep, 0 to 1 (0.9)"
    )
    return parser


PARSERS = {
    "request": _request(),
    "release": Parser("release", "Give all workers back; the next use asks for them again."),
    "why": Parser("why", "Why my slice has less than it asked for, and when it gets more."),
    "forecast": _forecast(),
    "train": _train(),
    "attach": _attach(),
    "models": _models(),
    "compress": _compress(),
}


def completions(line: str) -> list[str]:
    """What can come next on a ``%aios …`` line: commands, then options of the command."""
    words = line.split()
    if len(words) < 2 or (len(words) == 2 and not line.endswith(" ")):
        return sorted(PARSERS)
    parser = PARSERS.get(words[1])
    return sorted(parser._option_string_actions) if parser else []
