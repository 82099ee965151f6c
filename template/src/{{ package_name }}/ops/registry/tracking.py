"""The registry in MLflow: one run per bundle, its version, the aliases and the log of promotions.

The log is made of tags of the registered model, one per promotion and never written again. So it
lies where the aliases lie: on any server, seen by everyone, with no store beside it, and two
machines that promote at once lose nothing.

MLflow is imported when a store is opened, not before: that takes seconds.
"""

import json
import logging
import os
import re
import shutil
import ssl
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.error import HTTPError

import msgspec

from ..bundle import MANIFEST, UNKNOWN, Bundle, Origin, sign
from ..command import NOTHING
from ..errors import UserError, shortly
from ..project import Project

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import RunData

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"

ACCEPTED, REFUSED, PENDING = "accepted", "refused", "pending"
"""What became of a version; `pending` is accepted, with its aliases still to be set."""

ROLLED_BACK = "rolled_back"
"""The tag of a version that a rollback took out of service: when that was, in UTC."""

FOLDER, CODE, CHANGES, PATCH = "bundle", "code", "changes", "sources.patch"
"""Where a run keeps the bundle among its artifacts, the code behind its features, and what no
commit had of the sources."""

PATIENCE = 5.0
"""Seconds that a server has to answer for the first time."""

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",  # the bucket may be the server's alone
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""How MLflow behaves here, unless the environment says otherwise."""

AUTOMATIC = "passed every gate (registry.promote is auto)"
"""Why no person was asked; the log of earlier releases says it in these words, too."""

EVENT = re.compile(r"promotion \d{8}T\d{6}\.\d{6}Z")


@dataclass(frozen=True)
class Version:
    """One registered model; its story is told by its tags."""

    number: int
    run: str
    created: datetime
    tags: Mapping[str, str]

    @property
    def digest(self) -> str:
        """The digest of its bundle; empty if something else registered it."""
        return self.tags.get("bundle", "")

    @property
    def status(self) -> str:
        """One of `ACCEPTED`, `REFUSED` and `PENDING`; empty if something else registered it."""
        return self.tags.get("status", "")

    @property
    def rolled_back(self) -> bool:
        """Whether a rollback took it out of service, and nobody brought it back."""
        return bool(self.tags.get(ROLLED_BACK))

    @property
    def gates(self) -> list[dict[str, Any]]:
        """The verdicts of all gates, as `Gate.to_dict` tells them."""
        verdicts: list[dict[str, Any]] = json.loads(self.tags.get("gates", "[]"))
        return verdicts

    @property
    def origin(self) -> Origin:
        """What a copy of its bundle says of itself."""
        commit, data = (self.tags.get(key, UNKNOWN) for key in ("git.commit", "dvc.train"))
        created = self.created.isoformat(timespec="seconds")
        return Origin(str(self.number), commit, data, created)


@dataclass(frozen=True)
class Promotion:
    """One change of the champion."""

    at: str
    """When, in UTC, as ISO 8601."""
    version: int
    before: int | None
    by: str
    why: str
    kind: Literal["promotion", "rollback", "found"] = "promotion"
    """`found`: the alias had been moved without a word in the log."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What spoke for it: the scores of both versions on one holdout, and the gates."""

    @property
    def by_person(self) -> bool:
        """Whether a person is known to have wanted this version."""
        return self.kind == "promotion" and self.why != AUTOMATIC


class Search(NamedTuple):
    """A search of `ops tune`: when, how many trials, and the model and the parameters that won."""

    at: datetime
    trials: int
    model: str
    won: dict[str, str]


def address(project: Project) -> str:
    """Where MLflow keeps runs and versions: MLFLOW_TRACKING_URI, or a file of the project."""
    own = f"sqlite:///{(project.root / 'mlflow.db').as_posix()}"
    return os.environ.get("MLFLOW_TRACKING_URI") or own


def presentable(address: str) -> str:
    """An address that may be shown: without name and password."""
    return re.sub(r"//[^/@]*@", "//", address)


def reach(address: str) -> None:
    """Knock at a server over HTTP, so that one that is down costs seconds and not minutes.

    A UserError if nobody answers. Any answer will do here: MLflow itself says what is wrong.
    """
    if not address.startswith(("http://", "https://")):
        return
    plain = presentable(address)
    try:
        urllib.request.urlopen(f"{plain.rstrip('/')}/health", timeout=PATIENCE).close()  # nosec B310
    except HTTPError:
        return
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        if not isinstance(reason, ssl.SSLError):
            raise UserError(
                f"The MLflow server {plain} does not answer ({reason}); "
                "start it, or mend MLFLOW_TRACKING_URI."
            ) from None


@contextmanager
def connected(project: Project) -> Iterator["Store"]:
    """Open the store of a project; a UserError for what MLflow refuses, in its own words."""
    where = address(project)
    reach(where)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        yield Store(project, MlflowClient(where))
    except (MlflowException, SQLAlchemyError) as error:
        raise UserError(f"MLflow at {presentable(where)} says: {shortly(error)}") from error


class Store:
    """The runs and versions of one project."""

    def __init__(self, project: Project, client: "MlflowClient") -> None:
        """Use `connected` instead, which words its errors."""
        self.project, self.name = project, project.name
        self._client = client
        self._artifacts = project.root / "mlartifacts"
        self._served = client.tracking_uri.startswith(("http://", "https://", "databricks"))
        self._own = not os.environ.get("MLFLOW_TRACKING_URI")
        """Whether the store is the project's own file, and not one that others share."""

    def find(self, digest: str) -> Version | None:
        """The version that holds the bundle with this digest."""
        return next(self._search(f" and tags.bundle = '{digest}'"), None)

    def version(self, number: int) -> Version | None:
        """The version with this number."""
        return next(self._search(f" and version_number = {number}"), None)

    def versions(self) -> list[Version]:
        """Every version, the oldest first."""
        return sorted(self._search(), key=lambda version: version.number)

    def aliases(self) -> dict[str, int]:
        """Which version each alias names."""
        model = self._model()
        return {} if model is None else {a: int(number) for a, number in model.aliases.items()}

    def promotions(self) -> list[Promotion]:
        """The log, the oldest first."""
        model = self._model()
        tags = {} if model is None else model.tags
        # What a later release writes besides is left out.
        read = msgspec.json.Decoder(Promotion).decode
        return [read(tags[key]) for key in sorted(tags) if EVENT.match(key)]

    def known(self, version: Version) -> "RunData":
        """What was measured of a version, `metrics`, and the `params` that it was trained by."""
        return self._client.get_run(version.run).data

    def search(self) -> Search:
        """The last search of `ops tune`; a LookupError if there was none."""
        own = [self._experiment]
        run = self._client.search_runs(own, "tags.search LIKE '%'", max_results=1)[0]
        tried = self._client.search_runs(own, f"tags.mlflow.parentRunId = '{run.info.run_id}'")
        (best,) = [its for its in tried if its.data.tags["chosen"] == "true"]
        at = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
        return Search(at, len(tried), best.info.run_name.split()[-1], dict(best.data.params))

    def log(
        self,
        known_by: tuple[str, str],
        title: str,
        *,
        tags: Mapping[str, str] = NOTHING,
        params: Mapping[str, Any] = NOTHING,
        metrics: Mapping[str, float | Sequence[float]] = NOTHING,
        folders: Mapping[str, Path] = NOTHING,
    ) -> str:
        """Write a run, which a tag tells from all others, and return its id.

        One that was cut short is taken up again, so that a kill leaves neither two runs nor half a
        one. What MLflow lets nobody change, the parameters, stays. A metric of several values has
        one for each step.
        """
        from mlflow.entities import Metric, Param, RunTag

        client, experiment, (tag, its) = self._client, self._experiment, known_by
        known = client.search_runs([experiment], f"tags.{tag} = '{its}'", max_results=1)
        run = known[0] if known else client.create_run(experiment, None, {tag: its}, title)
        identifier: str = run.info.run_id
        now = int(datetime.now(UTC).timestamp() * 1000)
        client.log_batch(
            identifier,
            [
                Metric(key, value, now, step)
                for key, values in metrics.items()
                for step, value in enumerate(values if isinstance(values, Sequence) else [values])
            ],
            [Param(key, str(value)) for key, value in params.items() if key not in run.data.params],
            [RunTag(key, value) for key, value in tags.items()],
        )
        for name, folder in folders.items():
            client.log_artifacts(identifier, str(folder), name)
        client.set_terminated(identifier)
        return identifier

    def nest(
        self,
        parent: str,
        title: str,
        params: Mapping[str, Any],
        score: str,
        folds: Sequence[float],
        *,
        chosen: bool,
        **metrics: float,
    ) -> None:
        """Write what was tried as a run beneath another one: its score on each fold, and more."""
        tags = {"mlflow.parentRunId": parent, "chosen": str(chosen).lower()}
        measured: dict[str, float | Sequence[float]] = {f"{score}.fold": folds, **metrics}
        measured |= {score: fmean(folds)} if folds else {}
        self.log(("tried", f"{parent} {title}"), title, tags=tags, params=params, metrics=measured)

    def create(self, run: str, description: str, tags: Mapping[str, str]) -> Version:
        """Register the bundle of a run as the next version, with all its tags at once."""
        if self._model() is None:
            self._client.create_registered_model(self.name)
        source = f"{self._client.get_run(run).info.artifact_uri}/{FOLDER}"
        created = self._client.create_model_version(
            self.name, source, run, tags=dict(tags), description=description
        )
        return _version(created)

    def tag(self, version: Version, **tags: str | None) -> Version:
        """Set tags of a version, or take away those that are None; give the changed version."""
        for key, value in tags.items():
            if value is None:
                self._client.delete_model_version_tag(self.name, str(version.number), key)
            else:
                self._client.set_model_version_tag(self.name, str(version.number), key, value)
        known = {key: value for key, value in {**version.tags, **tags}.items() if value is not None}
        return replace(version, tags=known)

    def alias(self, alias: str, number: int | None) -> None:
        """Let an alias name a version, or none."""
        if number is not None:
            self._client.set_registered_model_alias(self.name, alias, str(number))
        elif alias in self.aliases():
            self._client.delete_registered_model_alias(self.name, alias)

    def record(self, promotion: Promotion) -> None:
        """Append to the log."""
        key = f"promotion {datetime.fromisoformat(promotion.at):%Y%m%dT%H%M%S.%fZ}"
        value = json.dumps(asdict(promotion), ensure_ascii=False)
        self._client.set_registered_model_tag(self.name, key, value)

    def fetch(self, version: Version, folder: Path) -> None:
        """Copy the bundle of a version into a new folder, and say beside it where it comes from.

        A UserError if its files are gone, or are not the ones that were registered.
        """
        with self.artifact(version, FOLDER, "files") as source:
            shutil.copytree(source, folder)
        if not (folder / MANIFEST).exists() or Bundle(folder).digest != version.digest:
            raise UserError(
                f"The files of version {version.number} are not the ones that were registered; "
                "promote another version."
            )
        sign(folder, version.origin)

    def changes(self, version: Version) -> bytes | None:
        """What no commit had when a version was trained, see `lineage`; None if all had it."""
        if not version.tags.get("git.changes"):
            return None
        with self.artifact(version, CHANGES, "changes") as source:
            return (source / PATCH).read_bytes()

    @contextmanager
    def artifact(self, version: Version, name: str, what: str) -> Iterator[Path]:
        """A folder of a version's artifacts, for the block; a UserError if it is gone."""
        # Found by run, not by the address in the store: the project may have been moved.
        here = self._artifacts / version.run / "artifacts" / name
        with TemporaryDirectory() as aside:
            if not (self._own or here.is_dir()):
                here = Path(self._client.download_artifacts(version.run, name, aside))
            if not here.is_dir():
                raise UserError(
                    f"The {what} of version {version.number} are gone from {here}; name another "
                    "version, or run `make train`."
                )
            yield here

    def delete(self, names: Sequence[str]) -> None:
        """Let a server delete artifacts, each named by its run and its path."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        for run, _, path in (name.partition("/") for name in names):
            place, at = self._client.get_run(run).info.artifact_uri, self._client.tracking_uri
            get_artifact_repository(place, at).delete_artifacts(path)  # type: ignore[no-untyped-call]

    @cached_property
    def _experiment(self) -> str:
        """The experiment of the project, made if need be.

        A server decides where files go; a database alone leaves them to the project. An
        experiment remembers their absolute folder, so a project that was moved, or is mounted
        elsewhere in a container, goes on in an experiment of that place.
        """
        location = None if self._served else self._artifacts.as_uri()
        name = self.name
        found = self._client.get_experiment_by_name(name)
        if found and self._own and found.artifact_location != location:
            name = f"{name} in {self.project.root.as_posix()}"
            found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name, location))

    def _model(self) -> Any:
        """The registered model as MLflow has it; None if there is none yet."""
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _search(self, condition: str = "") -> Iterator[Version]:
        token = None
        while token is None or token:
            page = self._client.search_model_versions(
                f"name = '{self.name}'{condition}", page_token=token
            )
            yield from map(_version, page)
            token = page.token or ""


def _version(entity: Any) -> Version:
    created = datetime.fromtimestamp(entity.creation_timestamp / 1000, UTC)
    return Version(int(entity.version), entity.run_id, created, entity.tags)
