"""A real cluster of two workers, a client, for training."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from aios_lab.training import LocalTracker, train
from training.helpers import Train, ranks_left


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        yield client


@pytest.fixture(scope="session")
def four() -> Iterator[Client]:
    """Four workers: what they import for their first rank takes them a while."""
    with (
        LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def start(client: Client, tmp_path: Path) -> Iterator[Train]:
    """``train`` on the cluster; afterwards no rank may be left."""
    yield partial(train, client=client, tracker=LocalTracker(tmp_path))
    assert ranks_left() == []
