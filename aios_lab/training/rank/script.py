"""A script as ``python script.py`` runs it: its place, its name, its arguments, and its end."""

from __future__ import annotations

import atexit
import multiprocessing.util
import os
import runpy
import sys
import threading
from pathlib import Path
from string import Template
from typing import Any

from aios_lab.training import whole
from aios_lab.training.spec import RankSpec, Script

_kept: list[dict[str, Any]] = []  # the scripts' globals: what they hold lives until the process ends


def run(spec: RankSpec, script: Script) -> None:
    """Run it as ``__main__``, with its own folder first on the import path, to what it does at exit."""
    path = script.path if script.path and Path(script.path).is_file() else _written(spec, script.text)
    if script.path:
        sys.path.insert(0, os.path.dirname(script.path))
    local_rank = os.environ["LOCAL_RANK"]
    sys.argv = [
        script.path or path,
        *(Template(a).safe_substitute(local_rank=local_rank) for a in script.args),
    ]
    _forget_the_forkserver()
    try:
        _kept.append(runpy.run_path(path, run_name="__main__"))
    finally:
        _exit()


def _forget_the_forkserver() -> None:
    """What a warm interpreter wants done at exit is not the script's; processes of its own are."""
    atexit._clear()
    atexit.register(vars(multiprocessing.util)["_exit_function"])


def _exit() -> None:
    """As an interpreter does once its main module is through: tell executors that it ends, wait for threads,
    call what is registered."""
    for call in reversed(vars(threading)["_threading_atexits"]):
        call()
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join()
    atexit._run_exitfuncs()


def _written(spec: RankSpec, text: str) -> str:
    """The script as a file of the run; every rank of a host writes the same, so the last one wins."""
    path = Path(spec.folder) / "script.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.write(path, text)
    return str(path)
