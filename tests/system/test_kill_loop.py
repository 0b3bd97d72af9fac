"""Whatever is killed, in whatever state it is, the machine is whole again afterwards."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from live import CellError, Kernel, Server, environ_of, serving, until

ROUNDS = 60 if "AIOS_SOAK" in os.environ else 4
ASK = (
    'import aios_lab as aios; aios.request(workers=2, memory="500MB"); client = aios.client(timeout=60)\n'
    "client.wait_for_workers(2, timeout=60); print(client.submit(sum, [40, 2]).result())"
)


def ours(server: Server) -> list[int]:
    """Slice hosts, workers and the forkserver."""
    return sorted(pid for pid in server.processes() if "AIOS_ENGINE" in environ_of(pid))


def works(kernel: Kernel) -> bool:
    """The slice computes. A client that was connected when its scheduler was killed is replaced first."""
    try:
        return kernel.run(ASK, timeout=90).strip().endswith("42")
    except CellError as error:
        print(error)
        with suppress(CellError):
            kernel.run("client.close(timeout=1)")
        return False


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_random_kills_are_mended_and_nothing_is_left(tmp_path: Path):
    random = Random(7)
    with serving(tmp_path, config="c.AIOSLab.inventory = {'cpus': 4, 'memory': '8GB'}\n") as server:
        kernels = [server.kernel("a.ipynb"), server.kernel("b.ipynb")]
        for turn in range(ROUNDS):
            kernel = random.choice(kernels)
            until(f"the slice works in round {turn}", lambda kernel=kernel: works(kernel), 60)
            victim = random.choice(ours(server))
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            until("the killed process is gone", lambda victim=victim: victim not in server.processes())
        for kernel in kernels:
            until("the slice works at last", lambda kernel=kernel: works(kernel), 60)
            server.fetch("DELETE", f"api/kernels/{kernel.id}")
        until("no lease is left", lambda: server.get("aios/api/cluster")["used"]["cpus"] == 0)
        until("only the forkserver is left", lambda: len(ours(server)) == 1)
