"""A real Jupyter server in a process of its own, as users start it, for tests that kill things.

Every process that the server starts, directly or not, inherits the mark ``AIOS_TEST``, so that a test
can count what is left without trusting any bookkeeping of ours.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient

MARK = "AIOS_TEST"


def until(what: str, condition: Callable[[], Any], seconds: float = 15.0, every: float = 0.05) -> Any:
    """Wait until ``condition()`` is true and return its value; fail naming ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(every)


@contextmanager
def meanwhile(look: Callable[[], None], every: float) -> Iterator[None]:
    """Have a thread look every so many seconds, until the block is left."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(every):
            look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environ_of(pid: int) -> dict[str, str]:
    """The environment a process was started with; empty for one that is gone or a zombie."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition("=") for item in raw.decode(errors="replace").split("\0") if item)
    return {name: value for name, _, value in pairs}


def marked(mark: str) -> dict[int, str]:
    """Living processes that carry ``mark``: pid → command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and environ_of(int(entry.name)).get(MARK) == mark:
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            found[int(entry.name)] = command.strip()
    return found


class HTTPProblem(Exception):
    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body


@dataclass
class Kernel:
    """A kernel of the server, driven over its own channels."""

    server: Server
    id: str
    session_id: str
    client: BlockingKernelClient

    def run(self, code: str, timeout: float = 120.0) -> str:
        """Execute ``code`` and return what it printed; an error of the cell is raised with its traceback."""
        printed: list[str] = []

        def hook(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream":
                printed.append(content["text"])
            elif message["msg_type"] in ("execute_result", "display_data", "update_display_data"):
                printed.append(content["data"].get("text/plain", "") + "\n")
            elif message["msg_type"] == "error":
                printed.append("\n".join(content["traceback"]) + "\n")

        reply = self.client.execute_interactive(code, timeout=timeout, output_hook=hook, allow_stdin=False)
        text = "".join(printed)
        if reply["content"]["status"] != "ok":
            raise CellError(text or json.dumps(reply["content"]))
        return text

    def shown(self, seconds: float = 0.5) -> list[str]:
        """What the kernel displays by itself, while no cell runs: all that comes within so many seconds."""
        found: list[str] = []
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=seconds)
            except Empty:
                return found
            if message["msg_type"] in ("display_data", "update_display_data"):
                found.append(message["content"]["data"].get("text/plain", ""))
            elif message["msg_type"] == "stream":
                found.append(message["content"]["text"])

    def slice(self) -> dict[str, Any]:
        found: dict[str, Any] = next(
            s for s in self.server.get("aios/api/slices") if s["kernel_id"] == self.id
        )
        return found

    def pid(self) -> int:
        return int(self.run("import os; print(os.getpid())"))


class CellError(Exception):
    """A cell ended in an error; the text is what the user saw."""


def answer_of(client: BlockingKernelClient, seconds: float = 60.0) -> None:
    """Wait until a kernel answers. ``wait_for_ready`` takes a busy machine for a dead kernel."""

    def answered() -> bool:
        client.kernel_info()
        try:
            return bool(client.get_shell_msg(timeout=2)["msg_type"] == "kernel_info_reply")
        except Empty:
            return False

    def connected() -> bool:
        """The output channel may connect late, and hears only of what is asked after that."""
        client.kernel_info()
        try:
            return bool(client.get_iopub_msg(timeout=0.1))
        except Empty:
            return False

    until("the kernel answers", answered, seconds)
    until("the kernel's output channel", connected, seconds)


@dataclass
class Server:
    """``jupyter server`` (or ``jupyter lab``) with directories, token and port of its own; ``beside`` another
    it is one more server of the same user, and shares the folders for data, runtime and temporary files."""

    folder: Path
    config: str = ""
    app: str = "server"
    python: str = sys.executable
    env: Mapping[str, str] = field(default_factory=dict)
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    beside: Server | None = None
    clients: list[BlockingKernelClient] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def data_dir(self) -> Path:
        return self.home / "data" / "aios-lab"

    @property
    def home(self) -> Path:
        """The folder of what all servers of this user share."""
        return self.beside.home if self.beside else self.folder

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def start(self, wait: bool = True) -> Server:
        for name in ("config", "work", "workspaces", "settings", "ipython"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name in ("data", "runtime", "tmp"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "config" / "jupyter_server_config.py").write_text(
            "c = get_config()\nc.ServerApp.allow_root = True\nc.ServerApp.open_browser = False\n"
            f"c.IdentityProvider.token = {self.token!r}\nc.ServerApp.port = {self.port}\n"
            f"c.ServerApp.port_retries = 0\nc.ServerApp.root_dir = {str(self.work)!r}\n"
            # Nothing that is kept ready is among the processes that are counted, unless a test asks for some.
            "c.ServerApp.ip = '127.0.0.1'\nc.AIOSLab.spares = 0\n"
            "c.AIOSLab.spare_processes = 0\n" + self.config
        )
        log = (self.folder / "server.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [self.python, "-m", "jupyter", self.app], cwd=self.work, env=self._environment(),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        if wait:
            until("the server answers", self._answers, 60)
            until("AIOS Lab is ready", lambda: self.get("aios/api/status")["ready"], 60)
        return self

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "JPY", "AIOS", "MLFLOW"))}
        return (
            kept
            | {
                "JUPYTER_CONFIG_DIR": str(self.folder / "config"),
                "JUPYTER_DATA_DIR": str(self.home / "data"),
                "JUPYTER_RUNTIME_DIR": str(self.home / "runtime"),
                "JUPYTERLAB_WORKSPACES_DIR": str(self.folder / "workspaces"),
                "JUPYTERLAB_SETTINGS_DIR": str(self.folder / "settings"),
                "IPYTHONDIR": str(self.folder / "ipython"),
                "PATH": f"{Path(self.python).parent}{os.pathsep}{os.environ.get('PATH', '')}",
                # A lock there keeps two servers from sharing the machine: tests leave the user's own alone.
                "TMPDIR": str(self.home / "tmp"),
                MARK: self.mark,
            }
            | dict(self.env)
        )

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log()[-4000:]}")
        try:
            self.get("api/status")
        except (OSError, HTTPProblem):
            return False
        return True

    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def fetch(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Call the server as its user does (or with ``headers`` of another's) and return the JSON body."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers=dict(headers if headers is not None else {"Authorization": f"token {self.token}"}),
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                raw = answer.read()
        except urllib.error.HTTPError as error:
            raw = error.read()
            try:
                raise HTTPProblem(error.code, json.loads(raw)) from None
            except json.JSONDecodeError:
                raise HTTPProblem(error.code, {"message": raw.decode(errors="replace")}) from None
        return json.loads(raw) if raw else None

    def get(self, path: str) -> Any:
        return self.fetch("GET", path)

    def text(self, path: str) -> str:
        """What the server's user is answered, where it is not JSON."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"token {self.token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.read().decode())

    def kernel(self, notebook: str = "a.ipynb", metadata: Mapping[str, Any] | None = None) -> Kernel:
        """Open a notebook, as Lab does, and wait until its kernel answers."""
        path = self.work / notebook
        if not path.exists():
            content = {"cells": [], "metadata": dict(metadata or {}), "nbformat": 4, "nbformat_minor": 5}
            path.write_text(json.dumps(content))
        session = self.fetch(
            "POST", "api/sessions",
            {"path": notebook, "name": notebook, "type": "notebook", "kernel": {"name": "python3"}},
        )  # fmt: skip
        kernel_id = session["kernel"]["id"]
        connection = self.home / "runtime" / f"kernel-{kernel_id}.json"
        until("the kernel's connection file", connection.exists)
        client = BlockingKernelClient()
        client.load_connection_file(str(connection))
        client.start_channels()
        self.clients.append(client)
        answer_of(client)
        return Kernel(self, kernel_id, session["id"], client)

    def leases(self) -> list[Any]:
        """Slices with living leases, as `jupyter aios status` reads the ledger; the server may be dead."""
        command = [self.python, "-m", "jupyter", "aios", "status", "--json"]
        printed = subprocess.run(command, env=self._environment(), capture_output=True, text=True, check=True)
        return [row for row in json.loads(printed.stdout) if row["units"]]

    def processes(self) -> dict[int, str]:
        return marked(self.mark)

    def kill(self) -> None:
        """SIGKILL to the server process alone."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End the server as Ctrl-C would, then whatever it left."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        while self.clients:
            self.clients.pop().stop_channels()


@contextmanager
def serving(folder: Path, **options: Any) -> Iterator[Server]:
    """A started server that is stopped, whatever the test does to it."""
    server = Server(folder, **options)
    try:
        yield server.start()
    finally:
        server.stop()
