"""The bundle to serve: found in a folder or in a registry, whole, or not at all."""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from my_model.ops.errors import UserError
from my_model.ops.files import replacing
from my_model.ops.serving import source
from my_model.ops.serving.source import Absent, Found, Unavailable

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

    def is_in(self, found: Found | None) -> bool:
        """Whether it is what was found."""
        assert found
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


def test_a_bundle_is_found_once(folder: Path, cache: Path) -> None:
    watched = source.open(str(folder), cache)
    with pytest.raises(Absent, match="There is no model in"):
        watched.poll()
    FIRST.put(folder, "1")
    found = watched.poll()
    assert FIRST.is_in(found)
    assert found
    assert (found.version, found.commit, found.data) == ("1", COMMIT, DATA)
    assert watched.poll() is None
    FIRST.put(folder, "1")
    assert watched.poll() is None


def test_copies_stay_while_they_may_be_in_use(folder: Path, cache: Path) -> None:
    watched = source.open(str(folder), cache)
    found = []
    for version, bundle in enumerate((FIRST, SECOND, THIRD), start=1):
        bundle.put(folder, str(version))
        found.append(watched.poll())
    shutil.rmtree(folder)
    with pytest.raises(Unavailable):
        watched.poll()
    first, second, third = found
    assert first
    assert not first.folder.exists()
    assert SECOND.is_in(second)
    assert THIRD.is_in(third)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(
    ("told", "created"),
    [({}, "none"), ({"created": "none"}, "none"), ({"created": CREATED}, CREATED)],
)
def test_when_a_bundle_was_registered_is_known_since_it_is_told(
    folder: Path, cache: Path, told: dict[str, object], created: str
) -> None:
    FIRST.put(folder, "1", **told)
    found = source.open(str(folder), cache).poll()
    assert found
    assert found.created == created


@pytest.mark.parametrize("odd", [7, None, "now", "2026-10-01T12:00:00", "<b>"])
def test_a_moment_that_is_none_is_broken(folder: Path, cache: Path, odd: object) -> None:
    FIRST.put(folder, "1", created=odd)
    with pytest.raises(Unavailable, match=r"broken version\.json"):
        source.open(str(folder), cache).poll()


def test_a_bundle_that_nobody_registered_has_a_name_too(folder: Path, cache: Path) -> None:
    FIRST.put(folder)
    found = source.open(str(folder), cache).poll()
    assert found
    assert found[1:] == (FIRST.digest[:12], FIRST.digest, "none", "none", "none")


@pytest.mark.parametrize("broken", ["model.onnx", "manifest.json", "version.json"])
def test_a_broken_bundle_is_not_handed_over(folder: Path, cache: Path, broken: str) -> None:
    watched = source.open(str(folder), cache)
    FIRST.put(folder, "1")
    assert FIRST.is_in(watched.poll())
    SECOND.put(folder, "2")
    (folder / broken).write_bytes(b"{}")
    for _ in range(2):
        with pytest.raises(Unavailable):
            watched.poll()
    assert len(list(cache.iterdir())) == 1
    SECOND.put(folder, "2")
    assert SECOND.is_in(watched.poll())


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
    watched = source.open(f"{registry.address}/a%20model@champion", cache)
    found = watched.poll()
    assert FIRST.is_in(found)
    assert found
    assert found[1:] == ("1", FIRST.digest, COMMIT, DATA, CREATED)
    registry.asked.clear()
    assert watched.poll() is None
    assert len(registry.asked) == 1
    registry.champion = "2"
    assert SECOND.is_in(watched.poll())
    registry.champion = "3"
    with pytest.raises(Absent, match=r"There is no http.*a%20model@champion"):
        watched.poll()


def test_a_registry_is_asked_for_a_number(registry: Registry, cache: Path) -> None:
    assert SECOND.is_in(source.open(f"{registry.address}/a%20model/2", cache).poll())


def test_a_registry_is_not_believed(registry: Registry, cache: Path) -> None:
    SECOND.files["model.onnx"], kept = b"another", SECOND.files["model.onnx"]
    try:
        with pytest.raises(Unavailable, match="not the ones that were registered"):
            source.open(f"{registry.address}/model/2", cache).poll()
    finally:
        SECOND.files["model.onnx"] = kept
    assert list(cache.iterdir()) == []


def test_who_asks_is_told_to_the_registry_alone(registry: Registry, cache: Path) -> None:
    where = registry.address.replace("//", "//someone:s3cret@")
    assert source.open(f"{where}/model/1", cache).poll()
    assert set(registry.asked) == {"Basic c29tZW9uZTpzM2NyZXQ="}
    registry.versions.clear()
    with pytest.raises(Unavailable) as caught:
        source.open(f"{where}/model/1", cache).poll()
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
        "http://host/model/1?password=s3cret",
        "http://someone:s3cret@host:x/model/1",  # pragma: allowlist secret
        "http://someone:s3/cret@host/model@champion#",
    ],
)
def test_an_address_that_makes_no_sense(where: str, cache: Path) -> None:
    for setting in ("BUNDLE", "SHADOW"):
        with pytest.raises(UserError, match=f"^{setting}") as caught:
            source.open(where, cache, setting)
        assert "s3cret" not in str(caught.value)
