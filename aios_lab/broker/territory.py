"""What one server has to itself: its data folder, and the machine whose hardware it shares out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aios_lab.broker.errors import Refused
from aios_lab.broker.locks import Held, LockFile


@contextmanager
def data_folder(folder: Path) -> Iterator[None]:
    """Make the folder and hold it: the ledger, the runs, the models and MLflow's database are one server's.

    Raises:
        Refused: 409 'data_dir_in_use', naming the other server's process; 409 'data_dir_unavailable'.
    """
    lock = LockFile(folder / "server.lock")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # a person's models, logs and losses
        lock.take()
    except Held as held:
        raise Refused(
            409,
            f"The data folder {folder} is in use by another Jupyter server (process {held.by}).",
            "data_dir_in_use",
            "To use its broker, start both on one machine with one JUPYTER_RUNTIME_DIR; or "
            "stop that server, or start this one with a data_dir of its own.",
        ) from None
    except OSError as error:
        raise Refused(
            409,
            f"The data folder {folder} cannot be used: {error.strerror or error}.",
            "data_dir_unavailable",
            "Give the server's user the right to write there, or set another data_dir; then restart.",
        ) from error
    try:
        yield
    finally:
        lock.free()


@contextmanager
def machine(folder: Path | None = None) -> Iterator[None]:
    """Hold this machine for the user's only server that shares out its real hardware: two would each grant
    the whole of it. ``folder`` is where the lock file lies: the folder for temporary files when left out.

    Raises:
        Refused: 409 'machine_in_use', naming the other server's process; 409 'machine_lock_unavailable'.
    """
    lock = LockFile((folder or Path(tempfile.gettempdir())) / f"aios-lab-machine-{os.getuid()}.lock")
    try:
        lock.take()
    except Held as held:
        raise Refused(
            409,
            f"Another Jupyter server of yours (process {held.by}) already shares out this machine.",
            "machine_in_use",
            "Stop that server, or declare an inventory for a part of the machine, as in "
            "c.AIOSLab.inventory = {'cpus': 2, 'memory': '4GB'}, and restart this one.",
        ) from None
    except OSError as error:
        raise Refused(
            409,
            f"The lock file {lock.path} cannot be used: {error.strerror or error}.",
            "machine_lock_unavailable",
            "Delete it or have an administrator do so, or set TMPDIR to a folder of your own; "
            "then restart the server.",
        ) from error
    try:
        yield
    finally:
        lock.free()
