"""``aios.models`` as a notebook uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from jupyter_core.paths import jupyter_data_dir
from torch import nn

from aios_lab import models
from aios_lab.models import places, sdk
from aios_lab.models.registry import Registry


@pytest.fixture(autouse=True)
def _own_store(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOS_MLFLOW_URI", registry.store.uri)


def test_register_compress_load_versions_list() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(40, 20), torch.randint(4, (40,))
    model = nn.Sequential(nn.Linear(20, 80), nn.ReLU(), nn.Linear(80, 4))
    made = models.register(model, "m", example=x[:2], metrics={"loss": 1.0}, evaluation=(x, y))
    smaller = models.compress("m", ratio=0.5)
    assert (made.version, made.parent, made.report) == (1, None, None)
    assert (smaller.version, smaller.parent) == (2, 1)
    assert smaller.report is not None
    assert smaller.report.after.bytes < smaller.report.before.bytes
    assert {layer.layer for layer in smaller.report.layers} == {"0", "2"}
    assert torch.equal(models.load("m", 1)(x), model(x))
    assert [version.version for version in models.versions("m")] == [2, 1]
    assert [model.name for model in models.list()] == ["m"]


def test_models_show_themselves_as_lines_and_tables() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(40, 20), torch.randint(4, (40,))
    model = nn.Sequential(nn.Linear(20, 80), nn.ReLU(), nn.Linear(80, 4))
    assert "no models yet" in repr(models.list())
    made = models.register(model, "m", evaluation=(x, y), run_id="r-1")
    assert repr(made).startswith("m v1 (run r-1): ")
    assert f"{made.parameters:,} parameters, accuracy {made.metrics['accuracy']:.4g}" in repr(made)
    assert "<td" in made._repr_html_()
    models.compress("m", energy=0.7)
    again = models.compress("m", energy=0.5)
    assert again.parent == 2
    assert repr(again).startswith("m v3 (low_rank of v2, itself low_rank of v1): ")
    assert again.report is not None
    assert f"(was {again.report.before.parameters:,})" in repr(again)
    assert "\n" not in repr(again)
    for part in ("before", "m v2", "after", "m v3", "accuracy"):
        assert part in again._repr_html_()
    lines = repr(models.versions("m")).splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["name", "version"],
        ["m", "v3"],
        ["m", "v2"],
        ["m", "v1"],
    ]
    assert models.versions("m")._repr_html_().count("<tr>") == 4
    line = repr(models.list()).splitlines()[1]
    assert (line.split()[:2], line.split()[-1]) == (["m", "v3"], "3")
    assert models.list()._repr_html_().count("<tr>") == 2


def test_the_report_of_a_compression_is_kept(registry: Registry) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 80), nn.ReLU(), nn.Linear(80, 4))
    models.register(model, "m", evaluation=(torch.randn(40, 20), torch.randint(4, (40,))))
    small = models.compress("m", energy=0.7)
    newest, first = models.versions("m")
    assert newest.report == small.report
    assert first.report is None
    (registry.artifacts.path(newest.digest) / "recipe.json").unlink()
    assert models.versions("m")[0].report is None


@pytest.mark.parametrize("arguments", [{"energy": 2}, {"energy": 0.9, "ratio": 0.5}, {"method": "magic"}])
def test_bad_settings_are_refused_before_anything_is_loaded(arguments: dict) -> None:
    with pytest.raises(models.ModelError) as caught:
        models.compress("m", **arguments)
    assert caught.value.status == 400
    assert caught.value.problem().hint


def test_places_follow_the_environment(tmp_path: Path) -> None:
    env = {"AIOS_DATA": str(tmp_path)}
    assert places.tracking_uri(env) == f"sqlite:///{tmp_path}/mlflow.db"
    assert places.artifact_root(env) == tmp_path / "models"
    assert places.artifact_root({"AIOS_MLFLOW_URI": "sqlite:////srv/x.db?timeout=3"}) == Path("/srv/models")
    assert places.artifact_root({**env, "AIOS_MLFLOW_URI": "http://host:1"}) == tmp_path / "models"
    assert places.artifact_root({**env, "AIOS_ARTIFACTS": "/srv/kept"}) == Path("/srv/kept")
    assert places.data_folder({}) == Path(jupyter_data_dir()) / "aios-lab"
    assert places.absolute("sqlite:///x.db?timeout=3") == f"sqlite:///{Path.cwd()}/x.db?timeout=3"
    for uri in ("sqlite:////srv/x.db", "sqlite:///:memory:", "http://host:1"):
        assert places.absolute(uri) == uri
    assert sdk.registry() is sdk.registry()


LIGHT = """
import sys
import aios_lab.models, aios_lab.models.jobs, aios_lab.models.registry
print([name for name in ("torch", "mlflow", "distributed") if name in sys.modules])
"""


def test_the_server_side_imports_nothing_heavy() -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(sdk.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", LIGHT], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
