"""The bundle to serve: found in a folder or in a registry, whole, or not at all."""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from my_model.ops import bundle as bundles
from my_model.ops.errors import UserError
from my_model.ops.files import replacing
from my_model.ops.serving.locations import Absent, Unavailable, fetch, locate
from my_model.ops.serving.models import Model
from my_model.ops.serving.reloading import Follower
from my_model.ops.serving.settings import Strictness

COMMIT, DATA = "c" * 40, "d" * 32
CREATED = "2026-10-01T12:00:00+00:00"


class Bundle:
    """The files of a bundle whose model is any text: nobody here asks it anything."""

    def __init__(self, model: str) -> None:
        self.files = {
            "model.onnx": model.encode(),
            "manifest.json": json.dumps({"format": 1, "contract": {"columns": []}}).encode(),
        }
        self.digest = hashlib.sha256(b"".join(self.files.values())).hexdigest()

    def put(self, folder: Path, version: str | None = None, **more: object) -> None:
        """Write it to a folder, as the registry does."""
        with replacing(folder) as aside:
            aside.mkdir()
            for name, content in self.files.items():
                (aside / name).write_bytes(content)
            if version:
                origin = {"version": version, "commit": COMMIT, "data": DATA, **more}
                said = {**origin, "digest": self.digest}
                (aside / "version.json").write_text(json.dumps(said), encoding="utf-8")

    def is_in(self, found: bundles.Bundle) -> bool:
        """Whether it is what was found."""
        return found.digest == self.digest and all(
            (found.folder / name).read_bytes() == content for name, content in self.files.items()
        )


FIRST, SECOND, THIRD = Bundle("first"), Bundle("second"), Bundle("third")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models" / "champion"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    cache = tmp_path / "cache"
    cache.mkdir()
    return cache


class Watch:
    """Follows a folder, and takes bundles for models: nobody here asks them anything."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, optional: bool = False
    ) -> None:
        monkeypatch.setattr(Model, "load", lambda bundle, _: bundle.origin.version)
        self.taken: list[Any] = []
        self.follower = Follower(
            locate(str(folder)), Strictness(), self.taken.append, optional=optional
        )

    def look(self) -> bool:
        """Look once; says whether all is well."""
        self.follower.look()
        return not self.follower.failing


def test_a_bundle_is_taken_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(folder, monkeypatch)
    assert not watch.look()
    FIRST.put(folder, "1")
    for _ in range(2):
        assert watch.look()
    FIRST.put(folder, "1")
    assert watch.look()
    assert watch.taken == ["1"]
    SECOND.put(folder, "2")
    assert watch.look()
    shutil.rmtree(folder)
    assert not watch.look()
    SECOND.put(folder, "2")
    assert watch.look()
    assert watch.taken == ["1", "2"]


def test_a_shadow_may_go_and_come_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(folder, monkeypatch, optional=True)
    assert watch.look()
    FIRST.put(folder, "1")
    assert watch.look()
    shutil.rmtree(folder)
    assert watch.look()
    FIRST.put(folder, "1")
    assert watch.look()
    assert [it for it in watch.taken if it] == ["1", "1"]
    assert watch.taken[-2:] == [None, "1"]


def test_what_cannot_be_taken_is_a_failure_and_tried_again_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(folder, monkeypatch)
    FIRST.put(folder, "1")
    assert watch.look()
    tried: list[str] = []

    def fail(bundle: bundles.Bundle, _: int) -> str:
        tried.append(bundle.origin.version)
        raise ValueError("no such model")

    monkeypatch.setattr(Model, "load", fail)
    SECOND.put(folder, "2")
    for _ in range(3):
        assert not watch.look()
    THIRD.put(folder, "3")
    assert not watch.look()
    assert (tried, watch.taken) == (["2", "3"], ["1"])
    Watch(folder, monkeypatch)
    FIRST.put(folder, "1")
    assert watch.look()
    assert watch.taken == ["1"]


@pytest.mark.parametrize(
    ("told", "created"),
    [({}, "none"), ({"created": "none"}, "none"), ({"created": CREATED}, CREATED)],
)
def test_when_a_bundle_was_registered_is_known_since_it_is_told(
    folder: Path, cache: Path, told: dict[str, object], created: str
) -> None:
    FIRST.put(folder, "1", **told)
    assert fetch(locate(str(folder)), cache).origin.created == created


@pytest.mark.parametrize("odd", [7, None, "now", "2026-10-01T12:00:00", "<b>"])
def test_a_moment_that_is_none_is_broken(folder: Path, cache: Path, odd: object) -> None:
    FIRST.put(folder, "1", created=odd)
    with pytest.raises(Unavailable, match=r"broken version\.json"):
        fetch(locate(str(folder)), cache)


def test_a_bundle_that_nobody_registered_has_a_name_too(folder: Path, cache: Path) -> None:
    FIRST.put(folder)
    found = fetch(locate(str(folder)), cache)
    assert found.origin == (FIRST.digest[:12], "none", "none", "none")


@pytest.mark.parametrize("broken", ["model.onnx", "manifest.json", "version.json"])
def test_a_broken_bundle_is_not_handed_over(folder: Path, cache: Path, broken: str) -> None:
    SECOND.put(folder, "2")
    (folder / broken).write_bytes(b"{}")
    with pytest.raises(Unavailable):
        fetch(locate(str(folder)), cache)
    SECOND.put(folder, "2")
    assert SECOND.is_in(fetch(locate(str(folder)), cache))


class Registry(ThreadingHTTPServer):
    """Answers as MLflow does about the versions of one model."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.versions = {"1": FIRST, "2": SECOND}
        self.champion = "1"
        self.asked: list[str | None] = []
        self.address = f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    """One answer of the registry."""

    server: Registry

    def do_GET(self) -> None:
        self.server.asked.append(self.headers["Authorization"])
        asked = urlsplit(self.path)
        query = {key: value for key, (value,) in parse_qs(asked.query).items()}
        version = query.get("version", self.server.champion)
        bundle = self.server.versions.get(version)
        content = b"{}"
        if bundle and asked.path.startswith("/api/2.0/mlflow/"):
            tags = {"bundle": bundle.digest, "git.commit": COMMIT, "dvc.train": DATA}
            said = [{"key": key, "value": value} for key, value in tags.items()]
            moment = 1000 * datetime.fromisoformat(CREATED).timestamp()
            told = {"version": version, "tags": said, "creation_timestamp": moment}
            content = json.dumps({"model_version": told}).encode()
        elif bundle and asked.path == "/model-versions/get-artifact":
            content = bundle.files[query["path"]]
        else:
            bundle = None
        self.send_response(200 if bundle else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Registry() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server
        server.shutdown()


def test_a_registry_is_asked_for_an_alias(registry: Registry, cache: Path) -> None:
    watched = locate(f"{registry.address}/a%20model@champion")
    found = fetch(watched, cache)
    assert FIRST.is_in(found)
    assert found.origin == ("1", COMMIT, DATA, CREATED)
    registry.asked.clear()
    before = watched.state()
    assert len(registry.asked) == 1
    registry.champion = "2"
    assert watched.state() != before
    assert SECOND.is_in(fetch(watched, cache))
    registry.champion = "3"
    with pytest.raises(Absent, match=r"There is no http.*a%20model@champion"):
        fetch(watched, cache)


def test_a_registry_is_asked_for_a_number(registry: Registry, cache: Path) -> None:
    assert SECOND.is_in(fetch(locate(f"{registry.address}/a%20model/2"), cache))


def test_a_registry_is_not_believed(registry: Registry, cache: Path) -> None:
    SECOND.files["model.onnx"], kept = b"another", SECOND.files["model.onnx"]
    try:
        with pytest.raises(Unavailable, match="not the ones that were registered"):
            fetch(locate(f"{registry.address}/model/2"), cache)
    finally:
        SECOND.files["model.onnx"] = kept


def test_who_asks_is_told_to_the_registry_alone(registry: Registry, cache: Path) -> None:
    where = registry.address.replace("//", "//someone:s3cret@")
    assert fetch(locate(f"{where}/model/1"), cache)
    assert set(registry.asked) == {"Basic c29tZW9uZTpzM2NyZXQ="}
    registry.versions.clear()
    with pytest.raises(Unavailable) as caught:
        fetch(locate(f"{where}/model/1"), cache)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "where",
    [
        "",
        "s3://bucket/model",
        "http://host:5000/model",
        "http://host:5000/model/champion",
        "http://host:5000/@champion",
        "http:///model/1",
        "http://host/a model/1",
        "http://host:65536/model/1",
        "http://host/model/1?password=s3cret",
        "http://someone:s3cret@host:x/model/1",  # pragma: allowlist secret
        "http://someone:s3/cret@host/model@champion#",
    ],
)
def test_an_address_that_makes_no_sense(where: str) -> None:
    for setting in ("BUNDLE", "SHADOW"):
        with pytest.raises(UserError, match=f"^{setting}") as caught:
            locate(where, setting)
        assert "s3cret" not in str(caught.value)
