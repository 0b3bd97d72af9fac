"""Bundles: whole or not at all, verified, and readable where the code that made them is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aios_lab.models import bundle
from aios_lab.models.errors import BadBundle, BadRequest, ModelError, NotStorable

# 4 floats and a whole number a sample: 24 bytes, 114 MiB together.
HUGE = (torch.zeros(1, 4).expand(5_000_000, 4), torch.zeros(1).long().expand(5_000_000))
FILES = ("model.safetensors", "recipe.json", "evaluation.safetensors", "manifest.json")


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture
def saved(tmp_path: Path) -> bundle.Bundle:
    torch.manual_seed(0)
    return bundle.save(
        tmp_path / "m",
        small(),
        evaluation=(torch.randn(20, 4), torch.randint(3, (20,))),
        metrics={"loss": 0.5},
    )


def python(script: str, *args: str, path: Path | None = None) -> str:
    paths = [str(Path(bundle.__file__).parents[2]), str(path or "")]
    done = subprocess.run(
        [sys.executable, "-c", script, *args],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


MAKE = """
import sys, torch
from torch import nn
from aios_lab.models import bundle
class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)
    def forward(self, x):
        return self.b(torch.relu(self.a(x)) + x)
torch.manual_seed(1)
model = Mine()
bundle.save(sys.argv[1], model, example=torch.ones(2, 4))
print(model(torch.ones(1, 4)).tolist())
"""
LOAD = """
import sys, torch
from aios_lab.models import bundle
print(bundle.load(sys.argv[1])(torch.ones(1, 4)).tolist())
"""


def test_a_class_of_one_process_loads_in_another(tmp_path: Path) -> None:
    assert python(MAKE, str(tmp_path / "m")) == python(LOAD, str(tmp_path / "m"))


INSTALLED = """
from torch import nn
class Chooser(nn.Module):
    def __init__(self, width, deep=2):
        super().__init__()
        self.width, self.deep = width, deep
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(deep))
    def forward(self, x):
        for layer in self.layers:
            x = layer(x) if x.sum() > 0 else -layer(x)
        return x
"""
MAKE_INSTALLED = """
import sys, torch
from aios_lab.models import bundle
from chooser_pkg.parts import Chooser
torch.manual_seed(1)
model = Chooser(4, deep=3)
saved = bundle.save(sys.argv[1], model, example=torch.ones(2, 4))
assert saved.recipe["architecture"]["class"] == "chooser_pkg.parts:Chooser"
print(model(torch.ones(1, 4)).tolist())
"""


def test_an_untraceable_class_of_an_installed_package_goes_by_its_import_path(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "chooser_pkg").mkdir(parents=True)
    (site / "chooser_pkg" / "__init__.py").write_text("")
    (site / "chooser_pkg" / "parts.py").write_text(INSTALLED)
    about = site / "chooser_pkg-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: chooser-pkg\nVersion: 1\n")
    (about / "top_level.txt").write_text("chooser_pkg\n")
    folder = str(tmp_path / "m")
    assert python(MAKE_INSTALLED, folder, path=site) == python(LOAD, folder, path=site)
    with pytest.raises(BadBundle, match=r"chooser_pkg\.parts:Chooser, which is not installed here"):
        bundle.load(folder)


def test_what_is_read_is_what_was_saved(saved: bundle.Bundle) -> None:
    again = bundle.read(saved.folder)
    assert again == saved
    assert saved.evaluable
    assert saved.parameters == 4 * 8 + 8 + 8 * 3 + 3
    assert set(saved.metrics) == {"accuracy", "loss"}
    assert {path.name for path in saved.folder.iterdir()} == set(FILES)
    data = bundle.evaluation(saved.folder)
    assert data is not None
    assert len(data) == 20


def test_the_same_model_has_the_same_digest(tmp_path: Path) -> None:
    model = small()
    assert bundle.save(tmp_path / "a", model).digest == bundle.save(tmp_path / "b", model).digest


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_is_noticed(saved: bundle.Bundle, name: str) -> None:
    path = saved.folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadBundle):
        bundle.load(saved.folder, digest=saved.digest)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_linked_file_is_noticed(saved: bundle.Bundle, tmp_path: Path, name: str) -> None:
    (saved.folder / name).rename(tmp_path / name)
    with pytest.raises(BadBundle):
        bundle.load(saved.folder)
    if name != "manifest.json":
        (saved.folder / name).symlink_to(tmp_path / name)
        with pytest.raises(BadBundle):
            bundle.load(saved.folder)


def test_a_consistent_forgery_is_noticed_by_the_recorded_digest(saved: bundle.Bundle, tmp_path: Path) -> None:
    other = bundle.save(tmp_path / "other", small())
    with pytest.raises(BadBundle, match=r"altered"):
        bundle.load(other.folder, digest=saved.digest)


def test_saving_again_replaces_whole_and_a_failure_keeps_the_old(saved: bundle.Bundle) -> None:
    with pytest.raises(NotStorable):
        bundle.save(saved.folder, "no model")  # type: ignore[arg-type]
    assert bundle.read(saved.folder) == saved
    newer = bundle.save(saved.folder, small())
    assert newer.digest != saved.digest
    assert bundle.read(saved.folder) == newer
    assert [path.name for path in saved.folder.parent.iterdir()] == ["m"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError) as caught:
        bundle.save(tmp_path / "file" / "m", small())
    assert caught.value.reason == "not_writable"


class Counting(nn.Module):
    """Keeps state where no graph sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.layer(x) * self.calls


def test_a_stored_model_that_differs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotStorable) as caught:
        bundle.save(tmp_path / "m", Counting(), example=torch.ones(2, 4))
    assert caught.value.reason == "not_equal"
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"example": torch.ones(2, 5)}, "does not take the example of shape (2, 5)"),
        ({"example": "text"}, "type str"),
        ({"metrics": {"loss": float("nan")}}, "nan"),
        ({"metrics": {"loss": "low"}}, "no number"),
        ({"evaluation": torch.ones(3)}, "pair"),
        ({"evaluation": (torch.ones(3, 4), torch.zeros(2))}, "2, 3"),
        ({"evaluation": (torch.ones(0, 4), torch.zeros(0))}, "at least one"),
        ({"evaluation": HUGE}, "about 2796202 of its 5000000 samples"),
        ({"evaluation": (torch.ones(3, 4), torch.zeros(3, 7).long())}, "one score a class"),
    ],
)
def test_bad_arguments_are_explained_and_leave_nothing(tmp_path: Path, arguments: dict, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        bundle.save(tmp_path / "m", small(), **arguments)
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_arrays_and_several_inputs(tmp_path: Path) -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Bilinear(2, 3, 1)

        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return self.mix(left, right)

    rng = np.random.default_rng(0)
    left, right = (rng.normal(size=(6, n)).astype(np.float32) for n in (2, 3))
    saved = bundle.save(tmp_path / "m", Pair(), evaluation=((left, right), np.zeros((6, 1), np.float32)))
    assert set(saved.metrics) == {"mse"}
    assert [item["shape"] for item in saved.recipe["inputs"]] == [[6, 2], [6, 3]]
