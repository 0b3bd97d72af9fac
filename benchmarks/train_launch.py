"""From submitting a training to the end of its first step, on two ranks that are warm, against torchrun,
accelerate's ``notebook_launcher`` and, where it is installed, Ray Train."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import first_step
from benchmarks.figure import Figure
from benchmarks.serving import server

RUNS = 10
SETTLE = 2.0  # seconds in which the next spare processes are made: nobody trains twice in a moment
TARGET = 15.0
PEERS = {"accelerate": "accelerate's notebook_launcher", "ray": "Ray Train"}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

SETUP = """
import time
from pathlib import Path
import aios_lab as aios

aios.request(workers=2, memory="1GB", cpus=1)
aios.client().wait_for_workers(2, timeout=120)

def ours():
    begin = time.time()
    aios.train(script={script!r}, args=[{out!r}], workers=2)
    return float(Path({out!r}).read_text()) - begin
"""


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        out = str(Path(folder) / "first_step")
        kernel = stack.enter_context(server()).kernel()
        kernel.run(SETUP.format(script=first_step.__file__, out=out), timeout=300)
        peers: dict[str, Callable[[], float]] = {"torchrun --nproc_per_node=2": lambda: _torchrun(out)}
        for name, title in PEERS.items():
            if importlib.util.find_spec(name) is None:
                print(f"  {title} is left out: {name} is not installed")
            else:
                peers[title] = stack.enter_context(_served(name, out))

        def ours() -> float:
            time.sleep(SETTLE)
            printed = kernel.run("print('SECONDS', ours())", timeout=300)
            return float(printed.partition("SECONDS")[2].split()[0])

        rounds = [(ours(), [peer() for peer in peers.values()]) for _ in range(RUNS + 1)][1:]
    return [
        Figure(
            name="submit to first step of 2 warm ranks",
            peer=title,
            unit="s",
            ours=tuple(mine for mine, _ in rounds),
            peers=tuple(theirs[number] for _, theirs in rounds),
            target=TARGET,
        )
        for number, title in enumerate(peers)
    ]


def _torchrun(out: str) -> float:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    begin = time.time()
    subprocess.run([*command, first_step.__file__, out], check=True, env=ENVIRONMENT, timeout=300)
    return float(Path(out).read_text()) - begin


@contextmanager
def _served(name: str, out: str) -> Iterator[Callable[[], float]]:
    command = [sys.executable, first_step.__file__, "--serve", name, out]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdin
        assert process.stdout
        answers, asks = process.stdout, process.stdin
        assert answers.readline() == "ready\n"

        def launch() -> float:
            asks.write("go\n")
            asks.flush()
            return float(answers.readline())

        yield launch
        asks.close()
