"""What the extension costs while nobody does anything: 50 kernels, metrics once a second, the panel open;
against jupyter-resource-usage, asked for its metrics as often."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

from benchmarks.figure import Figure
from live import HTTPProblem, Server, until

KERNELS = 50
WINDOWS, SECONDS = 3, 10.0
PEER = "jupyter-resource-usage"
PERCENT, MEGABYTES = 2.0, 120.0  # of one core, and of memory beside what is kept ready
TOPICS = ("status", "cluster", "slices", "runs", "models", "jobs")


@dataclass(frozen=True)
class Setup:
    """A server to measure: what it is asked once a second, and whether a panel is open on it."""

    extensions: dict[str, bool]
    metrics: str
    panel: bool = False
    packages: str = ""


@dataclass(frozen=True)
class Cost:
    """Of a server process: percent of one core by window, and megabytes; ``ready`` of both is what the
    processes take that are kept ready."""

    percent: tuple[float, ...]
    megabytes: float
    ready: tuple[float, float] = (0.0, 0.0)


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="aios-bench-") as packages:
        stock = _cost(Setup({"aios_lab": False}, "api/status"))
        ours = _cost(Setup({"aios_lab": True}, "aios/api/metrics", panel=True))
        peer = None
        if _installed(packages):
            enabled = {"aios_lab": False, "jupyter_resource_usage": True}
            peer = _cost(Setup(enabled, "api/metrics/v1", packages=packages))
    print(f"  beside the server: {ours.ready[0]:.2f} % and {ours.ready[1]:.0f} MB for what is kept ready")
    figures = [
        _figure("processor at idle", "%", _beside(ours, stock), (PERCENT,), "the limit"),
        _figure("memory at idle", "MB", (ours.megabytes - stock.megabytes,), (MEGABYTES,), "the limit"),
    ]
    if peer is not None:
        print(f"  memory of {PEER}, which keeps nothing: {peer.megabytes - stock.megabytes:.1f} MB")
        figures += [_figure("processor at idle", "%", _beside(ours, stock), _beside(peer, stock), PEER)]
    return figures


def _figure(name: str, unit: str, ours: tuple[float, ...], peers: tuple[float, ...], peer: str) -> Figure:
    return Figure(f"{name}, {KERNELS} kernels", peer, unit, ours, peers, target=1.0)


def _beside(one: Cost, stock: Cost) -> tuple[float, ...]:
    """What an extension takes more than a server without it."""
    return tuple(mine - its for mine, its in zip(one.percent, stock.percent, strict=True))


def _installed(folder: str) -> bool:
    """Whether the peer could be had; it is installed into this folder alone, without what it depends on."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, PEER]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"  not compared: {PEER} cannot be installed here ({done.stderr.strip().splitlines()[-1]})")
    return done.returncode == 0


def _cost(setup: Setup) -> Cost:
    with _server(setup) as running, ThreadPoolExecutor(4) as threads:
        assert running.process is not None
        process = psutil.Process(running.process.pid)
        list(threads.map(lambda _: running.fetch("POST", "api/kernels", {"name": "python3"}), range(KERNELS)))
        until("the kernels have settled", lambda: _busy(running) < 0.2, seconds=300, every=0)
        ready = [
            psutil.Process(pid) for pid, command in running.processes().items() if "forkserver" in command
        ]
        before = sum(_seconds(one) for one in ready)
        percent = asyncio.run(_watch(running, setup, process))
        share = 100 * (sum(_seconds(one) for one in ready) - before) / (WINDOWS * SECONDS)
        return Cost(percent, _megabytes(process), (share, sum(map(_megabytes, ready))))


@contextmanager
def _server(setup: Setup) -> Iterator[Server]:
    config = f"c.ServerApp.jpserver_extensions = {setup.extensions!r}\n"
    config += "c.AIOSLab.spares = 1\nc.AIOSLab.spare_processes = 2\n"
    with tempfile.TemporaryDirectory(prefix="aios-bench-") as folder:
        path = f"{setup.packages}:{':'.join(sys.path[1:])}" if setup.packages else ""
        running = Server(Path(folder), config, env={"PYTHONPATH": path} if path else {})
        try:
            running.start(wait=False)
            until("the server answers", lambda: _answers(running, setup.metrics), 60)
            yield running
        finally:
            running.stop()


def _answers(running: Server, path: str) -> bool:
    with contextlib.suppress(OSError, HTTPProblem, json.JSONDecodeError):
        running.text(path)
        return True
    return False


def _busy(running: Server) -> float:
    """The part of two seconds that all processes of a server kept processors busy."""
    processes = [psutil.Process(pid) for pid in running.processes()]
    before = sum(map(_seconds, processes))
    psutil.cpu_percent(interval=2.0)
    return sum(map(_seconds, processes)) - before


def _seconds(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _megabytes(process: psutil.Process) -> float:
    return float(process.memory_full_info().uss) / 1e6


async def _watch(running: Server, setup: Setup, process: psutil.Process) -> tuple[float, ...]:
    """Ask for the metrics once a second, with the panel open or not; percent of a core, by window."""
    percent = []
    async with _panel(running, setup.panel):
        await _ask(running, setup.metrics, 3.0)
        for _ in range(WINDOWS):
            before = _seconds(process)
            await _ask(running, setup.metrics, SECONDS)
            percent.append(100 * (_seconds(process) - before) / SECONDS)
    return tuple(percent)


async def _ask(running: Server, path: str, seconds: float) -> None:
    loop, client = asyncio.get_running_loop(), AsyncHTTPClient()
    end = loop.time() + seconds
    request = HTTPRequest(running.url + path, headers={"Authorization": f"token {running.token}"})
    while (now := loop.time()) < end:
        await client.fetch(request)
        await asyncio.sleep(min(end, now + 1.0) - loop.time())


@asynccontextmanager
async def _panel(running: Server, is_open: bool) -> AsyncIterator[None]:
    """What an open panel listens to."""
    if not is_open:
        yield
        return
    url = running.url.replace("http", "ws", 1) + f"aios/api/stream?token={running.token}"
    socket = await websocket_connect(url)
    await socket.write_message(json.dumps({"topics": TOPICS}))

    async def listen() -> None:
        while await socket.read_message() is not None:
            pass

    listening = asyncio.create_task(listen())
    yield
    listening.cancel()
    socket.close()
