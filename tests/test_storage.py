"""Data and models that are kept beyond the machine, at each kind of place: moved, fetched again."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import polars as pl
import pytest
import stores
from project import PROFILES, Project, begin, copied, kept
from render import ROOT, choices, run
from servers import StandIn, registry, service, stand_in
from workflows import merged, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from _pytest.mark import ParameterSet
    from stores import Store

PAGE = ROOT / "template" / "docs" / "ops" / "storage.md"
COPY = """
import sys
from pathlib import Path
from my_model.ops.storage.places import Place
address, file, verb = sys.argv[1:]
getattr(Place.at(address), verb)(Path(file))
"""
ADDRESSES = """
import sys
from my_model.ops.errors import UserError
from my_model.ops.storage.places import Place
for address in sys.argv[1:]:
    try:
        Place.at(address)
    except UserError as error:
        print(error)
"""
REFUSED = {
    "storage": "is no such address; begin it with one of azure://, gs://, s3://, ssh://.",
    r"C:\data": "is no such address",
    "gcs://bucket": "is no such address",
    "https://bucket.s3.amazonaws.com/data": "is no such address",
    "gs://bucket/data": "requires 'dvc-gs' to be installed; docs/ops/storage.md",
    "s3://": "names no bucket, container or host",
    "s3:///data": "names no bucket, container or host",
    "s3:bucket/data": "names no bucket, container or host",
    "s3://[bucket]/data": "cannot be used: 'bucket' does not appear to be an IP",
    "s3://ada:secret@bucket/data": "Leave passwords, keys and tokens out of it: s3://…",
    "s3://secret@bucket/data": "Leave passwords, keys and tokens out of it: s3://…",
    "azure://container/data?sig=secret": "Leave passwords, keys and tokens out of it: azure://…",
    "ssh://ada:secret@host/data": "Leave passwords, keys and tokens out of it: ssh://…",
}
"""Addresses that people type in a project whose data are kept on S3, and what each is told."""
OPS = "import sys; from my_model.ops.cli import main; sys.exit(main(sys.argv[1:]))"
PLACES = {"s3": "mail", "gcs": "regression", "azure": "inside", "ssh": "own-data"}
"""By answer, a profile that has it."""
ARTIFACTS = {f"azure://{stores.BUCKET}": f"wasbs://{stores.BUCKET}@any.blob.core.windows.net"}
"""Addresses that MLflow has others for; the account is the one of the login."""


def rarely(*answers: str) -> list[ParameterSet]:
    """Kinds of places that are tried every night only."""
    return [pytest.param(answer, marks=pytest.mark.exhaustive) for answer in answers]


def policy() -> dict[str, Any]:
    """What the page asks AWS for."""
    found = re.search(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    asked: dict[str, Any] = json.loads(found[1].replace("BUCKET", stores.BUCKET))
    return asked


def place(answer: str, folder: Path) -> Any:  # noqa: ANN401  one of four
    """A server of the kind that an answer names."""
    return stores.s3(folder, policy()) if answer == "s3" else getattr(stores, answer)(folder)


@pytest.fixture(scope="module", params=PLACES)
def answer(request: pytest.FixtureRequest) -> str:
    """Each kind of place in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def store(answer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A server of that kind."""
    with place(answer, tmp_path_factory.mktemp(answer)) as there:
        yield there


@pytest.fixture(scope="module")
def project(
    answer: str,
    store: Store,
    trained: Callable[[str], Project],
    tmp_path_factory: pytest.TempPathFactory,
) -> Project:
    """A trained project with that answer, and with the right key; what it has is pushed."""
    name = PLACES[answer]
    own = copied(trained(name), PROFILES[name], tmp_path_factory.mktemp(name))
    project = replace(own, environment={**own.environment, **store.variables})
    project.run("make", "push")
    project.run("uv", "run", "python", "-c", store.prepare)
    return project


@pytest.fixture(scope="module")
def watched(
    answer: str,
    store: Store,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Project:
    """A project with that answer which has a service, and a log of what that answers."""
    if PROFILES[PLACES[answer]].answers["monitoring"]:
        found: Project = request.getfixturevalue("project")
        return found
    mail, folder = PROFILES["mail"], tmp_path_factory.mktemp(answer) / "watched"
    profile = replace(mail, answers={**mail.answers, "storage": answer})
    template, machine = (request.getfixturevalue(name) for name in ("template", "machine"))
    begin(template, profile, machine, folder)
    project = kept(profile, folder, {**machine, **store.variables})
    project.run("uv", "run", "python", "-c", store.prepare)
    return project


def held(folder: Path) -> set[str]:
    """The files in a folder."""
    return {it.relative_to(folder).as_posix() for it in folder.rglob("*") if it.is_file()}


def test_every_place_is_tried() -> None:
    assert ["folder", *PLACES] == choices("storage")
    assert all(PROFILES[name].answers["storage"] == its for its, name in PLACES.items())


def test_an_address_that_will_not_do_is_named(trained: Callable[[str], Project]) -> None:
    """And what is secret in one is not repeated, and does not come to git."""
    mail = trained("mail")
    for url in ("", "storage", "gcs://bucket", "s3://ada:secret@bucket/data", "s3://bucket/größe"):
        told = mail.refuse("uv", "run", "ops", "storage", url, code=2)
        assert len(told.splitlines()) == 1
        assert "secret" not in told
    said = mail.run("uv", "run", "python", "-c", ADDRESSES, *REFUSED).splitlines()
    for address, sentence, line in zip(REFUSED, REFUSED.values(), said, strict=True):
        assert sentence in line, address
        assert "secret" not in line


def test_an_address_of_this_machine_s_own_is_told_of(project: Project, store: Store) -> None:
    """It would win over the one that git keeps, and data would go on to go there."""
    local = project.root / ".dvc" / "config.local"
    local.write_text("['remote \"storage\"']\n    url = mine\n")
    said = project.refuse("uv", "run", "ops", "storage", f"{store.root}/data", code=2)
    local.unlink()
    assert said.startswith("ops storage: .dvc/config.local hides any new address")
    assert project.changes() == set()


def test_a_wrong_key_changes_nothing(project: Project, store: Store) -> None:
    if not store.wrong:
        assert store.root.startswith("gs://"), "all others ask for a key"
        return
    address = f"{store.root}/data"
    stranger = replace(project, environment={**project.environment, **store.wrong})
    said = stranger.refuse("uv", "run", "ops", "storage", address, code=2)
    assert re.fullmatch(rf"ops storage: {re.escape(address)} .*{store.refusal}.*\n", said)
    assert project.changes() == set()


def test_data_and_models_are_moved_and_fetched(
    project: Project, store: Store, tmp_path: Path
) -> None:
    """All that the old place holds, once, and what is new; a clone then has what its origin has."""
    address = f"{store.root}/data"
    storage = project.root / ".dvc" / "storage"
    (storage / "files" / "note").write_text("what nobody knows of")
    count = len(held(storage))
    assert f"{count} files copied from {storage}." in project.run(
        "make", "storage", f"URL={address}"
    )
    inner = project.run("git", "rev-parse", "--show-prefix").strip()
    assert project.changes() == {f"{inner}.dvc/config"}
    assert "copied" not in project.run("make", "storage", f"URL={address} ")
    (project.root / "data" / "more.csv").write_text("more\n")
    project.run("uv", "run", "dvc", "add", "data/more.csv")
    project.commit("Keep data elsewhere")
    project.run("make", "push")
    top = project.run("git", "rev-parse", "--show-toplevel").strip()
    project.run("git", "clone", "--quiet", top, str(tmp_path / "clone"))
    clone = replace(project, root=tmp_path / "clone" / inner)
    clone.run("make", "pull")
    assert clone.run("uv", "run", "dvc", "status").strip() == "Data and pipelines are up to date."
    assert (clone.root / "data" / "more.csv").read_text() == "more\n"
    back = f"{store.root}/again"
    moved = project.run("make", "storage", f"URL={back}")
    assert f"{count + 1} files copied from {address}." in moved

    shutil.rmtree(clone.root / ".dvc" / "cache")
    page = (clone.root / "docs" / "ops" / "storage.md").read_text().partition("Back to a folder")
    for command in page[2].split("```")[1].splitlines()[1:]:
        clone.run(*command.split())
    assert len(held(clone.root / ".dvc" / "storage")) == count  # all but what no commit knows
    shutil.rmtree(clone.root / ".dvc" / "cache")
    clone.run("make", "pull")
    assert clone.run("uv", "run", "dvc", "status").strip() == "Data and pipelines are up to date."


@pytest.mark.exhaustive
@pytest.mark.parametrize("answer", ["s3"], indirect=True)
def test_data_move_to_another_kind_of_place(project: Project, store: Store, tmp_path: Path) -> None:
    """With a package that the project itself does not have."""
    (command,) = re.findall(r"uv run --with .*", PAGE.read_text())
    *lent, _, verb, _ = command.replace("dvc-s3", "dvc-gs").split()
    ops = ("python", "-c", OPS)  # the project's own script asks a process that has no such package
    with stores.gcs(tmp_path) as there:
        both = replace(project, environment={**project.environment, **there.variables})
        said = both.run(*lent, *ops, verb, f"{there.root}/data")
        assert f"Data and models are kept at {there.root}/data" in said
        said = both.run(*lent, *ops, verb, f"{store.root}/back")
        assert f"files copied from {there.root}/data." in said


AZURE_LIBRARY = "azure-identity==1.25.1"
LOGS_IN = r"make (pull|push|storage|trial|log|challenge|propose|promote)\b"
"""What needs the storage."""
SHOWN = """#!/bin/sh
echo "${AWS_ROLE_ARN}${GOOGLE_SERVICE_ACCOUNT}${AZURE_CLIENT_ID} $*"
"""
"""A `uv` that says as whom the cloud's library would log in."""


def jobs(project: Path) -> Iterator[tuple[str, bool]]:
    """The scripts of all jobs, each with whether its job is given a token by its host."""
    for file in sorted(project.glob(".github/workflows/*.yml")):
        for job in read(file)["jobs"].values():
            signed = job["permissions"].get("id-token") == "write"
            yield from ((step["run"], signed) for step in job["steps"] if "run" in step)
    pipeline: dict[str, Any] = {}
    for file in sorted(project.glob(".gitlab*")):
        for part in sorted(file.glob("*.yml")) if file.is_dir() else [file]:
            pipeline = merged(pipeline, read(part))
    for job in pipeline.values():
        if "script" in job:
            token = job.get("id_tokens", {}).get("ID_TOKEN", {})
            yield from ((line, token.get("aud") == "$CI_SERVER_URL") for line in job["script"])


@pytest.mark.parametrize("host", ["github", "gitlab"])
@pytest.mark.parametrize("answer", ["s3", "gcs", "azure"])
def test_each_host_logs_in_to_each_cloud(
    rendered: Callable[..., Path], tmp_path: Path, host: str, answer: str
) -> None:
    """Its jobs have a token; what proposes a change reads, and what keeps data writes."""
    source = rendered(ci=host, storage=answer, deploy="[kubernetes]")
    needed = [(script, signed) for script, signed in jobs(source) if re.match(LOGS_IN, script)]
    scripts = [script.split()[1] for script, _ in needed]
    assert scripts.count("trial") == 3
    assert {"trial", "log", "challenge", "propose", "promote"} == {*scripts}
    assert all(signed for _, signed in needed)

    project = shutil.copytree(source, tmp_path / "project")
    names = {"STORAGE_READER": "a-reader", "STORAGE_WRITER": "a-writer", "STORAGE_REALM": "realm"}
    told = "".join(f"{name} = {value}\n" for name, value in names.items())
    (project / "storage.mk").write_text(told)
    (tmp_path / "uv").write_text(SHOWN)
    (tmp_path / "uv").chmod(0o755)
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith("| audience"))
    place = {"s3": 2, "gcs": 3, "azure": 4}[answer]
    audience = row.split("|")[place].replace(" and the realm", "realm").replace("`", "").strip()
    token = {"github": "ACTIONS_ID_TOKEN_REQUEST_URL", "gitlab": "ID_TOKEN"}[host]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for target, who in {"pull": "a-reader", "push": "a-writer"}.items():
        said = run("make", "--silent", target, cwd=project, env={**environment, token: "signed"})
        assert said.splitlines() == [f"{who} run ops login {audience}", f"{who} run dvc {target}"]
        said = run("make", "--silent", target, cwd=project, env=environment)
        assert said.splitlines() == [f" run dvc {target}"]


GOOGLE = """
import sys
import google.auth
from google.auth.transport.requests import Request
credentials, _ = google.auth.load_credentials_from_file(sys.argv[1])
credentials = credentials.with_scopes(["https://www.googleapis.com/auth/devstorage.read_only"])
credentials.refresh(Request())
print(credentials.token)
"""
AZURE = """
from azure.identity import WorkloadIdentityCredential
WorkloadIdentityCredential()
print("taken")
"""


class Google(StandIn):
    """Trades a token of a host for one of a service account."""

    def answer(self, method: str, path: str, body: str) -> object:
        super().answer(method, path, body)
        if path == "/v1/token":
            kind = "urn:ietf:params:oauth:token-type:access_token"
            lasts = {"issued_token_type": kind, "token_type": "Bearer", "expires_in": 600}
            return {"access_token": "of the pool", **lasts}
        return {"accessToken": "of the account", "expireTime": "2099-01-01T00:00:00Z"}


def logged_in(project: Path, audience: str, **variables: str) -> Path:
    """Let a job of GitLab log in; gives the folder that has what came of it."""
    token = {"ID_TOKEN": "signed", "PYTHONPATH": str(project / "src")}
    command = (sys.executable, "-m", "my_model.ops.cli", "login", audience)
    run(*command, cwd=project, env={**os.environ, **token, **variables})
    return project / "build" / "login"


def test_googles_own_library_takes_the_login(rendered: Callable[..., Path], tmp_path: Path) -> None:
    project = shutil.copytree(rendered(ci="gitlab", storage="gcs"), tmp_path / "project")
    audience, account = "//iam.googleapis.com/projects/7", "reader@company.iam.gserviceaccount.com"
    file = logged_in(project, audience, GOOGLE_SERVICE_ACCOUNT=account) / "google.json"
    with stand_in(Google()) as google:
        text = file.read_text()
        for name in ("sts", "iamcredentials"):
            text = text.replace(f"https://{name}.googleapis.com", google.address)
        file.write_text(text)
        said = run(sys.executable, "-c", GOOGLE, file, cwd=project)
    assert said == "of the account\n"
    (_, traded), (path, _) = google.asked
    sent = {name: value for name, (value,) in parse_qs(traded).items()}
    assert (sent["audience"], sent["subject_token"]) == (audience, "signed")
    assert path == f"/v1/projects/-/serviceAccounts/{account}:generateAccessToken"


def test_azures_own_library_takes_the_login(rendered: Callable[..., Path], tmp_path: Path) -> None:
    """By the variables that `make` exports, each of which is needed."""
    project = shutil.copytree(rendered(ci="gitlab", storage="azure"), tmp_path / "project")
    (project / "storage.mk").write_text("STORAGE_READER = reader\nSTORAGE_REALM = tenant\n")
    (tmp_path / "uv").write_text("#!/bin/sh\nenv | grep ^AZURE_\n")
    (tmp_path / "uv").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    asked = {**os.environ, "PATH": path, "ID_TOKEN": "signed"}
    said = run("make", "--silent", "pull", cwd=project, env=asked)
    exported = dict(line.split("=", 1) for line in said.splitlines())
    token = logged_in(project, "api://AzureADTokenExchange") / "token"
    assert exported.pop("AZURE_FEDERATED_TOKEN_FILE") == str(token)
    assert exported == {"AZURE_CLIENT_ID": "reader", "AZURE_TENANT_ID": "tenant"}
    named = {**exported, "AZURE_FEDERATED_TOKEN_FILE": str(token)}
    command = ("uv", "run", "--quiet", "--no-project", "--with", AZURE_LIBRARY, "python", "-c")
    assert run(*command, AZURE, cwd=project, env={**os.environ, **named}) == "taken\n"
    for name in named:
        others = {key: value for key, value in named.items() if key != name}
        with pytest.raises(AssertionError, match="Missing required arguments"):
            run(*command, AZURE, cwd=project, env={**os.environ, **others})


class Host(StandIn):
    """Signs a token for a job, as GitHub does."""

    def answer(self, method: str, path: str, body: str) -> object:
        super().answer(method, path, body)
        return {"value": "signed"}


def test_a_pipeline_needs_no_key(trained: Callable[[str], Project], tmp_path: Path) -> None:
    """What the host signs is enough to reach S3."""
    project = copied(trained("mail"), PROFILES["mail"], tmp_path)
    roles = {"STORAGE_READER": "reader", "STORAGE_WRITER": "writer"}
    named = [f"{name} = arn:aws:iam::123456789012:role/{role}" for name, role in roles.items()]
    (project.root / "storage.mk").write_text("\n".join([*named, "STORAGE_REALM = us-east-1", ""]))
    shown = tmp_path / "shown" / "uv"
    shown.parent.mkdir()
    shown.write_text('#!/bin/sh\necho "${AWS_ROLE_ARN##*/} $*"\n')
    shown.chmod(0o755)
    path = f"{shown.parent}:{project.environment['PATH']}"
    person = replace(project, environment={**project.environment, "PATH": path})
    job = replace(person, environment={**person.environment, "ID_TOKEN": "of the job"})
    assert "reader run dvc pull" in job.run("make", "pull")
    assert "writer run dvc push" in job.run("make", "push")
    assert person.run("make", "push").endswith("\n run dvc push\n")
    with stores.s3(tmp_path, policy(), free=1_000) as store, stand_in(Host()) as host:
        said = project.run(
            "make",
            "storage",
            f"URL={store.root}/data",
            AWS_ENDPOINT_URL=store.variables["AWS_ENDPOINT_URL"],
            ACTIONS_ID_TOKEN_REQUEST_URL=f"{host.address}/token?api-version=1",
            ACTIONS_ID_TOKEN_REQUEST_TOKEN="of the job",  # noqa: S106
        )
    assert "Data and models are kept at" in said
    assert [path for path, _ in host.asked] == ["/token?api-version=1&audience=sts.amazonaws.com"]


def test_files_are_scored_from_and_to_there(project: Project, store: Store, tmp_path: Path) -> None:
    """As on this machine, byte for byte; a quarantine that is no longer true goes."""

    def copy(name: str, verb: str) -> bytes:
        file = tmp_path / name
        address = f"{store.root}/scores/{name}"
        project.run("uv", "run", "python", "-c", COPY, address, str(file), verb)
        return file.read_bytes()

    good = pl.read_parquet(project.root / "data" / "holdout.parquet")
    nothing = good.head(1).select(
        pl.lit(None, its).alias(name) for name, its in good.schema.items()
    )
    pl.concat([good, nothing]).write_parquet(tmp_path / "rows.parquet")
    copy("rows.parquet", "send")
    came, went = (f"{store.root}/scores/{name}" for name in ("rows.parquet", "scores.csv"))
    score = ("uv", "run", "ops", "score")
    said = project.run(*score, came, went)
    assert f"Sent to {went}." in said
    project.run(*score, str(tmp_path / "rows.parquet"), str(tmp_path / "expected.csv"))
    for name in ("{}.csv", "{}.quarantine.csv"):
        fetched = copy(name.format("scores"), "fetch")
        assert fetched == (tmp_path / name.format("expected")).read_bytes()

    good.write_parquet(tmp_path / "rows.parquet")
    copy("rows.parquet", "send")
    assert "quarantine" not in project.run(*score, came, went)
    with pytest.raises(AssertionError, match="cannot be used"):
        copy("scores.quarantine.csv", "fetch")
    assert not list((project.root / "build" / "scoring").iterdir())


@pytest.mark.parametrize("answer", ["s3", "gcs", *rarely("azure", "ssh")], indirect=True)
def test_the_log_is_fetched_from_there(watched: Project, store: Store, tmp_path: Path) -> None:
    """All of it, or nothing of it."""
    address = f"{store.root}/served"
    logged = {"predictions/1.jsonl": "{}\n", "feedback/2.jsonl": ""}
    for name, text in logged.items():
        (tmp_path / "sent").write_text(text)
        there = f"{address}/{name}"
        watched.run("uv", "run", "python", "-c", COPY, there, str(tmp_path / "sent"), "send")
    log = ("make", "log", "MLFLOW_TRACKING_URI=any")
    served = watched.root / "data" / "served"
    stranger = replace(watched, environment={**watched.environment, **store.wrong})
    there = "cannot be used" if store.root.startswith(("s3", "gs")) else "holds no file"
    cases = [(watched, f"{address}-not", "holds no file"), (watched, f"{store.root}-not", there)]
    cases += [(stranger, address, store.refusal)] * bool(store.wrong)
    for who, where, sentence in cases:
        said = who.refuse(*log, f"LOG_URL={where}", code=2)
        assert re.fullmatch(rf"ops log: {re.escape(where)} .*{sentence}.*\nmake: .*\n", said)
        assert not served.exists()
    watched.run(*log, f"LOG_URL={address}")
    assert {name: (served / name).read_text() for name in held(served)} == logged


@pytest.mark.parametrize("answer", ["s3", *rarely("gcs", "azure")], indirect=True)
def test_a_registry_keeps_its_files_there(watched: Project, store: Store, tmp_path: Path) -> None:
    """The server alone has a key: who registers and who serves ask the server."""
    person = replace(watched, environment={**watched.environment, **store.wrong})
    files = f"{ARTIFACTS.get(store.root, store.root)}/mlflow"
    with registry(watched, tmp_path, files, "registry", **store.variables) as server:
        assert "Version 1 (champion) is registered" in person.run(
            "uv", "run", "ops", "register", MLFLOW_TRACKING_URI=server
        )
        variables = {**person.environment, "BUNDLE": f"{server}/my-model@champion"}
        command = ("uv", "run", "ops", "serve")
        with service(command, watched.root, tmp_path / "said", variables) as served:
            assert served.ask("/predict", served.ask("/example").body).status == 200
