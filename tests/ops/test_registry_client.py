"""The source of the served bundle, with a real registry, faulty ones, and a restless folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from copies import copied, registry
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from my_model.ops import cli
from my_model.ops.bundle import Bundle, Origin
from my_model.ops.files import read_json, write_json
from my_model.ops.registry.tracking import REFUSED
from my_model.ops.serving import registry_client, reloading
from my_model.ops.serving.locations import Absent, Location, Unavailable, fetch, locate
from my_model.ops.serving.models import Model
from my_model.ops.serving.reloading import Follower
from my_model.ops.serving.settings import Strictness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from my_model.ops.project import Project

PATIENCE = 180
"""Seconds that a real server may take to install and to start."""

SECRET = "s3cret"  # noqa: S105
COMMIT, DATA = "c" * 40, "d" * 32
FOREIGN = {"format": 1, "contract": {"columns": []}}

SWAPPING = """
import hashlib, json, shutil, sys, time
from pathlib import Path
from my_model.ops.files import replacing

folder = Path(sys.argv[1])
manifest = json.dumps({"format": 1, "contract": {"columns": []}}).encode()
number = 0
while True:
    number += 1
    model = str(number).encode() * 5000
    with replacing(folder) as aside:
        aside.mkdir()
        (aside / "model.onnx").write_bytes(model)
        (aside / "manifest.json").write_bytes(manifest)
        digest = hashlib.sha256(model + manifest).hexdigest()
        origin = {"version": str(number), "commit": "none", "data": "none", "created": "none"}
        said = {**origin, "digest": digest}
        (aside / "version.json").write_text(json.dumps(said))
    print(number, flush=True)
"""
"""Exchanges a bundle for the next one without end, as a promotion does."""

REWRITING = SWAPPING.replace("with replacing(folder) as aside:", "aside = folder\n    if True:")
REWRITING = REWRITING.replace("aside.mkdir()", "aside.mkdir(exist_ok=True)")
REWRITING += "    time.sleep(0.002)\n"
"""The same by somebody who copies file by file over the ones in use, and rests in between."""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    cache = tmp_path / "cache"
    cache.mkdir()
    return cache


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for nobody's sake, and nobody else."""
    for name in ("USERNAME", "PASSWORD", "TOKEN", "URI"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def assert_whole(found: Bundle) -> None:
    """What was found is what it says it is, to the last byte."""
    content = b"".join(
        (found.folder / name).read_bytes() for name in ("model.onnx", "manifest.json")
    )
    assert hashlib.sha256(content).hexdigest() == found.digest
    said = read_json(found.folder / "version.json")
    assert said == {
        **found.origin._asdict(),
        "digest": found.digest,
    }


@pytest.mark.parametrize(
    ("how", "most"),
    [
        pytest.param(SWAPPING, 150, id="swapped"),
        pytest.param(REWRITING, 100, id="written anew"),
        pytest.param(SWAPPING, 2000, id="swapped often", marks=pytest.mark.exhaustive),
        pytest.param(REWRITING, 300, id="written anew often", marks=pytest.mark.exhaustive),
    ],
)
def test_whatever_happens_to_a_folder_what_is_fetched_is_whole(
    how: str, most: int, tmp_path: Path
) -> None:
    folder = tmp_path / "champion"
    watched = locate(str(folder))
    numbers: list[int] = []
    with subprocess.Popen(
        [sys.executable, "-c", how, str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        said = iter(process.stdout)
        try:
            for turn in said:
                if int(turn) > most:
                    break
                copy = tmp_path / "copy"
                copy.mkdir()
                with suppress(Unavailable):
                    found = fetch(watched, copy)
                    assert_whole(found)
                    model = (found.folder / "model.onnx").read_bytes()
                    assert model == found.origin.version.encode() * 5000
                    numbers.append(int(found.origin.version))
                shutil.rmtree(copy)
        finally:
            process.kill()
            process.stdout.close()
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 10
    shutil.rmtree(folder, ignore_errors=True)


def test_a_folder_that_is_a_link_is_followed(tmp_path: Path, cache: Path) -> None:
    """As a mounted ConfigMap is exchanged."""
    link = tmp_path / "current"
    watched = locate(str(link))
    before = None
    for number in "12":
        release = tmp_path / number
        release.mkdir()
        (release / "model.onnx").write_text(number)
        write_json(release / "manifest.json", FOREIGN)
        aside = tmp_path / "aside"
        aside.symlink_to(release)
        aside.rename(link)
        assert watched.state() != before
        before = watched.state()
        found = fetch(watched, cache)
        assert (found.folder / "model.onnx").read_text() == number


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", b""),
        ("manifest.json", b"[]"),
        ("manifest.json", b"{}"),
        ("manifest.json", b'{"format": 2}'),
        ("manifest.json", b'{"format": 1}'),
        ("manifest.json", b'{"format": 1, "contract": {"columns": [1]}}'),
        ("manifest.json", b"\xff\xfe"),
        ("manifest.json", b"[" * 100_000),
        ("version.json", b""),
        ("version.json", b"[]"),
        ("version.json", b'"digest"'),
        ("version.json", b'{"version": 1, "commit": "x", "data": "x", "digest": "x"}'),
        ("version.json", b'{"version": "1\\n2", "commit": "x", "data": "x", "digest": "x"}'),
        ("version.json", b'{"version": "1", "commit": "x", "data": "x", "digest": "x"}'),
        ("version.json", b"[" * 100_000),
    ],
)
def test_odd_files_are_broken(tmp_path: Path, cache: Path, name: str, content: bytes) -> None:
    folder = tmp_path / "champion"
    folder.mkdir()
    (folder / "model.onnx").write_text("model")
    write_json(folder / "manifest.json", FOREIGN)
    (folder / name).write_bytes(content)
    watched = locate(str(folder))
    with pytest.raises(Unavailable) as caught:
        fetch(watched, cache)
    assert str(folder) in str(caught.value)
    assert str(cache) not in str(caught.value)


def test_what_is_broken_is_copied_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry may mend its files without a word about it."""
    taken: list[object] = []
    monkeypatch.setattr(Model, "load", lambda bundle, _: bundle.origin.version)
    with faulty() as server:
        follower = Follower(locate(f"{server.address}/model@champion"), Strictness(), taken.append)
        server.model = b"damaged"
        for _ in range(3):
            follower.look()
            assert follower.failing
        assert server.paths().count("/model-versions/get-artifact") == 2
        server.model = b"model"
        monkeypatch.setattr(reloading.time, "monotonic", lambda now=time.monotonic: now() + 61)
        for _ in range(3):
            follower.look()
            assert not follower.failing
        assert server.paths().count("/model-versions/get-artifact") == 4
    assert taken == ["7"]


@pytest.mark.parametrize("obstacle", ["file", "folders", "loop", "long", "cache"])
def test_odd_places_are_unavailable(tmp_path: Path, cache: Path, obstacle: str) -> None:
    folder = tmp_path / "champion"
    match obstacle:
        case "file":
            folder.touch()
        case "folders":
            (folder / "model.onnx").mkdir(parents=True)
            (folder / "manifest.json").mkdir()
        case "loop":
            folder.symlink_to(folder)
        case "long":
            folder /= "x" * 1000
        case "cache":
            folder.mkdir()
            (folder / "model.onnx").write_text("model")
            write_json(folder / "manifest.json", FOREIGN)
            cache.rmdir()
    with pytest.raises(Unavailable):
        fetch(locate(str(folder)), cache)


class Faulty(ThreadingHTTPServer):
    """A registry of one version; `fault` may answer in its place.

    A fault is told the path, and returns bytes to send as they are, or None to let it be.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.address = f"http://someone:{SECRET}@127.0.0.1:{self.server_port}"
        self.asked: list[tuple[str, str | None]] = []
        self.fault: Callable[[str], bytes | Iterator[bytes] | None] = lambda _: None
        self.model = b"model"
        self.manifest = json.dumps(FOREIGN).encode()
        self.version = {
            "name": "model",
            "version": "7",
            "source": "mlflow-artifacts:/1/2/artifacts/bundle",
            "tags": [
                {"key": "bundle", "value": hashlib.sha256(b"model" + self.manifest).hexdigest()},
                {"key": "git.commit", "value": COMMIT},
                {"key": "dvc.train", "value": DATA},
            ],
        }

    def paths(self) -> list[str]:
        """What was asked for."""
        return [path for path, _ in self.asked]

    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that went away: it should."""


class Answer(BaseHTTPRequestHandler):
    """One answer."""

    server: Faulty

    def do_GET(self) -> None:
        """Answer as MLflow does, or wrongly."""
        asked = urlsplit(self.path)
        self.server.asked.append((asked.path, self.headers["Authorization"]))
        said = self.server.fault(asked.path)
        if said is None:
            if asked.path == "/model-versions/get-artifact":
                (name,) = parse_qs(asked.query)["path"]
                body = {"model.onnx": self.server.model, "manifest.json": self.server.manifest}[
                    name
                ]
            else:
                body = json.dumps({"model_version": self.server.version}).encode()
            said = answer(body)
        for part in [said] if isinstance(said, bytes) else said:
            self.wfile.write(part)
            self.wfile.flush()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def faulty() -> Iterator[Faulty]:
    """A registry that listens."""
    with Faulty() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            yield server
        finally:
            server.shutdown()


def answer(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """An answer as it goes over the wire."""
    length = len(body) if length is None else length
    head = [f"HTTP/1.1 {status}", f"Content-Length: {length}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def endless(head: bytes, part: bytes, pause: float = 0) -> Iterator[bytes]:
    """An answer that has no end."""
    yield head
    while True:
        yield part
        time.sleep(pause)


def deaf(seconds: float) -> Iterator[bytes]:
    """An answer that does not come."""
    time.sleep(seconds)
    yield b""


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

FAULTS: dict[str, Callable[[], bytes | Iterator[bytes]]] = {
    "silent": lambda: deaf(3),
    "gone": lambda: b"",
    "no HTTP": lambda: b"220 mail.example.org ESMTP\r\n",
    "head that drips": lambda: endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.02),
    "half a head": lambda: b"HTTP/1.1 200 OK\r\nContent-Len",
    "odd length": lambda: answer(b"{}").replace(b"Length: 2", b"Length: -7"),
    "cut short": lambda: answer(b'{"model_version": ', length=500),
    "cut chunk": lambda: CHUNKED + b"20\r\nabc",
    "odd chunk": lambda: CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n",
    "drips": lambda: endless(answer(b"", length=10**6), b"x", 0.2),
    "endless": lambda: endless(CHUNKED, b"10000\r\n" + b"x" * 0x10000 + b"\r\n"),
    "long": lambda: answer(b"x" * 6_000_000),
    "400": lambda: answer(b'{"error_code": "INVALID_PARAMETER_VALUE"}', "400 Bad Request"),
    "401": lambda: answer(b"", "401 Unauthorized", "WWW-Authenticate: Basic"),
    "403": lambda: answer(b"", "403 Forbidden"),
    "404": lambda: answer(b"<html>", "404 Not Found"),
    "500": lambda: answer(b"<html>", "500 Internal Server Error"),
    "503": lambda: answer(b"", "503 Service Unavailable", "Retry-After: 100"),
    "204": lambda: b"HTTP/1.1 204 No Content\r\n\r\n",
    "redirect without end": lambda: answer(b"", "302 Found", "Location: /model"),
    "redirect to a file": lambda: answer(b"", "302 Found", "Location: file:///etc/passwd"),
    "page": lambda: answer(b"<html>hello</html>"),
    "empty": lambda: answer(b""),
    "null": lambda: answer(b"null"),
    "list": lambda: answer(b"[]"),
    "not UTF-8": lambda: answer(b'"\xff"'),
    "deep": lambda: answer(b"[" * 100_000),
    "wrong file": lambda: answer(b"another"),
}


@pytest.mark.parametrize("where", ["/api/2.0/mlflow/", "/model-versions/get-artifact"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_registry_is_unavailable_until_it_is_mended(
    name: str, where: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_client, "PATIENCE", 1.0)
    monkeypatch.setattr(registry_client, "MOST_SECONDS", 1.0)
    monkeypatch.setattr(
        registry_client, "MOST_BYTES", {"model.onnx": 5 << 20, "manifest.json": 5 << 20}
    )
    with faulty() as server:
        watched = locate(f"{server.address}/model@champion")
        server.fault = lambda path: FAULTS[name]() if path.startswith(where) else None
        start = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            fetch(watched, cache)
        assert time.monotonic() - start < 30
        sentence = str(caught.value)
        assert f"http://127.0.0.1:{server.server_port}" in sentence
        assert sentence.endswith(".")
        assert "\n" not in sentence
        assert SECRET not in sentence
        server.fault = lambda _: None
        found = fetch(watched, cache)
        assert_whole(found)
        assert found.origin[:3] == ("7", COMMIT, DATA)


def test_a_registry_that_is_down_is_unavailable(cache: Path) -> None:
    with faulty() as server:
        address = server.address
    with pytest.raises(Unavailable, match="does not answer: All connection attempts failed"):
        fetch(locate(f"{address}/model@champion"), cache)
    with pytest.raises(Unavailable, match="does not answer"):
        fetch(locate("http://nowhere.invalid/model@champion"), cache)
    with faulty() as server:
        watched = locate(f"{server.address}/model@champion".replace("http", "https"))
        with pytest.raises(Unavailable, match="does not answer"):
            fetch(watched, cache)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["/api/2.0/mlflow/", "/model-versions/get-artifact"])
def test_no_redirect_is_followed(status: int, where: str, cache: Path) -> None:
    with faulty() as server, faulty() as stranger:
        to = f"Location: {stranger.address}/model@champion"
        server.fault = lambda path: (
            answer(b"", f"{status} Elsewhere", to) if path.startswith(where) else None
        )
        with pytest.raises(Unavailable, match="sends elsewhere") as caught:
            fetch(locate(f"{server.address}/model@champion"), cache)
        assert SECRET not in str(caught.value)
        assert stranger.asked == []


@pytest.mark.parametrize(
    "change",
    [
        {"version": "../../../../etc/passwd"},
        {"version": "7/../8"},
        {"version": "7\r\nX: y"},
        {"version": 7.5},
        {"version": None},
        {"version": "\u0667"},
        {"version": "9" * 1000},
        {"tags": []},
        {"tags": None},
        {"tags": [{"key": "bundle"}]},
        {"tags": [{"key": "bundle", "value": "../../x"}]},
        {"tags": [{"key": "bundle", "value": "A" * 64}]},
        {"tags": {"bundle": "a" * 64}},
    ],
)
def test_nothing_odd_is_taken_for_a_version(change: dict[str, Any], cache: Path) -> None:
    with faulty() as server:
        server.version |= change
        with pytest.raises(Unavailable):
            fetch(locate(f"{server.address}/model@champion"), cache)
        assert "/model-versions/get-artifact" not in server.paths()


def test_what_a_gate_refused_never_serves(cache: Path) -> None:
    """Not by its number either, which needs no promotion."""
    with faulty() as server:
        tags: Any = server.version["tags"]
        tags.append({"key": "status", "value": REFUSED})
        with pytest.raises(Absent, match=r"^A gate refused http://.*/model/7, so it never serves"):
            fetch(locate(f"{server.address}/model/7"), cache)


def test_what_a_registry_says_leads_nowhere(tmp_path: Path, cache: Path) -> None:
    """Paths and addresses in its words are not used, and odd words are not repeated."""
    with faulty() as server:
        server.version["source"] = f"file://{tmp_path}/../../etc"
        server.version["name"] = "../another"
        server.version["creation_timestamp"] = "<b>now</b>"
        for tag in server.version["tags"][1:]:  # type: ignore[index]
            tag["value"] = f"<script>{tmp_path}\r\n</script>"  # type: ignore[index]
        found = fetch(locate(f"{server.address}/model@champion"), cache)
        assert found
        assert_whole(found)
        assert found.folder.parent == cache
        assert found.origin == ("7", *["none"] * 3)
        assert {path.name for path in found.folder.iterdir()} == {
            "model.onnx",
            "manifest.json",
            "version.json",
        }


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["model_version", "version", "tags", "key", "value", "source"]), inner
        )
    ),
    max_leaves=20,
)


@given(value=VALUES, inside=st.booleans())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_json_is_a_version_or_unavailable(
    value: object, *, inside: bool, fuzzed: tuple[Faulty, Location]
) -> None:
    server, watched = fuzzed
    body = json.dumps({"model_version": value} if inside else value).encode()
    server.fault = lambda _: answer(body)
    with pytest.raises(Unavailable):
        watched.state()


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[tuple[Faulty, Location]]:
    with faulty() as server:
        yield server, locate(f"{server.address}/model@champion")


@pytest.mark.parametrize(
    ("address", "environment", "header"),
    [
        ("", {}, None),
        ("a:b@", {}, "Basic YTpi"),
        ("a%40x:b%2Fc@", {}, "Basic YUB4OmIvYw=="),
        ("", {"USERNAME": "a", "PASSWORD": "b", "TOKEN": "c"}, "Basic YTpi"),
        ("", {"TOKEN": "c\n"}, "Bearer c"),
        ("a:b@", {"USERNAME": "c", "PASSWORD": "d"}, "Basic YTpi"),
    ],
)
def test_who_asks_is_told_as_mlflow_tells_it(
    address: str,
    environment: dict[str, str],
    header: str | None,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    with faulty() as server:
        where = server.address.replace(f"someone:{SECRET}@", address)
        assert fetch(locate(f"{where}/model@champion"), cache)
        assert {proof for _, proof in server.asked} == {header}


@pytest.fixture(scope="module")
def served(registered: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose registry began as a file, which a server now shows to others."""
    project = copied(registered, tmp_path_factory.mktemp("served") / "a project")
    shutil.copyfile(registered.root / "mlflow.db", project.root / "mlflow.db")
    shutil.copytree(registered.root / "models/champion", project.champion)
    return project


@pytest.fixture(scope="module")
def server(trained: Project, served: Project) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """MLflow's own server."""
    with registry(trained, served.root) as started:
        yield started


def register(project: Project, address: str, name: str) -> None:
    """Register a bundle unlike all others at a server."""
    manifest = project.bundle / "manifest.json"
    write_json(manifest, {**read_json(manifest), "name": name})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.root)
        patch.setenv("MLFLOW_TRACKING_URI", address)
        assert cli.main(["register"]) == 0


def test_a_real_registry(
    served: Project,
    server: tuple[str, subprocess.Popen[bytes]],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its versions lie where the project put them before there was a server."""
    address, process = server
    watched = locate(f"{address}/{served.name}@champion")
    first = fetch(watched, cache)
    assert_whole(first)
    assert first.digest == Bundle(served.champion).digest
    assert first.origin == Bundle(served.champion).origin
    assert first.origin.version == "1"
    before = watched.state()
    assert watched.state() == before

    register(served, address, "another")
    assert watched.state() != before
    second = fetch(watched, cache)
    assert_whole(second)
    assert (second.origin.version, second.digest) == ("2", Bundle(served.bundle).digest)
    by_number = fetch(locate(f"{address}/{served.name}/1"), cache)
    assert (by_number.digest, by_number.origin) == (first.digest, first.origin)

    monkeypatch.setattr(registry_client, "PATIENCE", 1.0)
    os.killpg(process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable, match="needs more than 1 seconds"):
            watched.state()
    finally:
        os.killpg(process.pid, signal.SIGCONT)
    monkeypatch.undo()
    assert fetch(watched, cache).digest == second.digest


def test_a_real_registry_that_keeps_the_files_itself(
    trained: Project, server: tuple[str, subprocess.Popen[bytes]], tmp_path: Path, cache: Path
) -> None:
    """A server that knows the project from the beginning has the files sent to its proxy."""
    address, _ = server
    project = copied(trained, tmp_path / "a project")
    settings = project.root / "pyproject.toml"
    settings.write_text(settings.read_text().replace('name = "my-model"', 'name = "proxied"'))
    register(project, address, "yet another")
    version = MlflowClient(address).get_model_version_by_alias("proxied", "champion")
    assert version.source.startswith("mlflow-artifacts:/")
    found = fetch(locate(f"{address}/proxied@champion"), cache)
    assert found
    assert_whole(found)
    assert found.digest == Bundle(project.bundle).digest


@pytest.mark.parametrize("name", ["another", "stranger", "a b"])
def test_a_real_registry_has_no_such_version(
    name: str, served: Project, server: tuple[str, subprocess.Popen[bytes]], cache: Path
) -> None:
    address, _ = server
    for version in (f"{served.name}@{name}".replace(" ", "_"), f"{name}/1", f"{served.name}/99"):
        with pytest.raises(Absent, match=r"^There is no http://127"):
            fetch(locate(f"{address}/{version}".replace(" ", "%20")), cache)


def test_a_real_registry_that_cannot_reach_its_files_says_so(
    server: tuple[str, subprocess.Popen[bytes]], cache: Path
) -> None:
    address, _ = server
    client = MlflowClient(address)
    client.create_registered_model("elsewhere")
    tags = {"bundle": "a" * 64}
    client.create_model_version("elsewhere", "s3://no-such-bucket/bundle", tags=tags)
    with pytest.raises(Unavailable, match=r"does not hand over version 1 .*\(s3\)"):
        fetch(locate(f"{address}/elsewhere/1"), cache)
    client.create_model_version("elsewhere", "s3://no-such-bucket/bundle")
    with pytest.raises(Unavailable, match="was not registered by `ops register`"):
        fetch(locate(f"{address}/elsewhere/2"), cache)


def test_a_model_of_arrays_is_fetched_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest is asked for first: it says which file the model is."""
    asked = []
    manifest = {"format": 2, "contract": {"columns": []}, "file": "model.npz"}

    def download(_: object, path: str, question: Any, file: Any, *rest: object) -> None:
        del rest
        asked.append((path, question["path"]))
        file.write(json.dumps(manifest).encode())

    monkeypatch.setattr(registry_client.Registry, "_download", download)
    state = registry_client.Registered(Origin("7", "none", "none"), "0" * 64, "file")
    registry_client.Registry("http://host/model@champion").copy(state, tmp_path)
    assert [name for _, name in asked] == ["manifest.json", "model.npz"]
    assert {file.name for file in tmp_path.iterdir()} == {
        "manifest.json", "model.npz", "version.json",
    }  # fmt: skip
