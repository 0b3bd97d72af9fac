"""The server extension: the one place that wires the parts together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_server.serverapp import ServerApp
from pydantic import ValidationError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from traitlets import TraitError

from aios_lab.broker import Broker, Ledger, Quotas, Windows, territory
from aios_lab.broker.errors import Refused
from aios_lab.broker.replays import Replays
from aios_lab.engines.base import Engine, EngineError
from aios_lab.engines.local.engine import LocalEngine
from aios_lab.kernel_claims import KernelClaims
from aios_lab.models import places
from aios_lab.models.errors import ModelError
from aios_lab.models.jobs import Jobs
from aios_lab.models.lean import without_pandas
from aios_lab.models.registry import Registry
from aios_lab.options import Options, SettingError
from aios_lab.peers import Leading, Peers, listen, meeting_place
from aios_lab.provisioner import AIOSProvisioner
from aios_lab.routes import Services, handlers
from aios_lab.routes.base import sentence
from aios_lab.routes.events import Transitions, register
from aios_lab.routes.feed import Feed
from aios_lab.routes.use import Use
from aios_lab.training.record.line import StoreLine
from aios_lab.training.record.store import RunStore
from aios_lab.wire import ClaimRequest, Job, Problem, Run

PATIENCE = 3.0  # seconds a stopping server gives MLflow; it gets what it misses after the next start
RESTART = "Mend this and restart the server; kernels work meanwhile, without slices."
AGAIN = "Mend this; the server tries again every few seconds. Kernels work meanwhile, without slices."
# Imported in slices that train.
LEADER = ("aios_lab.training.leader.plugin", "aios_lab.training.rank.process")
PROVISIONER = "aios-provisioner"
STOPPED = Problem(
    message="This server is shutting down.",
    reason="stopped",
    hint="Start it again to use AIOS Lab.",
)
UNIX_SOCKET = Refused(
    409,
    "This server listens on a Unix socket, over which its kernels cannot call it.",
    "unix_socket",
    "Start it with a port on 127.0.0.1 (leave ServerApp.sock out) to use AIOS Lab.",
)


class AIOSLab(Options):
    """Every kernel gets a slice of a Dask cluster under fair share."""

    name = "aios_lab"
    extension_url = "/lab"
    load_other_extensions = True

    _mistake: SettingError | None = None

    def _link_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Jupyter would go on without all of our configuration where one value of it is wrong."""
        try:
            super()._link_jupyter_server_extension(serverapp)
        except TraitError as error:
            self._mistake = SettingError(f"The configuration of AIOS Lab has a mistake: {error}")
        # setdefault respects an administrator who chose another. The factory is a singleton that may be there
        # already, and then no longer looks at the configuration.
        section = serverapp.config.KernelProvisionerFactory
        name = section.setdefault("default_provisioner_name", PROVISIONER)
        if KernelProvisionerFactory.initialized():
            KernelProvisionerFactory.instance().default_provisioner_name = name

    def initialize_settings(self) -> None:
        assert self.serverapp is not None
        assert self.serverapp.event_logger is not None
        register(self.serverapp.event_logger)
        self.services = Services(Feed())
        self._transitions = Transitions(self._emit)
        self._mlflow_uri = places.absolute(self.mlflow_uri or f"sqlite:///{self.folder / 'mlflow.db'}")
        self._started = asyncio.Event()
        self._warming: asyncio.Task[None] | None = None
        self._closing = AsyncExitStack()
        self._meeting = meeting_place(Path(self.serverapp.runtime_dir), self.folder)
        self._leading = Leading(self.services, self._places, self.of_the_broker())
        self._peers = Peers(self.services, self._meeting, self._lead, self._leading, self._emit_here)
        self.services.feed.on_topics = self._peers.report
        self._claims = KernelClaims(
            self.services,
            self._peers,
            Path(self.serverapp.root_dir),
            self._kernel_environment,
            self._started.wait,
            self.keep_environment,
        )

    def initialize_handlers(self) -> None:
        self.handlers.extend(handlers(self.services))

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Opens the parts, or finds the server of this user that has them open already."""
        AIOSProvisioner.claims = self._claims
        await self._peers.start()
        self._started.set()

    async def _lead(self) -> Problem | None:
        """Opens the parts. What cannot be opened is a problem to show, and never breaks Jupyter."""
        async with AsyncExitStack() as stack:
            try:
                await self._open(stack)
            except Refused as refused:
                return refused.problem
            except SettingError as error:
                return Problem(message=str(error), reason="not_started", hint=RESTART)
            except (EngineError, OSError) as error:
                message = f"AIOS Lab could not start: {error}"
                return Problem(message=message, reason="engine_failed", hint=AGAIN)
            except Exception:
                self.log.exception("AIOS Lab could not start")
                message = "AIOS Lab could not start; the server's log says why."
                return Problem(message=message, reason="not_started", hint=RESTART)
            self._closing = stack.pop_all()
        return None

    async def _open(self, stack: AsyncExitStack) -> None:
        """Builds the parts from the bottom up; ``stack`` learns how to close each."""
        assert self.serverapp is not None
        if self._mistake is not None:
            raise self._mistake
        if self.serverapp.sock:
            raise UNIX_SOCKET
        ledger = Ledger(self._ledger_path())
        stack.enter_context(territory.data_folder(self.folder))
        self._leading.begin()
        await stack.enter_async_context(listen(self._meeting, self._leading.accept))
        stack.callback(self._leading.close)
        options: dict[str, Any] = {"inventory": dict(self.inventory) or None}
        if issubclass(self.engine_class, LocalEngine):
            options |= {
                "preload": [*LEADER, *self.preload],
                "spares": self.spares,
                "spare_processes": self.spare_processes,
                "max_processes": self.max_processes,
                # what its locks make its own
                "serves": str(ledger.path) if self.inventory else "this machine",
            }
            if not self.inventory:
                stack.enter_context(territory.machine())
        try:
            engine = cast("Callable[..., Engine]", self.engine_class)(**options)
        except EngineError as error:
            raise SettingError(str(error)) from error
        windows = Windows(self.idle_after_kernel, self.idle_after_tasks, self.idle_after_accelerators)
        quotas = Quotas(self._quotas_path())
        broker = Broker(engine, ledger, quotas, self._default_claim(), windows, self.grace)
        await broker.start()
        recovery = broker.recovery

        def left() -> frozenset[str]:
            """Slices that another server, or later this one, may take over."""
            return self._leading.slices | recovery.unclaimed | broker.holds.detached

        stack.push_async_callback(lambda: broker.stop(left()))
        self._peers.reclaim(broker)
        runs = RunStore(self.runs_dir, self._mlflow(), artifact_root=self._artifacts())
        line = StoreLine(runs, broker.holds.tell)
        await runs.start(broker.living)
        recovery.unpin(runs.living)
        stack.push_async_callback(lambda: runs.close(PATIENCE, left()))
        registry = Registry(self._mlflow(), self._artifacts())
        jobs = Jobs(self._mlflow(), self._artifacts(), self._job_changed)
        stack.push_async_callback(jobs.stop)
        use = Use(lambda: self._processes(engine, broker), lambda: self._kernel_processes(broker))
        replays = Replays(ledger.path)
        stack.push_async_callback(replays.stop)
        self.services.open(broker, runs, registry, jobs, use, replays)
        self.services.feed.look(use.measure, {"models": partial(asyncio.to_thread, registry.stamp)})
        broker.subscribe(self._slice_changed)
        broker.holds.on_told(line.told)
        runs.subscribe(self._run_changed)
        recovery.heard_from_now()
        self._leading.open()
        self._warming = asyncio.create_task(self._warm_up(registry))

    async def stop_extension(self) -> None:
        """Ends every slice; on return no process of ours is left. Jupyter ends the kernels only afterwards:
        their claims are over by then, and the provisioner finds nothing to do."""
        if self._warming is not None:
            self._warming.cancel()
        self.services.feed.close()
        await self._peers.stop()
        await self._closing.aclose()
        self.services.close(STOPPED)
        self.services.shutdown()
        if AIOSProvisioner.claims is self._claims:
            AIOSProvisioner.claims = None

    def current_activity(self) -> dict[str, int] | None:
        """Keeps Jupyter from shutting an 'idle' server down while a run goes on."""
        busy = self._peers.busy
        if self.services.ready:
            busy = sum(one.busy for one in self.services.broker.views(None, None))
        return {"runs": busy} if busy else None

    async def _warm_up(self, registry: Registry) -> None:
        """MLflow's import and the making of its store take seconds: nobody should wait for them later."""
        try:
            await self.services.in_thread(_warm, registry)
        except ModelError as error:
            self.log.warning("AIOS Lab: %s %s", error.message, error.hint)

    def _slice_changed(self, slice_id: str) -> None:
        if self.services.ready:
            broker = self.services.broker
            living = broker.living(slice_id)
            view = broker.view(slice_id) if living else None
            why = (view.problem or "Its slice was given back.") if view else "Its slice has ended."
            held = broker.holds.runs(slice_id)
            self.services.runs.end_of_slice(slice_id, why, spare=lambda run: run.id in held)
            self._transitions.slice(slice_id, view)
        self.services.feed.changed("slices", "cluster")

    def _run_changed(self, run_id: str, state_changed: bool) -> None:
        run = self.services.runs.brief(run_id)
        if state_changed:
            self._transitions.run(run)
            if run.ended is not None:
                self._unpin(run.slice_id, run.id)
        if run.resumable and run.ended is None:
            self._lower(run)
        self.services.feed.changed("runs")

    def _lower(self, run: Run) -> None:
        try:
            self.services.broker.holds.lower(run.slice_id, run.id, run.min_workers)
        except Refused as refused:
            self.log.warning("AIOS Lab: %s %s", refused.message, refused.hint)

    def _unpin(self, slice_id: str, run_id: str) -> None:
        try:
            self.services.broker.holds.unpin(slice_id, run_id)
        except Refused as refused:
            self.log.warning("AIOS Lab: %s %s", refused.message, refused.hint)

    def _job_changed(self, job: Job) -> None:
        if self.services.ready:
            self.services.catalogue.changed()
        self.services.feed.changed("jobs", "models")

    @staticmethod
    def _processes(engine: Engine, broker: Broker) -> dict[str, tuple[int, ...]]:
        found = {one.id: engine.info(one.id) for one in broker.views(None)}
        return {slice_id: info.pids for slice_id, info in found.items() if info is not None}

    def _kernel_processes(self, broker: Broker) -> dict[str, int]:
        assert self.serverapp is not None
        kernels = self.serverapp.kernel_manager
        found = {}
        for one in broker.views(None):
            if one.kernel_id is not None and one.kernel_id in kernels:
                found[one.id] = getattr(kernels.get_kernel(one.kernel_id).provisioner, "pid", None)
        return {slice_id: pid for slice_id, pid in found.items() if pid is not None}

    @property
    def folder(self) -> Path:
        return Path(self.data_dir).expanduser().absolute()

    @property
    def runs_dir(self) -> Path:
        return self.folder / "runs"

    def _artifacts(self) -> str:
        return str(self.folder / "models")

    def _ledger_path(self) -> Path:
        if not self.ledger_url:
            return self.folder / "ledger.db"
        try:
            url = make_url(self.ledger_url)
        except ArgumentError as error:
            raise SettingError(f"AIOSLab.ledger_url: {error}") from error
        if url.get_backend_name() != "sqlite" or not url.database:
            raise SettingError(
                f"AIOSLab.ledger_url is {url.render_as_string()}; the ledger can only be a SQLite file, "
                "written as sqlite:////folder/ledger.db."
            )
        return Path(url.database).absolute()

    def _quotas_path(self) -> Path:
        return Path(self.quotas).expanduser() if self.quotas else self.folder / "quotas.yaml"

    def _mlflow(self) -> str:
        return self._mlflow_uri

    def _default_claim(self) -> ClaimRequest:
        try:
            return ClaimRequest.model_validate(dict(self.default_claim))
        except ValidationError as error:
            raise SettingError(f"AIOSLab.default_claim: {sentence(error)}") from None

    def _emit(self, schema: str, data: dict[str, Any]) -> None:
        self._emit_here(schema, data)
        self._leading.emit(schema, data)

    def _emit_here(self, schema: str, data: dict[str, Any]) -> None:
        assert self.serverapp is not None
        assert self.serverapp.event_logger is not None
        self.serverapp.event_logger.emit(schema_id=schema, data=data)

    def _places(self) -> dict[str, str]:
        """Where runs and models are kept: the same for the kernels of all servers that use this broker."""
        return {
            "AIOS_MLFLOW_URI": self._mlflow(),
            "AIOS_ARTIFACTS": self._artifacts(),
            "AIOS_RUNS": str(self.runs_dir),
        }

    def _kernel_environment(self) -> dict[str, str]:
        assert self.serverapp is not None
        variables = {"AIOS_URL": _url(self.serverapp), **(self._peers.places or self._places())}
        if self.serverapp.certfile:
            variables["AIOS_CA"] = os.path.abspath(self.serverapp.certfile)
        return variables


def _warm(registry: Registry) -> None:
    with without_pandas():
        registry.warm()


def _url(serverapp: ServerApp) -> str:
    """Where a kernel on this machine reaches the server."""
    url = urlsplit(serverapp.connection_url)
    if serverapp.ip in ("", "*", "0.0.0.0", "::"):
        url = url._replace(netloc=f"127.0.0.1:{serverapp.port}")
    return urlunsplit(url).rstrip("/")


launch = AIOSLab.launch_instance
