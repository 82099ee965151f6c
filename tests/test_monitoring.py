"""Rules, pictures and runbook, held to one another, to the service, and by Prometheus itself."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
import yaml
from containers import ask, image, parts, podman, until
from render import ROOT
from servers import service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from project import Project

MONITORING = ROOT / "template" / "monitoring"
DOCUMENTS = ROOT / "template" / "docs" / "ops"
RULES = {"alerts": "runbook", "alerts-model": "runbook-model"}
"""Each file of rules, and the runbook for it."""
ALERTS = {
    name: {
        rule["alert"]: rule
        for group in yaml.safe_load((MONITORING / f"{name}.yml").read_text())["groups"]
        for rule in group["rules"]
    }
    for name in RULES
}
BOARDS = {
    name: json.loads((MONITORING / "grafana" / "dashboards" / f"{name}.json").read_text())
    for name in ("service", "model")
}
PANELS = [panel for board in BOARDS.values() for panel in board["panels"]]
# What Prometheus itself adds.
PROMETHEUS_OWN = {"up", "ALERTS"}
FUNCTIONS = {"sum", "max", "topk", "rate", "increase", "histogram_quantile", "vector", "time"}
OPERATORS = {"and", "or", "unless"}


def judge(part: str, program: str, *arguments: str) -> str:
    """Run a judge out of the image of a part, over the files where the part has them."""
    mounts = [
        f"--volume={ROOT / 'template'}/{volume.removeprefix('./')}"
        for volume in parts()[part]["volumes"]
        if volume.startswith("./")
    ]
    mounts += [f"--volume={ROOT}/tests/{name}.yml:/{name}.yml:ro" for name in RULES]
    quiet = ("--rm", "--network=none", f"--entrypoint={program}")
    return podman("run", *quiet, *mounts, image(part), *arguments)


def expressions() -> Iterator[str]:
    """Every question that a rule or a picture asks Prometheus."""
    yield from (rule["expr"] for rules in ALERTS.values() for rule in rules.values())
    yield from (note["expr"] for board in BOARDS.values() for note in board["annotations"]["list"])
    yield from (target["expr"] for panel in PANELS for target in panel["targets"])


def metrics(expression: str) -> set[str]:
    """The names of series in an expression."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(by|on) \([^)]*\)", "", expression)
    return set(re.findall(r"\b[a-zA-Z_]\w+\b", bare)) - FUNCTIONS - OPERATORS


def test_prometheus_likes_its_settings_and_rules() -> None:
    said = judge("prometheus", "promtool", "check", "config", "/etc/prometheus/prometheus.yml")
    for rules in ALERTS.values():
        assert f"SUCCESS: {len(rules)} rules found" in said


def test_alertmanager_likes_its_settings() -> None:
    judge("alertmanager", "amtool", "check-config", "/etc/alertmanager/alertmanager.yml")


@pytest.mark.parametrize("name", RULES)
def test_each_alert_fires_when_it_should_and_only_then(name: str) -> None:
    assert "SUCCESS" in judge("prometheus", "promtool", "test", "rules", f"/{name}.yml")
    asked = yaml.safe_load((ROOT / "tests" / f"{name}.yml").read_text())["tests"]
    cases = [case for test in asked for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == ALERTS[name].keys()


@pytest.mark.parametrize("name", RULES)
def test_the_runbook_has_a_section_for_each_alert(name: str) -> None:
    runbook = (DOCUMENTS / f"{RULES[name]}.md").read_text()
    assert re.findall(r"^## (.+)$", runbook, re.MULTILINE) == list(ALERTS[name])
    for alert, rule in ALERTS[name].items():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["runbook"] == f"docs/ops/{RULES[name]}.md#{alert.lower()}"
    titles = {panel["title"] for panel in PANELS}
    pictures = titles | {title.partition(",")[0] for title in titles}
    assert set(re.findall(r"(?<!\*)\*([A-Z][^*]+?)\*(?!\*)", runbook)) - {"Critical"} <= pictures


def test_prometheus_and_grafana_look_where_the_parts_are() -> None:
    prometheus = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    asked = [
        group["targets"] for job in prometheus["scrape_configs"] for group in job["static_configs"]
    ]
    told = [
        group["targets"]
        for manager in prometheus["alerting"]["alertmanagers"]
        for group in manager["static_configs"]
    ]
    provisioning = MONITORING / "grafana" / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())
    (source,) = sources["datasources"]
    shown = yaml.safe_load((provisioning / "dashboards" / "service.yml").read_text())
    assert (asked, told) == ([["service:8080"]], [["alertmanager:9093"]])
    assert source["url"] == "http://prometheus:9090"
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
    (provider,) = shown["providers"]
    (folder,) = re.findall(r"dashboards:(/.+):ro", " ".join(parts()["grafana"]["volumes"]))
    assert provider["options"]["path"] == folder
    sources_named = {panel["datasource"]["uid"] for panel in PANELS}
    assert sources_named == {source["uid"]}


@pytest.mark.parametrize("name", BOARDS)
def test_pictures_do_not_cover_one_another(name: str) -> None:
    panels = BOARDS[name]["panels"]
    places = [
        (x, y)
        for its in (panel["gridPos"] for panel in panels)
        for x in range(its["x"], its["x"] + its["w"])
        for y in range(its["y"], its["y"] + its["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


HOLDOUT = """
import json, polars
from my_model.ops.bundle import Bundle
from my_model.ops.project import Project
project = Project.find()
contract = Bundle(project.champion).contract
frame = polars.read_parquet(project.holdout).sample(1000, with_replacement=True, seed=7)
names = [column.name for column in contract.inputs]
print(json.dumps([frame.select(names).to_dicts(), frame[contract.target.name].to_list()]))
"""
LOGGED = "service_log_written_rows_total 6000.0"
"""As many answers as truths."""


@pytest.fixture(scope="module", params=["sample", "regression"])
def told(
    request: pytest.FixtureRequest,
    trained: Callable[[str], Project],
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """What the service of a model for classes, and of one for numbers, tells Prometheus.

    It has been watched: three windows came in, and their truth.
    """
    project = trained(request.param)
    folder = tmp_path_factory.mktemp("told")
    variables = {**project.environment, "PORT": "0", "PREDICTIONS": str(folder)}
    command = ("uv", "run", "ops", "serve")
    rows, truths = json.loads(project.run("uv", "run", "python", "-c", HOLDOUT))
    with service(command, project.root, folder / "said", variables) as served:
        for _ in range(3):
            said = ask(f"{served.address}/predict", rows)[1]
            facts = zip(said, truths, strict=True)
            told = [{"prediction_id": it["prediction_id"], "truth": fact} for it, fact in facts]
            assert ask(f"{served.address}/feedback", told)[0] == 202
        until(lambda: LOGGED in ask(f"{served.address}/metrics")[1])
        assert "decision" not in ask(f"{served.address}/metrics")[1]
        project.run("uv", "run", "ops", "monitor", PREDICTIONS=str(folder))
        text = ask(f"{served.address}/metrics")[1]
    assert isinstance(text, str)
    return text


def test_what_is_asked_for_is_told(told: str) -> None:
    """Every metric of a rule or a picture is one of the service's, or of who watches."""
    known = dict(re.findall(r"^# TYPE (\S+) (\S+)$", told, re.MULTILINE))
    names = {f"{name}_bucket" if kind == "histogram" else name for name, kind in known.items()}
    asked = set.union(*map(metrics, expressions())) - PROMETHEUS_OWN
    of_the_other_task = {"service_predictions_total", "service_prediction_value_bucket"} - names
    assert len(of_the_other_task) == 1
    assert asked - names - {"monitor_unknown_share"} == of_the_other_task  # a share of words
    shown = {name for name in names if name.startswith(("service_", "monitor_"))} - asked
    assert shown == set(), "nobody ever sees these"


def test_prometheus_likes_what_it_is_told(told: str, tmp_path: Path) -> None:
    (tmp_path / "told").write_text(told)
    script = "promtool check metrics < /told"
    podman(
        *("run", "--rm", "--network=none", "--entrypoint=sh"),
        *(f"--volume={tmp_path}/told:/told:ro", image("prometheus"), "-c", script),
    )
