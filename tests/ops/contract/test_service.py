"""The service, over HTTP: what callers get, and what stays on disk."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import polars as pl
import pytest
import uvicorn
from my_model.ops.bundle import MANIFEST, Bundle
from my_model.ops.contract import Contract
from my_model.ops.files import read_json, replacing, write_json
from my_model.ops.project import Project
from my_model.ops.serving.app import Application
from my_model.ops.serving.feedback import shape
from my_model.ops.serving.server import listen
from my_model.ops.serving.settings import Settings

PATIENCE = 30


class Reply(NamedTuple):
    """What the service said."""

    status: int
    body: Any
    headers: dict[str, str]


class Client:
    """Someone who asks the service."""

    def __init__(self, address: str, settings: Settings) -> None:
        """Ask a service with these settings."""
        self.address = address
        self.settings = settings

    def ask(self, path: str, body: Any = None, **headers: str) -> Reply:
        """Send JSON, bytes or nothing at all."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        try:
            with urlopen(Request(self.address + path, data, given), timeout=PATIENCE) as answer:
                return self._reply(answer.status, answer.read(), answer.headers)
        except HTTPError as error:
            return self._reply(error.code, error.read(), error.headers)

    def _reply(self, status: int, body: bytes, headers: Any) -> Reply:
        given = {name.lower(): value for name, value in headers.items()}
        is_json = given.get("content-type") == "application/json"
        return Reply(status, json.loads(body) if is_json else body.decode(), given)

    def logged(self, kind: str) -> pl.DataFrame:
        """All that one of the logs holds."""
        return pl.scan_ndjson(Path(self.settings.predictions, kind, "*.jsonl")).collect()


@contextmanager
def serving(settings: Settings) -> Iterator[Client]:
    """A service that runs, and ends as it does for a signal."""
    listening = listen("127.0.0.1", 0)
    application = Application(settings)
    server = uvicorn.Server(uvicorn.Config(application, lifespan="on", log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        until(lambda: server.started)
        yield Client(f"http://127.0.0.1:{listening.getsockname()[1]}", settings)
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


def total(metrics: str, name: str) -> float:
    """The value of a metric without labels."""
    return next(float(it.split()[1]) for it in metrics.splitlines() if it.startswith(f"{name} "))


def whole(text: str) -> list[str]:
    """The lines that were written to their end."""
    return [line for line in text.rpartition("\n")[0].splitlines() if line.strip()]


def lines(client: Client, kind: str) -> dict[str, dict[str, Any]]:
    """The lines of a log, by their ids."""
    folder = Path(client.settings.predictions, kind)
    read = (path.read_text(encoding="utf-8") for path in folder.glob("*.jsonl"))
    return {line["id"]: line for text in read for line in map(json.loads, whole(text))}


def until(condition: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def settings(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a service that has a model, and writes its logs at once."""
    folder = tmp_path_factory.mktemp("service")
    shutil.copytree(trained.bundle, folder / "champion")
    return Settings(
        bundle=str(folder / "champion"),
        predictions=str(folder / "served"),
        flush_seconds=0.05,
        poll_seconds=0.05,
        max_rows=50,
        max_body_bytes=1_000_000,
    )


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[Client]:
    """A service for all tests that leave its model alone."""
    with serving(settings) as client:
        yield client


@pytest.fixture(scope="module")
def frame(trained: Project, contract: Contract) -> pl.DataFrame:
    """Rows to ask about."""
    return pl.read_parquet(trained.holdout).drop(contract.target.name).head(40)


@pytest.fixture(scope="module")
def asked(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The same rows as a caller writes them."""
    made: list[dict[str, Any]] = json.loads(frame.write_json())
    return made


def test_answers_are_the_bundles(
    client: Client, contract: Contract, frame: pl.DataFrame, asked: list[dict[str, Any]]
) -> None:
    expected = Bundle(Path(client.settings.bundle)).predict(contract.arrays(frame))
    many = client.ask("/predict", asked)
    singles = [client.ask("/predict", row) for row in asked[:5]]
    assert {many.status, *(reply.status for reply in singles)} == {200}
    version = client.ask("/version").body["model_version"]
    for answers in (many.body, [reply.body for reply in singles]):
        assert {answer["model_version"] for answer in answers} == {version}
        if expected.probabilities is None:
            found = [answer["prediction"] for answer in answers]
            np.testing.assert_allclose(found, expected.values[: len(answers)], rtol=1e-6)
        else:
            choices = contract.target.choices or ()
            named = [choices[place] for place in expected.values[: len(answers)]]
            assert [answer["prediction"] for answer in answers] == named
            found = [[a["probabilities"][name] for name in contract.classes] for a in answers]
            np.testing.assert_allclose(
                found, expected.probabilities[: len(answers)], rtol=0, atol=1e-6
            )
    everyone = [*many.body, *(reply.body for reply in singles)]
    assert len({answer["prediction_id"] for answer in everyone}) == len(everyone)


def test_a_number_comes_with_an_interval(
    client: Client, contract: Contract, asked: list[dict[str, Any]]
) -> None:
    answer = client.ask("/predict", asked[0]).body
    assert ("interval" in answer) == (not contract.classes)
    if "interval" in answer:
        assert answer["interval"]["low"] < answer["prediction"] < answer["interval"]["high"]


def test_a_refusal_names_field_rule_and_value(
    client: Client, contract: Contract, asked: list[dict[str, Any]]
) -> None:
    column = next((c for c in contract.inputs if c.dtype != "String"), contract.inputs[0])
    value: Any = ["no such value"]
    refused = client.ask("/predict", [asked[0], asked[1] | {column.name: value}])
    assert refused.status == 422
    (violation,) = (v for v in refused.body["violations"] if v["field"] == column.name)
    assert violation["row"] == 1
    assert violation["value"] == value
    assert violation["rule"] == "dtype"
    counted = client.ask("/metrics").body
    assert 'rule="dtype"' in counted


def test_what_the_contract_does_not_know_is_named_in_a_header(
    client: Client, contract: Contract, asked: list[dict[str, Any]]
) -> None:
    strange = {"brand new": 1, "é\n": [2]}
    answered = client.ask("/predict", [asked[0], asked[1] | strange])
    assert answered.status == 200
    assert answered.headers["unknown-fields"] == "brand new, %C3%A9%0A"
    assert "unknown-fields" not in client.ask("/predict", asked[0]).headers
    assert total(client.ask("/metrics").body, "service_unknown_fields_requests_total") >= 1
    name = contract.inputs[0].name
    slip = {f"{key}s" if key == name else key: value for key, value in asked[0].items()}
    refused = client.ask("/predict", slip)
    assert refused.status == 422
    said = [its["message"] for its in refused.body["violations"] if its["rule"] == "unknown_field"]
    assert said == [f"{name}s is no column, and {name} is absent; is it {name}?"]


def test_settings_say_how_strict_the_service_is(
    settings: Settings, asked: list[dict[str, Any]]
) -> None:
    row = {name: value for name, value in asked[0].items() if value is not None}
    texts = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in row.items()
    }
    lenient = replace(settings, strict_types=False, unknown_fields="refuse")
    with serving(lenient) as client:
        assert client.ask("/predict", texts).status == 200
        respelt = total(client.ask("/metrics").body, "service_respelt_values_total")
        assert respelt == sum(not isinstance(value, str) for value in row.values())
        refused = client.ask("/predict", asked[0] | {"brand new": 1})
        assert (refused.status, refused.body["violations"][0]["message"]) == (
            422,
            "brand new is no column.",
        )


def test_a_refusal_is_in_the_log_without_its_values(
    client: Client, contract: Contract, asked: list[dict[str, Any]]
) -> None:
    column = next((c for c in contract.inputs if c.dtype != "String"), contract.inputs[0])
    secret = {column.name: ["nobody's business"]}
    assert client.ask("/predict", [asked[0], asked[1] | secret, asked[2] | secret]).status == 422
    folder = Path(client.settings.predictions, "refusals")

    def refusals() -> list[dict[str, Any]]:
        read = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.jsonl"))
        assert "nobody" not in read
        return [line for line in map(json.loads, read.splitlines()) if line["rows"] == 2]

    until(lambda: bool(refusals()))
    (line,) = refusals()
    assert datetime.fromisoformat(line["time"]) <= datetime.now(UTC)
    assert line["version"] == client.ask("/version").body["model_version"]
    assert [column.name, "dtype", 2] in line["violations"]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"[]", 400), (b"1", 400), (b"\xff", 400), (b"[" * 5000, 400)],
)  # fmt: skip
def test_what_is_no_row_is_refused_with_a_sentence(
    client: Client, body: bytes, status: int
) -> None:
    refused = client.ask("/predict", body)
    assert refused.status == status
    assert refused.body["detail"].endswith(".")


def test_limits_are_kept(client: Client, asked: list[dict[str, Any]]) -> None:
    assert client.ask("/predict", [asked[0]] * 51).status == 413
    assert client.ask("/predict", b" " * 1_000_001).status == 413
    assert client.ask("/predict", asked[0], Content_Type="text/plain").status == 415
    assert client.ask("/predict").status == 405


def test_every_answer_is_in_the_log(
    client: Client, contract: Contract, frame: pl.DataFrame, asked: list[dict[str, Any]]
) -> None:
    answers = client.ask("/predict", asked).body
    wanted = {answer["prediction_id"]: answer for answer in answers}

    until(lambda: wanted.keys() <= lines(client, "predictions").keys())
    log = client.logged("predictions").filter(pl.col("id").is_in(list(wanted)))
    assert len(log) == len(wanted)
    kept = [column.name for column in contract.inputs if not column.sensitive]
    for record, row in zip(log.iter_rows(named=True), asked, strict=True):
        answer = wanted[record["id"]]
        assert record["version"] == answer["model_version"]
        assert record["prediction"] == answer["prediction"]
        assert list(record["inputs"]) == kept
        numbers = [c.name for c in contract.inputs if c.name in kept and c.kind == "number"]
        assert all(record["inputs"][name] == row[name] for name in numbers)


def test_the_truth_can_be_told_later(
    client: Client, contract: Contract, asked: list[dict[str, Any]]
) -> None:
    number = client.ask("/predict", asked[0]).body["prediction_id"]
    truth = contract.target.choices[0] if contract.target.choices else 1.5
    told = client.ask("/feedback", {"prediction_id": number, "truth": truth})
    assert (told.status, told.body) == (202, {"accepted": 1})
    until(lambda: number in lines(client, "feedback"))
    other = 1.5 if isinstance(truth, str) else "no number"
    refused: list[Any] = [None, [truth], {}, other]
    for wrong in refused:
        assert client.ask("/feedback", {"prediction_id": number, "truth": wrong}).status == 422
    assert client.ask("/feedback", {"prediction_id": "me", "truth": truth}).status == 422


def test_a_truth_that_nobody_has_seen_is_one_as_well(
    client: Client, contract: Contract, asked: list[dict[str, Any]]
) -> None:
    news = {"label": "a new label", "integer": 7_000_000_007, "number": -7e9, "boolean": True}
    kind = shape(contract.target)
    truth, unknown = news[kind], kind in ("label", "integer")
    number = client.ask("/predict", asked[0]).body["prediction_id"]
    before = total(client.ask("/metrics").body, "service_feedback_unknown_total")
    assert client.ask("/feedback", {"prediction_id": number, "truth": truth}).status == 202
    after = total(client.ask("/metrics").body, "service_feedback_unknown_total")
    assert after == before + unknown
    until(lambda: number in lines(client, "feedback"))
    assert lines(client, "feedback")[number]["truth"] == truth


def test_metrics_that_are_left_beside_the_logs_are_passed_on(client: Client) -> None:
    left = Path(client.settings.predictions, "monitoring", "metrics.prom")
    left.parent.mkdir(parents=True)
    left.write_text('# TYPE monitor_drift gauge\nmonitor_drift{column="x"} 0.5\n', "utf-8")
    told = client.ask("/metrics").body
    assert '# TYPE monitor_drift gauge\nmonitor_drift{column="x"} 0.5\n' in told
    assert total(told, "service_feedback_total") >= 0
    left.unlink()
    assert "monitor_" not in client.ask("/metrics").body


def test_whoever_operates_it_can_see_it(client: Client, contract: Contract) -> None:
    assert client.ask("/health").body == {"status": "alive"}
    assert client.ask("/ready").body["ready"] is True
    assert client.ask("/version").body["contract"] == contract.fingerprint
    metrics = client.ask("/metrics").body
    for name in ("requests", "request_seconds", "rows", "model_info", "reload_failing"):
        assert f"# HELP service_{name}" in metrics
    page = client.ask("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    described = client.ask("/openapi.json").body
    assert {"/predict", "/feedback", "/ready"} <= described["paths"].keys()
    properties = described["components"]["schemas"]["Row"]["properties"]
    assert list(properties) == [column.name for column in contract.inputs]


def test_the_example_of_the_description_is_a_good_row(client: Client) -> None:
    row = client.ask("/openapi.json").body["components"]["schemas"]["Row"]["examples"][0]
    assert client.ask("/predict", row).status == 200


def test_a_new_champion_is_picked_up_and_a_broken_one_is_not(
    settings: Settings, trained: Project, tmp_path: Path, asked: list[dict[str, Any]]
) -> None:
    champion = tmp_path / "champion"
    shutil.copytree(trained.bundle, champion)
    with serving(replace(settings, bundle=str(champion))) as client:
        first = client.ask("/version").body["model_version"]
        with replacing(champion) as folder:
            shutil.copytree(trained.bundle, folder)
            write_json(folder / MANIFEST, read_json(folder / MANIFEST) | {"note": "another"})
        until(lambda: client.ask("/version").body["model_version"] != first)
        second = client.ask("/version").body["model_version"]
        with replacing(champion) as folder:
            folder.mkdir()
            (folder / MANIFEST).write_text("{", encoding="utf-8")
        until(lambda: "service_reload_failing 1.0" in client.ask("/metrics").body)
        assert client.ask("/ready").status == 200
        assert client.ask("/predict", asked[0]).body["model_version"] == second


def test_a_shadow_is_asked_what_the_champion_was(
    settings: Settings, trained: Project, tmp_path: Path, asked: list[dict[str, Any]]
) -> None:
    challenger = tmp_path / "challenger"

    def put() -> str:
        with replacing(challenger) as folder:
            shutil.copytree(trained.bundle, folder)
            write_json(folder / MANIFEST, read_json(folder / MANIFEST) | {"note": "another"})
        return Bundle(challenger).digest[:12]

    own = replace(settings, predictions=str(tmp_path / "served"), shadow=str(challenger))
    with serving(own) as client:

        def answers_in_the_shadow(version: str | None) -> bool:
            return bool(client.ask("/version").body["shadow_version"] == version)

        assert answers_in_the_shadow(None)
        alone = client.ask("/predict", asked[0]).body["prediction_id"]
        version = put()
        until(lambda: answers_in_the_shadow(version))
        answers = [*client.ask("/predict", asked).body, client.ask("/predict", asked[0]).body]
        wanted = {answer["prediction_id"]: answer for answer in answers}
        until(lambda: wanted.keys() <= lines(client, "shadow").keys())
        log = lines(client, "shadow")
        assert alone not in log
        for number, answer in wanted.items():
            assert answer["model_version"] != log[number]["version"] == version
            if "probabilities" in answer:
                assert log[number]["prediction"] == answer["prediction"]
                shares = log[number]["probabilities"]
                assert shares == pytest.approx(answer["probabilities"], abs=1e-6)
            else:
                assert log[number]["prediction"] == pytest.approx(answer["prediction"], rel=1e-6)
        metrics = client.ask("/metrics").body
        for name in ("rows", "agreeing_rows"):
            counted = f'service_shadow_{name}_total{{version="{version}"}} {float(len(answers))}'
            assert counted in metrics
        shutil.rmtree(challenger)
        until(lambda: answers_in_the_shadow(None))
        assert client.ask("/predict", asked[0]).status == 200
        put()
        until(lambda: answers_in_the_shadow(version))


def test_without_a_key_nobody_gets_an_answer(
    settings: Settings, asked: list[dict[str, Any]]
) -> None:
    first, second = "open-sesame", "another-key"
    with serving(replace(settings, api_keys=f"{first}, {second}")) as client:
        assert client.ask("/predict", asked[0]).status == 401
        assert client.ask("/predict", asked[0], X_API_Key=first[:-1]).status == 401
        assert client.ask("/predict", asked[0], X_API_Key=first).status == 200
        assert client.ask("/predict", asked[0], Authorization=f"Bearer {second}").status == 200
        assert client.ask("/health").status == 200
