"""Where models are kept when nobody says otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_SQLITE = "sqlite:///"


def data_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """``$AIOS_DATA``, else ``~/.local/share/aios-lab`` (following ``XDG_DATA_HOME``)."""
    if given := environ.get("AIOS_DATA"):
        return Path(given).expanduser().absolute()
    base = environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "aios-lab"


def tracking_uri(environ: Mapping[str, str] = os.environ) -> str:
    """``$AIOS_MLFLOW_URI``, else a SQLite file in the data folder."""
    return environ.get("AIOS_MLFLOW_URI") or f"{_SQLITE}{data_folder(environ) / 'mlflow.db'}"


def artifact_root(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder ``models`` beside the SQLite file, so that all who use one store use one folder; with
    another kind of store it is in the data folder.
    """
    uri = tracking_uri(environ)
    if uri.startswith(_SQLITE):
        return Path(uri.removeprefix(_SQLITE).partition("?")[0]).absolute().parent / "models"
    return data_folder(environ) / "models"
