"""%aios and %%aios: the SDK as magics."""

from __future__ import annotations

import inspect
import os
from argparse import Namespace
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class

from aios_lab.notebook import sdk
from aios_lab.notebook.cells import check_options, chosen, execute
from aios_lab.notebook.errors import brief, did_you_mean
from aios_lab.notebook.parsers import ABOUT, PARSERS, HelpShown, completions, split

if TYPE_CHECKING:
    from aios_lab.training import Run


@magics_class
class AIOSMagics(Magics):
    """Loaded with the IPython extension ``aios_lab.notebook``."""

    @line_cell_magic
    def aios(self, line: str, cell: str | None = None) -> Any:
        """My slice of the machine: %aios --help tells the commands."""
        command, _, rest = line.strip().partition(" ")
        if command in ("-h", "--help", "help"):
            print(ABOUT)
            return None
        if cell is not None and command != "train":
            raise UsageError(
                f"{f'%%aios {command}'.rstrip()}: only %%aios train takes a cell. See %aios --help."
            )
        if command and command not in PARSERS:
            near = did_you_mean(command, PARSERS)
            raise UsageError(f"%aios: there is no command {command!r}.{near} See %aios --help.")
        try:
            return self._run(command, rest, cell)
        except HelpShown:
            return None

    def _run(self, command: str, rest: str, cell: str | None) -> Any:
        if not command:
            return _overview()
        options = PARSERS[command].parse_args(split(rest))
        if command == "train":
            return self._train(options, cell)
        if command == "attach":
            return self._attach(options)
        if command == "resume":
            return self._resume(options)
        return COMMANDS[command](options)

    def _train(self, options: Namespace, cell: str | None) -> None:
        from aios_lab.training import CannotTrain

        function, script = self._work(options, cell)
        given = {**run_options(options), **dict(options.set), **self._data(options.data)}
        name = options.name or getattr(function, "__name__", None) or options.script or "script"
        try:
            run = sdk.begin(
                function,
                script,
                options.arg,
                options.workers,
                options.strategy,
                name=name,
                detach=options.detach,
                **given,
            )
        except CannotTrain as error:
            raise brief(error) from None
        self._show(run, options.detach)

    def _resume(self, options: Namespace) -> None:
        from aios_lab.training import CannotTrain

        try:
            run = sdk.begin_again(options.run, options.step, options.workers, options.detach)
        except CannotTrain as error:
            raise brief(error) from None
        self._show(run, options.detach)

    def _show(self, run: Run, detached: bool = False) -> None:
        """Bind the run, and watch it unless it goes on by itself."""
        from aios_lab.notebook.display import watch

        assert self.shell is not None
        self.shell.user_ns.update(run=run, _run=run)
        if detached:
            print(
                f"The run {run.view().name!r} ({run.id}) goes on, also without this kernel; `run` is its "
                f"handle, and %aios attach {run.id} finds it again."
            )
        else:
            watch(run)

    def _data(self, text: str | None) -> dict[str, Any]:
        """What ``--data`` names: a variable of the notebook, else a path or a URL."""
        assert self.shell is not None
        if text is None:
            return {}
        if text.isidentifier() and text not in self.shell.user_ns and not os.path.exists(text):
            raise UsageError(f"%aios train: --data {text}: there is no variable and no file of this name.")
        return {"data": self.shell.user_ns.get(text, text)}

    def _attach(self, options: Namespace) -> None:
        self._show(sdk.attach(options.run))

    def _work(self, options: Namespace, cell: str | None) -> tuple[Any, str | None]:
        """The function or the script to train. Raises UsageError where line and cell give neither."""
        from aios_lab.training import train

        assert self.shell is not None
        if options.script is not None:
            if options.set:
                raise UsageError(
                    "%aios train: --set is for functions; give a script its arguments with --arg."
                )
            if not options.script and not (cell or "").strip():
                raise UsageError(
                    "%aios train --script: give a PATH, or use %%aios train --script and write the cell."
                )
            return None, options.script or f"\n{cell}"  # lines count as in the cell, with the magic's
        if cell is None:
            if options.target is None:
                raise UsageError(
                    "%aios train: name a function, or use %%aios train and define one in the cell."
                )
            function = chosen(self.shell, [], options.target)
        else:
            defined = execute(self.shell, cell)
            wanted = options.function or options.target
            function = chosen(self.shell, defined, wanted)
            if wanted is None and len(defined) > 1:
                print(
                    f"Training {defined[-1]!r}, the last function of the cell; --function names another: "
                    f"{', '.join(defined[:-1])}."
                )
        given = dict(options.set)
        if own := sorted(set(inspect.signature(train).parameters) & set(given) - {"options"}):
            raise UsageError(
                f"%aios train: --set {own[0]}=… is not possible: training uses this name itself."
            )
        check_options(function, given)
        return function, None


def run_options(options: Namespace) -> dict[str, Any]:
    """Those of how ranks work together, and of how the run is kept, that the line has."""
    from aios_lab.training.keeping import Keeping
    from aios_lab.training.strategies.base import StrategyOptions

    given = (*fields(StrategyOptions), *fields(Keeping))
    names = (field.name for field in given if field.name != "strategy")
    return {name: getattr(options, name) for name in names if name in options}


def _overview() -> Any:
    from aios_lab.notebook.server import Server
    from aios_lab.notebook.view import SliceTable
    from aios_lab.wire import Slice

    server = Server.from_environment()
    _, slices = server.send("GET", "slices")
    return SliceTable([Slice.model_validate(one) for one in slices], server.slice_id)


def _request(options: Namespace) -> Any:
    return sdk.request(**vars(options))


def _release(options: Namespace) -> Any:
    return sdk.release()


def _forecast(options: Namespace) -> Any:
    return sdk.forecast(**vars(options))


def _why(options: Namespace) -> None:
    print(sdk.why())


def _models(options: Namespace) -> Any:
    if options.what == "list":
        return sdk.models.list()
    if options.model is None:
        raise UsageError("%aios models versions: give the NAME of a model; %aios models lists them.")
    return sdk.models.versions(options.model)


def _compress(options: Namespace) -> Any:
    return sdk.models.compress(
        options.model, version=options.version, method="low_rank", energy=options.energy
    )


COMMANDS = {
    "request": _request,
    "release": _release,
    "why": _why,
    "forecast": _forecast,
    "models": _models,
    "compress": _compress,
}


def complete(shell: Any, event: Any) -> list[str]:
    """Completion of ``%aios`` lines for IPython's completer."""
    return completions(event.line)
