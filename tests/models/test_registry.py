"""The registry on a real MLflow SQLite store, read back with MLflow's own client too."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from torch import nn

from aios_lab.models import bundle
from aios_lab.models.errors import BadBundle, BadRequest, NotFound, NothingToShrink, RegistryUnavailable
from aios_lab.models.registry import Registry
from aios_lab.wire import CompressRequest


def small(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def test_register_load_and_list(registry: Registry, new_registry: Callable[[], Registry]) -> None:
    model, x = small(), torch.randn(5, 4)
    first = registry.register(model, "My model", example=x, metrics={"loss": 0.5}, run_id="r-12", user="ada")
    second = registry.register(small(1), "My model")
    registry.register(small(2), "another")
    other = new_registry()
    assert torch.equal(other.load("My model", 1)(x), model(x))
    assert torch.equal(other.load("My model")(x), small(1)(x))
    assert [(item.name, [v.version for v in item.versions]) for item in other.list()] == [
        ("My model", [2, 1]),
        ("another", [1]),
    ]
    assert other.get("My model", 1) == first
    assert other.versions("My model") == [second, first]
    assert (first.run_id, first.user, first.metrics, first.parameters) == ("r-12", "ada", {"loss": 0.5}, 67)


def test_stock_mlflow_finds_and_fetches_a_version(registry: Registry, digits: tuple) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    made = registry.register(model, "digits", evaluation=digits[1], metrics={"loss": 1.5})
    client = MlflowClient(registry.store.uri, registry.store.uri)
    (found,) = client.search_model_versions(f"tag.`aios.digest` = '{made.digest}'")
    assert (found.name, int(found.version)) == ("digits", 1)
    assert found.tags["aios.metric.loss"] == "1.5"
    assert float(found.tags["aios.metric.accuracy"]) == made.metrics["accuracy"]
    assert found.tags["aios.evaluable"] == "true"
    assert bundle.read(found.source).digest == made.digest


def test_a_bundle_folder_is_registered_as_it_is(registry: Registry, tmp_path: Path) -> None:
    saved = bundle.save(tmp_path / "run" / "model", small(), metrics={"loss": 2.0})
    made = registry.register(saved.folder, "from-run", metrics={"accuracy": 0.9}, run_id="r-1")
    assert made.digest == saved.digest
    assert made.metrics == {"loss": 2.0, "accuracy": 0.9}
    with pytest.raises(BadRequest):
        registry.register(saved.folder, "from-run", example=torch.ones(1, 4))
    (saved.folder / "recipe.json").write_text("{}")
    with pytest.raises(BadBundle):
        registry.register(saved.folder, "from-run")
    assert len(registry.versions("from-run")) == 1


def test_an_altered_version_is_not_loaded_and_a_new_registration_mends_it(registry: Registry) -> None:
    made = registry.register(small(), "m")
    weights = registry.artifacts.path(made.digest) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(BadBundle, match=r"altered"):
        registry.load("m")
    assert registry.register(small(), "m").digest == made.digest
    registry.load("m", 1)


@pytest.mark.parametrize("name", ["", "a/b", "../x", " x", "-x", "é", "🙂", "a" * 129, "a'b", None, 3])
def test_names_that_cannot_be_are_refused(registry: Registry, name: str) -> None:
    for call in (lambda: registry.register(small(), name), lambda: registry.versions(name)):
        with pytest.raises(BadRequest) as caught:
            call()
        assert caught.value.reason == "bad_name"
    assert registry.list() == []


def test_what_is_not_there_is_named_with_what_is(registry: Registry) -> None:
    with pytest.raises(NotFound, match="Register one"):
        registry.load("m")
    registry.register(small(), "m")
    with pytest.raises(NotFound, match="There are: m"):
        registry.versions("n")
    with pytest.raises(NotFound, match="Its versions are: 1"):
        registry.load("m", 7)
    for version in (0, -1, "1", True, 1.5):
        with pytest.raises(BadRequest):
            registry.get("m", version)  # type: ignore[arg-type]


def test_versions_of_others_are_left_out(registry: Registry) -> None:
    registry.warm()
    client = MlflowClient(registry.store.uri, registry.store.uri)
    client.create_registered_model("theirs")
    client.create_model_version("theirs", "/somewhere")
    assert registry.list() == []
    with pytest.raises(BadBundle, match="not registered by AIOS Lab"):
        registry.load("theirs", 1)


REGISTER = """
import sys, torch
from torch import nn
from aios_lab.models.registry import Registry
registry = Registry(sys.argv[1], sys.argv[2])
registry.warm()
print("ready", flush=True)
sys.stdin.readline()
for seed in range(4):
    torch.manual_seed(seed)
    print(registry.register(nn.Linear(3, 3), "shared").version)
"""


def test_two_processes_get_versions_of_their_own(registry: Registry) -> None:
    arguments = [sys.executable, "-c", REGISTER, registry.store.uri, str(registry.artifacts.root)]
    env = {**os.environ, "PYTHONPATH": str(Path(bundle.__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    both = [subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True, env=env) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    numbers = [int(line) for process in both for line in process.communicate()[0].split()]
    assert sorted(numbers) == list(range(1, 9))
    assert len({version.digest for version in registry.versions("shared")}) == 4
    assert [path.name for path in registry.artifacts.root.iterdir() if path.name.startswith(".new")] == []


def test_a_server_that_does_not_answer_is_named_soon(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        registry = Registry(f"http://user:secret@127.0.0.1:{port}", tmp_path)
        with pytest.raises(RegistryUnavailable) as caught:
            registry.register(small(), "m")
    assert "AIOS_MLFLOW_URI" in caught.value.hint
    assert "secret" not in str(caught.value)
    with pytest.raises(RegistryUnavailable):
        registry.list()  # the port is closed now
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to look at" * 100)
    with pytest.raises(RegistryUnavailable, match="not a database"):
        Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "models").warm()


def test_compress_makes_a_smaller_child(registry: Registry, trained: nn.Module, digits: tuple) -> None:
    parent = registry.register(trained, "digits", evaluation=digits[1])
    steps: list[float] = []
    report = registry.compress(
        "digits",
        request=CompressRequest(energy=0.9),
        user="ada",
        progress=lambda share, note: steps.append(share),
    )
    child = report.version
    assert (child.version, child.parent, child.method, child.user) == (2, parent.version, "low_rank", "ada")
    assert report.after.parameters == child.parameters < report.before.parameters == parent.parameters
    assert report.after.bytes == child.bytes < report.before.bytes
    assert report.before.metrics == parent.metrics
    assert report.after.metrics["accuracy"] > report.before.metrics["accuracy"] - 0.05
    assert steps == sorted(steps)
    recipe = bundle.read(registry.folder("digits")[0]).recipe
    [step] = recipe["transforms"]
    assert (step["method"], step["energy"], step["parent"]) == ("low_rank", 0.9, parent.digest)
    assert registry.report(child) == report
    grandchild = registry.compress("digits", request=CompressRequest(energy=0.8)).version
    assert grandchild.parent == 2
    assert grandchild.evaluable


def test_a_refused_compression_registers_nothing(registry: Registry) -> None:
    registry.register(small(), "m")
    with pytest.raises(NothingToShrink):
        registry.compress("m", 1, CompressRequest(energy=1.0))
    assert len(registry.versions("m")) == 1
