from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from aios_lab.models.registry import Registry


class DigitsNet(nn.Module):
    """A CNN with what real ones have: batch norm, pooling, a residual sum, dropout, flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 32, 3, padding=1)
        self.norm = nn.BatchNorm2d(32)
        self.block = nn.Conv2d(32, 32, 3, padding=1)
        self.wide = nn.Conv2d(32, 64, 3, padding=1)
        self.drop = nn.Dropout(0.1)
        self.hidden = nn.Linear(64 * 4, 64)
        self.out = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = F.max_pool2d(x + torch.relu(self.block(x)), 2)
        x = F.max_pool2d(F.relu(self.wide(x)), 2)
        x = self.drop(torch.flatten(x, 1))
        return self.out(F.relu(self.hidden(x)))


Split = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="session")
def digits() -> tuple[Split, Split]:
    """scikit-learn's digits as (train, held out) pairs of images and labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(data.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = order[:1400], order[1400:]
    return (images[train], labels[train]), (images[test], labels[test])


@pytest.fixture(scope="session")
def trained(digits: tuple[Split, Split]) -> DigitsNet:
    """A digits CNN that was really trained, for a few seconds."""
    (images, labels), _ = digits
    torch.set_num_threads(1)  # layers this small only lose by sharing threads with other tests
    torch.manual_seed(0)
    net = DigitsNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(5):
        for part in torch.randperm(len(labels)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(net(images[part]), labels[part]).backward()
            optimizer.step()
    return net.eval()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new SQLite store: MLflow takes seconds to make one, so the tests copy it."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    Registry(f"sqlite:///{path}", path.parent / "models").warm()
    return path


@pytest.fixture
def new_registry(empty_store: Path, tmp_path: Path) -> Callable[[], Registry]:
    """Opens this test's own registry; a second call opens the same one as another process would."""
    with (
        closing(sqlite3.connect(empty_store)) as source,
        closing(sqlite3.connect(tmp_path / "mlflow.db")) as copy,
    ):
        source.backup(copy)  # a plain copy would miss what is still in the write-ahead log
    return lambda: Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "models")


@pytest.fixture
def registry(new_registry: Callable[[], Registry]) -> Registry:
    return new_registry()
