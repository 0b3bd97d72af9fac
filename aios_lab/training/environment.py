"""The environment of a rank: what torchrun sets, and where its ranks meet."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from aios_lab.training.spec import RankSpec

# Of this process alone: its tokens, and which accelerators it may see.
OWN = ("AIOS_", "JPY_", "JUPYTER", "DASK_", "CUDA_VISIBLE_DEVICES", "PYTHON")

if TYPE_CHECKING:
    from torch._C._distributed_c10d import TCPStore


def rank_environment(spec: RankSpec) -> dict[str, str]:
    """The worker's environment with torchrun's variables; MASTER_ADDR and MASTER_PORT come with the start."""
    local_rank, local_world = spec.local_rank, spec.local_world_size
    if os.environ.get("CUDA_VISIBLE_DEVICES"):  # a worker with accelerators shows a rank its own alone
        local_rank, local_world = 0, 1
    environment = {
        **os.environ,
        **spec.environment,
        "RANK": str(spec.rank),
        "WORLD_SIZE": str(spec.world_size),
        "LOCAL_RANK": str(local_rank),
        "LOCAL_WORLD_SIZE": str(local_world),
        "GROUP_RANK": str(spec.node_rank),
        "GROUP_WORLD_SIZE": str(spec.nodes),
        "ROLE_NAME": "default",
        "ROLE_RANK": str(spec.rank),
        "ROLE_WORLD_SIZE": str(spec.world_size),
        "TORCHELASTIC_RUN_ID": spec.run_id,
        "TORCHELASTIC_RESTART_COUNT": str(spec.attempt),
        "TORCHELASTIC_MAX_RESTARTS": "0",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_ERROR_FILE": str(error_file(spec)),
        "AIOS_RUN": spec.run_id,
        "PYTHONUNBUFFERED": "1",
    }
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment[name] = str(spec.threads)
    environment.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")
    if is_loopback(spec.host):
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    return environment


def error_file(spec: RankSpec) -> Path:
    """Where a rank may tell by itself how it failed, as torch's ``record`` does."""
    return Path(spec.folder) / f"rank{spec.rank}-{spec.attempt}.error.json"


def changed_here() -> dict[str, str]:
    """Variables that this process's code set since it began: a notebook's, which its ranks are to have."""
    try:
        first = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:  # another system than Linux
        return {}
    begun = set(map(os.fsdecode, first))
    return {
        name: value
        for name, value in os.environ.items()
        if f"{name}={value}" not in begun and not name.startswith(OWN)
    }


def open_store(host: str) -> tuple[TCPStore, int]:
    """A store for the ranks to meet at and its port: bound before anyone is told, so none can take it."""
    from torch._C._distributed_c10d import TCPStore

    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.bind((host, 0))
    listener.listen(1024)
    port = int(listener.getsockname()[1])
    store = TCPStore(host, port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())
    return store, port


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
