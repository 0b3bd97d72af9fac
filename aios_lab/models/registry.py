"""The registry: versions of models in MLflow, where stock clients see them, and their bundles in a folder.

What we know of a version stands in tags of the MLflow model version (``aios.digest``, ``aios.parent``,
``aios.metric.accuracy`` …), so that any MLflow client can search it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios_lab.wire import CompressReport, CompressRequest, LayerReport, Measure, Model, ModelVersion

from . import artifacts, bundle
from .artifacts import Artifacts
from .errors import BadBundle, BadRequest, NotFound
from .records import DIGEST, tags_of, view_of
from .store import Store, plain_errors
from .values import check_name, clean_metrics

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as Entity
    from torch import nn

    from .compression import Progress

_PAGE = 1000
_UPLOAD = "model"  # folder of a bundle among a remote run's artifacts
_EXPERIMENT = "aios-models"

Versions = list[ModelVersion]


class Registry:
    """Models by name and version. Opening the store waits for the first use, or for :meth:`warm`.

    Args:
        tracking_uri: of MLflow, such as ``sqlite:////path/mlflow.db`` or ``http://host:5000``.
        artifact_root: folder for the bundles; with an MLflow server it is a cache of what lies there.
    """

    def __init__(self, tracking_uri: str, artifact_root: str | os.PathLike[str]) -> None:
        self.store = Store(tracking_uri)
        self.artifacts = Artifacts(Path(artifact_root))

    def warm(self) -> None:
        """Import MLflow and open the store, which takes seconds; call it from a thread.

        Raises:
            RegistryUnavailable: the store does not answer.
        """
        self.store.client()

    def stamp(self) -> object:
        """Differs when somebody, in whatever process, may have changed the registry since; None while
        nobody knows. Cheap, but it reads a file.
        """
        return self.store.stamp()

    def register(
        self,
        model: nn.Module | str | os.PathLike[str],
        name: str,
        *,
        example: Any = None,
        evaluation: Any = None,
        metrics: Mapping[str, float] | None = None,
        run_id: str | None = None,
        mlflow_run_id: str | None = None,
        parent: int | None = None,
        method: str | None = None,
        transforms: list[dict[str, Any]] | None = None,
        user: str = "",
    ) -> ModelVersion:
        """Make a new version of a model. The bundle is on disk before the version exists.

        Args:
            model: a module, or the folder of a bundle that was saved before.
            example, evaluation, transforms: see :func:`.bundle.save`; only with a module.
            metrics: numbers to keep; with a bundle they are added to its own.
            run_id: our run that made it; ``mlflow_run_id`` is that run in MLflow.
            parent: the version of the same name that it was derived from, and ``method`` how.

        Raises:
            BadRequest, NotStorable, BadBundle: something about the model or the arguments.
            RegistryUnavailable: MLflow does not answer; nothing was changed.
        """
        check_name(name)
        given = clean_metrics(metrics)
        client = self.store.client()
        with self.artifacts.workspace() as workspace:
            folder = workspace / "bundle"
            if isinstance(model, str | os.PathLike):
                if example is not None or evaluation is not None:
                    raise BadRequest(
                        "A saved bundle has its example and evaluation data already.",
                        "Give them when the bundle is saved, or register the model itself.",
                    )
                made = artifacts.copy(Path(model), folder)
            else:
                made = bundle.save(
                    folder, model, example=example, evaluation=evaluation, metrics=given, name=name,
                    transforms=transforms,
                )  # fmt: skip
            source = self.artifacts.adopt(made)
        tags = tags_of(
            made, {**made.metrics, **given}, parent=parent, run_id=run_id, method=method, user=user
        )
        with plain_errors(self.store.uri):
            _ensure_model(client, name)
            return view_of(self._create(client, name, source, tags, mlflow_run_id))

    def _create(
        self, client: MlflowClient, name: str, source: Path, tags: dict[str, str], run: str | None
    ) -> Entity:
        if not self.store.remote:
            return client.create_model_version(name, str(source), run_id=run, tags=tags)
        # A server takes no local path: the bundle goes up with a run of its own.
        experiment = client.get_experiment_by_name(_EXPERIMENT)
        number = experiment.experiment_id if experiment else client.create_experiment(_EXPERIMENT)
        upload = client.create_run(number, run_name=name, tags=tags)
        client.log_artifacts(upload.info.run_id, str(source), _UPLOAD)
        client.set_terminated(upload.info.run_id)
        where = f"{upload.info.artifact_uri}/{_UPLOAD}"
        return client.create_model_version(name, where, run_id=upload.info.run_id, tags=tags)

    def versions(self, name: str) -> Versions:
        """All versions of a model, newest first.

        Raises:
            NotFound: there is no model of that name.
        """
        check_name(name)
        found = self._search(f"name = '{name}'")
        if not found:
            raise NotFound(f"There is no model called '{name}'.", self._known())
        return found

    def list(self) -> list[Model]:
        """All models by name, each with its versions, newest first. Models that others made in MLflow are not
        among them.
        """
        models: dict[str, Versions] = {}
        for version in self._search(""):
            models.setdefault(version.name, []).append(version)
        return [Model(name=name, versions=models[name]) for name in sorted(models)]

    def get(self, name: str, version: int | None = None) -> ModelVersion:
        """One version, the newest when none is named.

        Raises:
            NotFound: there is no such model or version.
        """
        return view_of(self._entity(name, version))

    def folder(self, name: str, version: int | None = None) -> tuple[Path, ModelVersion]:
        """The folder of a version's bundle, fetched from the server where it is not here, and the version.

        Its content is not verified here; :meth:`load` does that.
        """
        entity = self._entity(name, version)
        view = view_of(entity)
        if not self.store.remote:
            return Path(str(entity.source)), view
        if not self.artifacts.holds(view.digest):
            self._fetch(entity, view)
        return self.artifacts.path(view.digest), view

    def load(self, name: str, version: int | None = None) -> nn.Module:
        """The model on the CPU in evaluation mode, every file compared with its recorded digest.

        Raises:
            NotFound: there is no such model or version.
            BadBundle: its files are missing or were altered.
        """
        folder, view = self.folder(name, version)
        return bundle.load(folder, digest=view.digest)

    def compress(
        self,
        name: str,
        version: int | None = None,
        request: CompressRequest | None = None,
        *,
        user: str = "",
        progress: Progress | None = None,
    ) -> CompressReport:
        """Make a smaller version of a version and measure both; see :mod:`.compression.apply`."""
        from .compression import apply

        return apply.compress(self, name, version, request or CompressRequest(), user, progress)

    def report(self, version: ModelVersion) -> CompressReport | None:
        """What its compression said, from the version's files; None for an original, and where they are not
        here (with an MLflow server they come when the version is loaded).
        """
        if version.method is None:
            return None
        try:
            step = bundle.read(self.artifacts.path(version.digest), check=False).recipe["transforms"][-1]
            return CompressReport(
                version=version,
                before=Measure.model_validate(step["before"]),
                after=Measure(bytes=version.bytes, parameters=version.parameters, metrics=version.metrics),
                layers=[LayerReport.model_validate(layer) for layer in step["layers"]],
            )
        except (BadBundle, LookupError, TypeError, ValueError):  # older versions did not keep it
            return None

    def _fetch(self, entity: Entity, view: ModelVersion) -> None:
        client = self.store.client()
        with self.artifacts.workspace() as workspace, plain_errors(self.store.uri):
            got = client.download_artifacts(str(entity.run_id), _UPLOAD, str(workspace))
            self.artifacts.adopt(bundle.read(got, digest=view.digest))

    def _entity(self, name: str, version: int | None) -> Entity:
        number = self.versions(name)[0].version if version is None else _check_version(version)
        check_name(name)
        client = self.store.client()
        try:
            with plain_errors(self.store.uri):
                entity = client.get_model_version(name, str(number))
        except NotFound:
            numbers = ", ".join(str(item.version) for item in self.versions(name)[:20])
            raise NotFound(f"'{name}' has no version {number}.", f"Its versions are: {numbers}.") from None
        if DIGEST not in entity.tags:
            raise BadBundle(
                f"Version {number} of '{name}' was not registered by AIOS Lab, so it cannot be verified.",
                "Load it with MLflow and register the model with aios.models.register.",
                reason="foreign",
            )
        return entity

    def _search(self, condition: str) -> Versions:
        client = self.store.client()
        found: Versions = []
        token: str | None = None
        with plain_errors(self.store.uri):
            while True:
                page = client.search_model_versions(condition, max_results=_PAGE, page_token=token)
                found += [view_of(entity) for entity in page if DIGEST in entity.tags]
                token = page.token
                if not token:
                    break
        return sorted(found, key=lambda version: -version.version)

    def _known(self) -> str:
        names = [model.name for model in self.list()]
        if not names:
            return "Register one with aios.models.register(model, name)."
        return f"There are: {', '.join(names[:20])}{' …' if len(names) > 20 else ''}."


def _check_version(version: object) -> int:
    if isinstance(version, int) and not isinstance(version, bool) and version >= 1:
        return version
    raise BadRequest(
        f"{version!r} is no version.", "Give a whole number from 1 up; leave it out for the newest."
    )


def _ensure_model(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
