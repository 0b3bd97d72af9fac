"""%aios in a real IPython shell: parsing, help, usage errors, and what a kernel without a server is told."""

from __future__ import annotations

import atexit
import sys
from argparse import Namespace
from collections.abc import Iterator

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from aios_lab.notebook import load_ipython_extension, unload_ipython_extension
from aios_lab.notebook.errors import AIOSError
from aios_lab.notebook.parsers import PARSERS, completions, split


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    for name in ("AIOS_URL", "AIOS_TOKEN", "AIOS_SLICE", "AIOS_PROBLEM"):
        monkeypatch.delenv(name, raising=False)
    # A shell takes the place of __main__, from which processes that tests start later would be made.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.colors = "nocolor"
    load_ipython_extension(shell)
    yield shell
    atexit.unregister(shell.atexit_operations)  # which would keep the shell, and all that it knows, till then
    shell.reset()
    InteractiveShell.clear_instance()


def shown(shell: InteractiveShell, capsys: pytest.CaptureFixture[str], cell: str) -> tuple[bool, str]:
    result = shell.run_cell(cell)
    captured = capsys.readouterr()
    return bool(result.success), captured.out + captured.err


@pytest.mark.parametrize("command", sorted(PARSERS))
def test_every_command_has_help_that_is_printed(shell, capsys, command: str) -> None:
    ok, text = shown(shell, capsys, f"%aios {command} --help")
    assert ok
    assert f"usage: %aios {command}" in text


@pytest.mark.parametrize("line", ["%aios --help", "%aios -h", "%aios help"])
def test_the_overview_names_every_command(shell, capsys, line: str) -> None:
    ok, text = shown(shell, capsys, line)
    assert ok
    assert "usage" in text
    assert all(f"%aios {command}" in text for command in PARSERS)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("%aios request --wrokers 2", ["--wrokers", "--workers"]),
        ("%aios request --workers many", ["--workers", "many"]),
        ("%aios request --priority urgent", ["urgent", "normal"]),
        ("%aios request --memory", ["--memory", "usage"]),
        ("%aios request --memory '2GB", ["quotation"]),
        ("%aios requets", ["requets", "Did you mean request?", "--help"]),
        ("%aios request --worker 2", ["--worker", "Did you mean --workers?"]),
        ("%%aios train --epochs 3\ndef train(ctx, epochs): ...", ["function are given with --set epochs=3"]),
        ("%%aios train --batch-size=8\ndef train(ctx): ...", ["--set batch_size=8"]),
        ("%%aios\n1", ["%%aios: only %%aios train"]),
        ("%aios train", ["name a function"]),
        ("%aios train nowhere", ["'nowhere'", "Run the cell"]),
        ("%aios train --script", ["PATH"]),
        ("%aios models versions", ["NAME"]),
        ("%aios compress", ["NAME"]),
        ("%aios forecast --gpu 1", ["--gpu", "Did you mean --gpus?"]),
        ("%aios forecast --workers few", ["--workers", "few"]),
        ("%%aios request\n1", ["only %%aios train"]),
        ("%%aios train\nx = 1", ["function", "def train(ctx)"]),
        ("%%aios train --function other\ndef train(ctx): ...", ["'other'", "It defines train"]),
        ("%%aios train --set epochs=2\ndef train(ctx): ...", ["epochs", "train(ctx)"]),
        ("%%aios train --set epochs\ndef train(ctx, epochs): ...", ["name=value"]),
        ("%%aios train --set name=x\ndef train(ctx, name): ...", ["name", "itself"]),
        ("%%aios train --script --set a=1\nprint()", ["--arg"]),
    ],
)
def test_a_wrong_line_is_a_usage_error_of_one_line(shell, capsys, cell: str, words: list[str]) -> None:
    ok, text = shown(shell, capsys, cell)
    assert not ok
    assert text.startswith("UsageError: ")
    assert "Traceback" not in text
    for word in words:
        assert word in text


def test_a_cell_that_fails_shows_its_own_traceback_only(shell, capsys) -> None:
    ok, text = shown(shell, capsys, "%%aios train\ndef train(ctx): ...\nnumber = 1 / 0")
    assert not ok
    assert "ZeroDivisionError" in text
    assert "3 number = 1 / 0" in text  # the line as the cell counts it
    assert "aios_lab" not in text
    assert "cells.py" not in text
    ok, text = shown(shell, capsys, "%%aios train\ndef train(ctx) ...")
    assert not ok
    assert "not valid Python: line 2" in text  # line 1 is the magic's
    assert "def train(ctx) ..." in text
    assert "aios_lab" not in text


@pytest.mark.parametrize(
    "cell",
    [
        "%aios",
        "%aios why",
        "%aios forecast",
        "%aios forecast --gpus 1",
        "%aios release",
        "%aios request --workers 2",
        "%%aios train --workers 2\ndef train(ctx): ...",
        "%%aios train --script\nprint(1)",
        "import aios_lab; aios_lab.client()",
        "import aios_lab; aios_lab.train(print)",
    ],
)
def test_without_a_server_the_error_says_how_to_get_one(shell, capsys, cell: str) -> None:
    ok, text = shown(shell, capsys, cell)
    assert not ok
    assert text.startswith("AIOSError: This process has no slice")
    assert "JupyterLab" in text
    assert "Traceback" not in text


def test_a_server_that_gives_no_slices_says_why(shell, capsys, monkeypatch) -> None:
    monkeypatch.setenv("AIOS_PROBLEM", "Process 4242 holds the ledger.")
    ok, text = shown(shell, capsys, "%aios why")
    assert not ok
    assert "4242" in text


def test_the_cell_runs_in_the_users_namespace(shell, capsys) -> None:
    cell = "%%aios train\nimport math\nvalue = math.pi\ndef helper(): ...\ndef train(ctx): return value"
    result = shell.run_cell(cell)
    capsys.readouterr()
    assert isinstance(result.error_in_exec, AIOSError)  # everything was there but a server
    assert shell.user_ns["value"] > 3
    assert callable(shell.user_ns["helper"])
    assert shell.user_ns["train"](None) == shell.user_ns["value"]
    assert shell.user_ns["train"].__code__.co_firstlineno == 5  # with the magic's line
    import inspect

    assert "return value" in inspect.getsource(shell.user_ns["train"])


def test_of_several_functions_the_one_that_is_trained_is_named(shell, capsys) -> None:
    _, text = shown(shell, capsys, "%%aios train\ndef helper(): ...\ndef train(ctx): ...")
    assert text.startswith(
        "Training 'train', the last function of the cell; --function names another: helper."
    )
    for cell in ("%%aios train\ndef t(ctx): ...", "%%aios train --function t\ndef t(c): ...\ndef u(): ..."):
        assert "Training" not in shown(shell, capsys, cell)[1]


def test_set_values_are_literals_or_text() -> None:
    def trained(line: str) -> Namespace:
        options: Namespace = PARSERS["train"].parse_args(split(line))
        return options

    options = trained("--set lr=0.1 --set name=digits --set 'sizes=[1, 2]' --arg=--fast")
    assert dict(options.set) == {"lr": 0.1, "name": "digits", "sizes": [1, 2]}
    assert options.arg == ["--fast"]
    assert trained("--script").script == ""
    assert trained("--script a.py --workers 2").script == "a.py"
    with pytest.raises(UsageError):
        trained("--set 1x=2")


def test_completion_offers_commands_then_options(shell) -> None:
    assert completions("%aios ") == sorted(PARSERS)
    assert "--min-workers" in completions("%aios request --m")
    assert completions("%aios nonsense ") == []
    _, found = shell.complete("req", "%aios req")
    assert "request" in found


def test_unloading_takes_the_magic_away(shell, capsys) -> None:
    unload_ipython_extension(shell)
    ok, text = shown(shell, capsys, "%aios --help")
    assert not ok
    assert "not found" in text
