"""What MLflow has of a run, and how it is brought level with the run's folder, as often as there is news."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from aios_lab.training.record.files import Record, RunFolder
from aios_lab.wire import RankUsage, Run, RunData, RunMetric, RunState

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

BATCH = 1000  # metrics a log_batch call may carry
DIGEST = 36  # letters of a data set's digest that MLflow takes; the profile has all
STATUS = {RunState.FINISHED: "FINISHED", RunState.STOPPED: "KILLED", RunState.FAILED: "FAILED"}
MEGABYTE = 1e6

Value = tuple[str, float, int, int]  # as MLflow's Metric: name, value, milliseconds since the epoch, step


class MlflowRun:
    """One run on its way from its folder to MLflow. ``cursor`` says how far it came; each part is noted in
    the folder as soon as MLflow has it, so that a crash repeats little and loses nothing."""

    def __init__(self, client: MlflowClient, experiment: str, folder: RunFolder, record: Record) -> None:
        self._client = client
        self._experiment = experiment
        self._folder = folder
        self._record = record
        self._run = record.run
        self.cursor = folder.cursor()

    @property
    def id(self) -> str:
        """MLflow's id of the run, which is made there when it is not known."""
        if not self.cursor.mlflow_run_id:
            self.cursor.mlflow_run_id = self._known() or self._create()
            self._note()
        return self.cursor.mlflow_run_id

    def sync(self) -> None:
        """Write what MLflow lacks."""
        self._sync_data()
        self._sync_metrics()
        self._sync_usage()
        self._sync_resizes()
        self._sync_model()
        if self._run.ended is not None:
            self._end()

    def _note(self) -> None:
        self._folder.write_cursor(self.cursor)

    def _known(self) -> str:
        """A crash between MLflow's answer and our note of it must not make a second run of this one."""
        tag = f"tags.`aios.run` = '{self._run.id}'"
        known = self._client.search_runs([self._experiment], tag, max_results=1)
        return str(known[0].info.run_id) if known else ""

    def _create(self) -> str:
        run, source = self._run, self._record.request.source
        tags = {
            "mlflow.user": run.user,
            "mlflow.source.name": run.name,
            "aios.run": run.id,
            "aios.user": run.user,
            "aios.slice": run.slice_id,
            "aios.source": source[:5000],
        }
        if run.resumed is not None:
            tags["aios.resumed"] = f"{run.resumed.run_id} at step {run.resumed.step}"
        created = self._client.create_run(self._experiment, int(run.created * 1000), tags, run_name=run.name)
        mlflow_run_id = str(created.info.run_id)
        for key, value in _parameters(self._record).items():
            self._client.log_param(mlflow_run_id, key, value)
        if source:
            self._client.log_text(mlflow_run_id, source, "source.py")
        return mlflow_run_id

    def _sync_data(self) -> None:
        from mlflow.entities import DatasetInput, InputTag

        new = [one for one in self._run.data if one.digest not in self.cursor.data]
        if not new:
            return
        tags = [InputTag("mlflow.data.context", "training")]
        inputs = [DatasetInput(_dataset(one), tags) for one in new]
        self._client.log_inputs(self.id, inputs)
        self.cursor.data = [*self.cursor.data, *(one.digest for one in new)]
        self._note()

    def _sync_metrics(self) -> None:
        while True:
            reported, offset = self._folder.metrics(self.cursor.offset)
            if offset == self.cursor.offset:
                return
            self._log([value for metric in reported for value in _metric_values(metric)])
            self.cursor.offset = offset
            self._note()

    def _sync_usage(self) -> None:
        measured, offset = self._folder.usage(self.cursor.usage)
        if offset == self.cursor.usage:
            return
        joules, values = self.cursor.joules, list[Value]()
        for one in measured:
            values += _usage_values(one, self._run)
            if one.joules is not None:
                joules += one.joules
                values.append(("system/energy_joules", joules, *_moment(one.time, self._run)))
        self._log(values)
        self.cursor.usage, self.cursor.joules = offset, joules
        self._note()

    def _sync_resizes(self) -> None:
        """The number of ranks as a metric: a chart shows it beside the loss."""
        new = [one for one in self._run.resizes if one.time > self.cursor.resized]
        if not new:
            return
        begun = [("ranks", float(new[0].before), _milliseconds(self._run.created), 0)]
        changed = [("ranks", float(one.after), _milliseconds(one.time), one.step) for one in new]
        self._log([*([] if self.cursor.resized else begun), *changed])
        self.cursor.resized = new[-1].time
        self._note()

    def _sync_model(self) -> None:
        model = self._record.model
        if model and model != self.cursor.model:
            self._client.log_artifacts(self.id, model, "model")
            self.cursor.model = model
            self._note()

    def _end(self) -> None:
        run = self._run
        if run.error:
            self._client.set_tag(self.id, "aios.error", run.error[:5000])
        self._log(_costs(run))
        self._client.log_dict(self.id, _slice_history(run), "slice_history.json")
        for log in sorted(self._folder.path.glob("rank*.log")):
            if log.is_symlink() or not log.is_file():  # made by the user's own code
                continue
            self._client.log_artifact(self.id, str(log), "logs")
        ended = _milliseconds(run.ended or run.created)
        self._client.set_terminated(self.id, STATUS[run.state], ended)
        self.cursor.ended = True
        self._note()

    def _log(self, values: list[Value]) -> None:
        from mlflow.entities import Metric

        for start in range(0, len(values), BATCH):
            self._client.log_batch(self.id, metrics=[Metric(*one) for one in values[start : start + BATCH]])


def _metric_values(metric: RunMetric) -> list[Value]:
    stamp = _milliseconds(metric.time)
    return [(_name(key), value, stamp, metric.step) for key, value in metric.values.items()]


def _usage_values(usage: RankUsage, run: Run) -> list[Value]:
    """Named as MLflow names its own system metrics, which it shows on a page of their own."""
    values = {
        "cpu_utilization_percentage": usage.cpu,
        "memory_usage_megabytes": usage.memory / MEGABYTE,
        "gpu_utilization_percentage": usage.gpu,
        "gpu_memory_usage_megabytes": None if usage.gpu_memory is None else usage.gpu_memory / MEGABYTE,
    }
    moment = _moment(usage.time, run)
    return [
        (f"system/rank_{usage.rank}/{name}", value, *moment)
        for name, value in values.items()
        if value is not None
    ]


def _moment(time: float, run: Run) -> tuple[int, int]:
    """Milliseconds since the epoch, and as the step the seconds since the run was begun."""
    return _milliseconds(time), max(0, int(time - run.created))


def _costs(run: Run) -> list[Value]:
    """What resizes and failures cost the run."""
    if not (run.resizes or run.lost.steps or run.lost.seconds):
        return []
    costs = {
        "resizes": len(run.resizes),
        "steps_redone": run.lost.steps,
        "seconds_paused": run.lost.seconds,
    }
    stamp = _milliseconds(run.ended or run.created)
    return [(name, float(value), stamp, run.step) for name, value in costs.items()]


def _slice_history(run: Run) -> dict[str, Any]:
    return {
        "slice": run.slice_id,
        "attempts": run.attempt + 1,
        "ranks": [one.model_dump() for one in run.ranks],
        "resizes": [one.model_dump() for one in run.resizes],
        "lost": run.lost.model_dump(),
        "checkpoints": [one.model_dump() for one in run.checkpoints],
    }


def _dataset(data: RunData) -> Any:
    from mlflow.entities import Dataset

    return Dataset(
        name=data.name[:500],
        digest=data.digest.removeprefix("sha256:")[:DIGEST],
        source_type="aios",
        source=data.source[:65535],
        profile=json.dumps({"digest": data.digest, "num_rows": data.rows}),
    )


def _parameters(record: Record) -> dict[str, str]:
    request = record.request
    own: dict[str, Any] = {
        "strategy": request.strategy,
        "world_size": request.world_size,
        "total_steps": request.total_steps,
        "total_epochs": request.total_epochs,
        **request.options,
    }
    given = {**{key: value for key, value in own.items() if value is not None}, **request.parameters}
    return {_name(key): str(value)[:6000] for key, value in given.items()}


def _name(key: str) -> str:
    """``key`` in the letters that MLflow takes for names of metrics and parameters."""
    return re.sub(r"[^\w.\- /]", "_", key)[:250].strip("/ .") or "_"


def _milliseconds(time: float) -> int:
    return int(time * 1000)
