"""The service as those see it who call it: a browser, a fuzzer, the hosts of models.

What happens under load and under faults is tested in `ops/test_serving.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from browser import browser
from servers import service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from project import Project
    from servers import Service

SERVED = ("sample", "regression", "own-data")
"""Profiles that have a service, of every kind of contract."""

FUZZING = """
[checks]
# Text may spell a number, and a schema cannot say which text does.
positive_data_acceptance.expected-statuses = ["2xx", 422]
negative_data_rejection.expected-statuses = [400, 413, 415, 422]
"""


@contextmanager
def serving(
    project: Project, folder: Path, *options: str, path: str = "/ready", **environment: str
) -> Iterator[Service]:
    """The project's service, with logs of its own in `folder`."""
    with service(
        ["uv", "run", "ops", "serve", *options],
        project.root,
        folder / "said",
        {**project.environment, "PREDICTIONS": str(folder / "served"), **environment},
        path=path,
    ) as found:
        yield found


def test_sagemaker(sample: Project, tmp_path: Path) -> None:
    """It starts the image with the argument `serve`, and asks these routes on port 8080."""
    docker = (sample.root / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["ops"]' in docker
    assert "EXPOSE 8080" in docker
    with serving(sample, tmp_path, path="/ping") as served:
        row = served.ask("/example").body
        one = served.ask("/invocations", row)
        many = served.ask("/invocations", [row, row])
        assert one.status == many.status == 200
        assert [it["prediction"] for it in many.body] == [one.body["prediction"]] * 2
        assert served.ask("/invocations", row | {"mean radius": "wide"}).status == 422
        assert served.ask("/invocations").status == 405
        assert served.end() == 0


def test_vertex_ai(sample: Project, tmp_path: Path) -> None:
    """It says which port and which routes it asks, and wraps rows and answers."""
    routes = {"AIP_HEALTH_ROUTE": "/isalive", "AIP_PREDICT_ROUTE": "/v1/models/7:predict"}
    with serving(sample, tmp_path, path="/isalive", PORT="", AIP_HTTP_PORT="0", **routes) as served:
        row = served.ask("/example").body
        expected = served.ask("/predict", row).body["probabilities"]
        reply = served.ask("/v1/models/7:predict", {"instances": [row, row], "parameters": {}})
        assert reply.status == 200
        assert [it["probabilities"] for it in reply.body["predictions"]] == [expected] * 2
        bad = served.ask("/v1/models/7:predict", {"instances": [row, row | {"mean area": -1}]})
        assert bad.status == 422
        assert [it["row"] for it in bad.body["violations"]] == [1]
        amiss: tuple[object, ...] = (row, [])
        for instances in amiss:
            reply = served.ask("/v1/models/7:predict", {"instances": instances})
            assert (reply.status, list(reply.body)) == (400, ["detail"]), instances
        said = served.metrics()
        assert said.total("service_requests_total", route="/v1/models/7:predict", status="200") == 1


def test_azure_ml(sample: Project, tmp_path: Path) -> None:
    """It asks the root whether the service lives, and posts rows to /score."""
    with serving(sample, tmp_path, path="/") as served:
        row = served.ask("/example").body
        assert served.ask("/score", [row]).status == 200
        assert served.ask("/score", row).body["prediction"] in ("benign", "malignant")
        assert served.ask("/score", [{}]).status == 422


def test_the_service_is_what_its_description_says(sample: Project, tmp_path: Path) -> None:
    """Fuzzed by schemathesis: no fault, and no answer that is not described."""
    (tmp_path / "schemathesis.toml").write_text(FUZZING)
    with serving(sample, tmp_path) as served:
        command = [sys.executable, "-m", "schemathesis.cli", "run"]
        done = subprocess.run(
            [
                *command, f"{served.address}/openapi.json", "--checks=all", "--seed=1",
                "--max-examples=60", "--no-color",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        metrics = served.metrics()
        assert metrics.total("service_requests_total", route="/predict", status="200") > 10
        assert metrics.total("service_requests_total", route="/predict", status="422") > 10
        assert metrics.total("service_requests_total", route="/feedback", status="202") > 10
        assert 'status="5' not in metrics.text
        assert served.end() == 0
    assert "Traceback" not in served.said


@pytest.mark.parametrize("name", SERVED)
def test_a_person_gets_a_prediction_in_a_browser(
    trained: Callable[[str], Project], name: str, tmp_path: Path
) -> None:
    project = trained(name)
    with serving(project, tmp_path) as served, browser(tmp_path) as page:
        page.open(served.address)
        row = served.ask("/example").body
        schema = served.ask("/openapi.json").body["components"]["schemas"]["Row"]
        page.until(f"document.querySelectorAll('#fields [name]').length == {len(row)}")
        names = page.value("[...document.querySelectorAll('#fields [name]')].map(it => it.name)")
        assert names == list(schema["properties"])
        closed = [
            key
            for key, it in schema["properties"].items()
            if it["x-choices"] or it["x-kind"] == "boolean"
        ]
        chosen = "[...document.querySelectorAll('#fields select')].map(it => it.name)"
        assert page.value(chosen) == closed
        assert not page.value("document.querySelector('#key').getClientRects().length")

        page.click("button[type=submit]")
        shown = page.until("document.querySelector('#result strong')?.textContent")
        expected = served.ask("/predict", row).body
        result = page.value("document.querySelector('#result').innerText")
        if "probabilities" in expected:
            assert shown == str(expected["prediction"])
            for label, share in expected["probabilities"].items():
                assert label in result
                assert f"{100 * share:.2f} %" in result
            meters = "[...document.querySelectorAll('#result meter')].map(it => it.value)"
            assert page.value(meters) == pytest.approx([*expected["probabilities"].values()])
        else:
            assert float(shown) == pytest.approx(expected["prediction"], rel=1e-5)
            assert " of 100 cases" in result
        assert f"version {expected['model_version']}" in result
        pictures = {
            scheme: page.picture(tmp_path / f"{scheme}.png", scheme) for scheme in ("light", "dark")
        }
        assert pictures["light"] != pictures["dark"]

        number = next(
            key
            for key, it in schema["properties"].items()
            if it["x-kind"] == "number" and key not in closed
        )
        field = f"#fields [name={json.dumps(number, ensure_ascii=False)}]"
        page.write(field, "wide")
        page.click("button[type=submit]")
        wrong = page.until("document.querySelector('#result .wrong')?.innerText")
        assert number in wrong
        marked = "[...document.querySelectorAll('[aria-invalid=true]')].map(it => it.name)"
        assert page.value(marked) == [number]
        page.picture(tmp_path / "wrong.png", "light", width=420)

        page.click("button[type=reset]")
        page.click("button[type=submit]")
        page.until("!!document.querySelector('#result strong')")
        assert page.value(marked) == []
        assert all(it.startswith((served.address, "data:")) for it in page.asked)
    complaints = [it for it in page.trouble if "422" not in it]  # of the wrong value, by design
    assert complaints == []


def test_a_key_is_asked_for_in_the_browser(sample: Project, tmp_path: Path) -> None:
    with (
        serving(sample, tmp_path, API_KEYS="open-sesame") as served,
        browser(tmp_path) as page,
    ):
        page.open(served.address)
        page.until("document.querySelectorAll('#fields [name]').length")
        page.click("button[type=submit]")
        page.until("document.querySelector('#result .wrong')?.innerText.includes('key')")
        page.write("#key input", "open-sesame")
        page.click("button[type=submit]")
        page.until("!!document.querySelector('#result strong')")
