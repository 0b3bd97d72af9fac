"""Where models are kept when nobody says otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from jupyter_core.paths import jupyter_data_dir

_SQLITE = "sqlite:///"


def data_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Of server and notebook alike: ``$AIOS_DATA``, else ``aios-lab`` in Jupyter's data folder."""
    if given := environ.get("AIOS_DATA"):
        return Path(given).expanduser().absolute()
    return Path(jupyter_data_dir()) / "aios-lab"


def absolute(uri: str) -> str:
    """A relative ``sqlite:///file`` made absolute: it names one file wherever it is read."""
    if not uri.startswith(_SQLITE):
        return uri
    path, mark, options = uri.removeprefix(_SQLITE).partition("?")
    return f"{_SQLITE}{Path(path).absolute()}{mark}{options}" if path and path != ":memory:" else uri


def without_password(text: str, uri: str) -> str:
    """``text``, such as an error or the ``uri`` itself, without the password that the URI may carry."""
    password = urlsplit(uri).password
    return text.replace(f":{password}@", ":…@") if password else text


def tracking_uri(environ: Mapping[str, str] = os.environ) -> str:
    """``$AIOS_MLFLOW_URI``, else a SQLite file in the data folder."""
    return environ.get("AIOS_MLFLOW_URI") or f"{_SQLITE}{data_folder(environ) / 'mlflow.db'}"


def artifact_root(environ: Mapping[str, str] = os.environ) -> Path:
    """``$AIOS_ARTIFACTS``, which the server gives its kernels. Else the folder ``models`` beside the SQLite
    file, so that all who use one store use one folder; with another kind of store it is in the data folder.
    """
    if given := environ.get("AIOS_ARTIFACTS"):
        return Path(given)
    uri = tracking_uri(environ)
    if uri.startswith(_SQLITE):
        return Path(uri.removeprefix(_SQLITE).partition("?")[0]).absolute().parent / "models"
    return data_folder(environ) / "models"
