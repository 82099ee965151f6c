"""The shadow: what it cannot read, what it has no time for, and what it must have shown."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
import yaml
from bundles import scale
from my_model.ops import bundle as bundles
from my_model.ops import cli
from my_model.ops.bundle import Bundle, Origin
from my_model.ops.evaluation import shadow as evidence
from my_model.ops.files import read_json, write_json
from my_model.ops.registry import tracking
from my_model.ops.serving import shadow as shadows
from my_model.ops.serving.locations import locate
from my_model.ops.serving.log import Log
from my_model.ops.serving.metrics import Metrics
from my_model.ops.serving.models import Answer, Model
from my_model.ops.serving.settings import Strictness
from my_model.ops.serving.shadow import Shadow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from my_model.ops.project import Project

RADIUS = 15
"""The least mean radius that a stricter contract takes; half of the rows have less."""


def unchanged(_: Path) -> None:
    """Leave a bundle as it is."""


def version(
    bundle: Path, folder: Path, number: int, spoil: Callable[[Path], None] = unchanged
) -> Path:
    """A copy of a bundle that is a version of its own."""
    shutil.copytree(bundle, folder)
    with_note = read_json(folder / "manifest.json") | {"note": number}
    write_json(folder / "manifest.json", with_note)
    spoil(folder)
    bundles.sign(folder, Origin(str(number), "none", "none"))
    return folder


def stricter(folder: Path) -> None:
    """Let a bundle take large cells only."""
    manifest = read_json(folder / "manifest.json")
    (radius,) = (it for it in manifest["contract"]["columns"] if it["name"] == "mean radius")
    radius["minimum"] = RADIUS
    write_json(folder / "manifest.json", manifest)


def undefined(folder: Path) -> None:
    """Let a bundle answer every row with what is no number."""
    scale(folder, float("nan"))


Request = tuple[bytes, list[Answer]]
"""Rows as they came, and the champion's answers."""


class Stage:
    """A shadow with nothing around it but its log, and a champion's answers to give it."""

    def __init__(self, bundle: Path, root: Path, spoil: Callable[[Path], None] = unchanged) -> None:
        self.root = root
        folder = version(bundle, root / "challenger", 2, spoil)
        self.metrics = Metrics(root / "none")
        self.log = Log(root / "shadow", 0.05)
        self.shadow = Shadow(locate(str(folder)), Strictness(), self.log, self.metrics)
        self.champion = Model.load(Bundle(version(bundle, root / "champion", 1)))

    def answered(self, rows: list[dict[str, Any]], *, many: bool = True) -> Request:
        """What the champion has made of some rows."""
        body = json.dumps(rows if many else rows[0]).encode()
        said = self.champion.score(self.champion.reader.read(body).records)
        return body, [Answer(f"{n:024x}", "1", *its) for n, its in enumerate(said)]

    def run(self, *requests: Request) -> pl.DataFrame:
        """Let the shadow have requests, and end when it is done; gives its log."""
        self.shadow.start()
        for request in requests:
            self.shadow.offer(self.champion, *request)
        self.shadow.close()
        self.log.close()
        return pl.read_ndjson(b"".join(it.read_bytes() for it in self.root.glob("shadow/*")))

    def counted(self, name: str, **labels: str) -> float:
        """The value of a metric."""
        return self.metrics.registry.get_sample_value(name, {"version": "2", **labels}) or 0.0


@pytest.fixture
def asked(trained: Project) -> list[dict[str, Any]]:
    """Rows to ask about, small cells and large ones."""
    frame = pl.read_parquet(trained.holdout).drop("diagnosis")
    rows: list[dict[str, Any]] = json.loads(frame.write_json())
    return rows


def small(row: dict[str, Any]) -> bool:
    return bool(row["mean radius"] < RADIUS)


@pytest.mark.parametrize("many", [True, False])
def test_the_shadow_reads_rows_by_its_own_contract(
    trained: Project, tmp_path: Path, asked: list[dict[str, Any]], *, many: bool
) -> None:
    stage = Stage(trained.bundle, tmp_path, stricter)
    asked.sort(key=small, reverse=True)
    asked = asked if many else asked[:1]
    log = stage.run(stage.answered(asked, many=many))
    assert log["id"].to_list() == [f"{number:024x}" for number in range(len(asked))]
    assert log["prediction"].is_null().to_list() == [small(row) for row in asked]
    refused = sum(map(small, asked))
    scored = len(asked) - refused
    assert stage.counted("service_shadow_failed_rows_total", reason="refused") == refused > 0
    assert stage.counted("service_shadow_rows_total") == scored
    assert stage.counted("service_shadow_agreeing_rows_total") == scored


def test_what_is_no_number_is_a_failure(
    trained: Project, tmp_path: Path, asked: list[dict[str, Any]]
) -> None:
    stage = Stage(trained.bundle, tmp_path, undefined)
    log = stage.run(stage.answered(asked))
    assert log["prediction"].is_null().all()
    failed = stage.counted("service_shadow_failed_rows_total", reason="undefined")
    assert failed == len(log) == len(asked)
    assert stage.counted("service_shadow_rows_total") == 0


def test_what_the_shadow_has_no_time_for_is_counted(
    trained: Project, tmp_path: Path, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadows, "MOST_BYTES", 2 * len(json.dumps(asked)))
    stage = Stage(trained.bundle, tmp_path)
    log = stage.run(*[stage.answered(asked)] * 200)
    dropped = stage.counted("service_shadow_dropped_rows_total")
    assert dropped > 0
    assert dropped + len(log) == 200 * len(asked)
    assert stage.counted("service_shadow_rows_total") == len(log)


def test_a_request_that_is_larger_than_all_that_may_wait_is_taken_alone(
    trained: Project, tmp_path: Path, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadows, "MOST_BYTES", 1)
    stage = Stage(trained.bundle, tmp_path)
    assert len(stage.run(stage.answered(asked))) == len(asked)


@pytest.fixture
def challenged(project: Project) -> Project:
    """A project that asks for fifty rows in the shadow, and has trained its next model."""
    params = yaml.safe_load(project.params.read_text())
    params["registry"] |= {"shadow_rows": 50}
    project.params.write_text(yaml.safe_dump(params))
    path = project.bundle / "manifest.json"
    write_json(path, read_json(path) | {"note": "the next"})
    return project


class Story:
    """The log of a service that had version 2 in its shadow."""

    def __init__(self, project: Project) -> None:
        self.folder = project.root / "data" / "served"
        self.draw = np.random.default_rng(7)

    def write(self, kind: str, **lines: dict[str, Any]) -> None:
        """Append lines to a log, by their ids."""
        moment = "2026-11-21T10:00:00.000000+00:00"
        text = "".join(
            json.dumps({"id": name, "time": moment, **line}) + "\n" for name, line in lines.items()
        )
        path = self.folder / kind / f"{len(list(self.folder.glob('*/*')))}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + '{"id":"half a li')  # somebody is writing

    def go(self, rows: int, *, right: float = 0.9, failed: int = 0, told: int = 0) -> None:
        """Both answer rows, the shadow with this share right, the champion with 0.9."""
        start = len(list(self.folder.glob("*/*"))) * 100_000
        names = [f"{start + number:024x}" for number in range(rows)]
        truth = self.draw.integers(0, 2, rows)

        def answers(version: str, share: float) -> dict[str, dict[str, Any]]:
            wrong = self.draw.random(rows) > share
            chance = np.where(truth ^ wrong, 0.8, 0.2) + self.draw.uniform(-0.1, 0.1, rows)
            return {
                name: {
                    "version": version,
                    "prediction": ("benign", "malignant")[int(one > 0.5)],
                    "probabilities": {"benign": 1 - one, "malignant": one},
                }
                for name, one in zip(names, chance, strict=True)
            }

        self.write("predictions", **answers("1", 0.9))
        shadow = answers("2", right)
        for name in names[:failed]:
            shadow[name] |= {"prediction": None, "probabilities": None}
        self.write("shadow", **shadow)
        classes = ("benign", "malignant")
        facts = zip(names[:told], truth, strict=False)
        wrong_at_first = {name: {"truth": classes[1 - one]} for name, one in facts}
        self.write("feedback", **wrong_at_first)
        facts = zip(names[:told], truth, strict=False)
        later = "2026-11-22T10:00:00.000000+00:00"
        corrected = {name: {"truth": classes[one], "time": later} for name, one in facts}
        self.write("feedback", **corrected)


def challenger(project: Project) -> str | None:
    """The version that lies where a shadow finds it."""
    folder = project.root / "models" / "challenger"
    return Bundle(folder).origin.version if folder.exists() else None


def served(project: Project) -> str:
    return Bundle(project.champion).origin.version


def test_a_challenger_waits_in_the_shadow_until_it_has_shown_enough(
    challenged: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project = challenged
    assert cli.main(["register"]) == 0
    assert "waits    shadow: In the shadow, version 2 answered 0 rows; 50 are asked." in (
        capsys.readouterr().out
    )
    assert (served(project), challenger(project)) == ("1", "2")
    story = Story(project)
    story.go(49)
    assert cli.main(["promote"]) == 3
    assert "shadow: In the shadow, version 2 answered 49 rows" in capsys.readouterr().err
    assert cli.main(["register"]) == 0
    assert (served(project), challenger(project)) == ("1", "2")
    story.go(1)
    assert cli.main(["register"]) == 0
    assert (served(project), challenger(project)) == ("2", None)
    with tracking.connected(project) as store:
        event = store.promotions()[-1]
    assert event.evidence["gates"]["shadow"] == "passed"
    assert "ground truth has come for 0" in event.evidence["shadow"]


def test_a_version_that_has_been_champion_needs_no_shadow(challenged: Project) -> None:
    assert cli.main(["register"]) == 0
    Story(challenged).go(50)
    assert cli.main(["promote"]) == 0
    assert cli.main(["rollback"]) == 0
    shutil.rmtree(challenged.root / "data" / "served")
    assert cli.main(["promote", "2"]) == 0
    assert served(challenged) == "2"


@pytest.mark.parametrize(
    ("story", "said"),
    [
        ({"failed": 1}, "failed at 1; none is allowed"),
        ({"right": 0.6, "told": 400}, "worse by"),
    ],
)
def test_a_challenger_that_fails_or_loses_in_the_shadow_is_not_promoted(
    challenged: Project, capsys: pytest.CaptureFixture[str], story: dict[str, Any], said: str
) -> None:
    assert cli.main(["register"]) == 0
    Story(challenged).go(400, **story)
    assert cli.main(["promote"]) == 3
    assert said in capsys.readouterr().err
    assert served(challenged) == "1"


def test_a_challenger_that_is_as_good_in_the_shadow_is_promoted(challenged: Project) -> None:
    assert cli.main(["register"]) == 0
    story = Story(challenged)
    story.go(400, told=300)
    latest = {"truth": "a new label", "time": "2026-11-23T10:00:00.000000+00:00"}
    story.write("feedback", **{f"{7:024x}": latest})
    assert cli.main(["promote"]) == 0
    with tracking.connected(challenged) as store:
        reason = store.promotions()[-1].evidence["shadow"]
    assert "where ground truth has come (299 rows), ROC AUC" in reason


def test_other_versions_and_other_classes_are_told_apart(challenged: Project) -> None:
    """What a version of another time has said, with classes of its own, is in nobody's way."""
    story = Story(challenged)
    story.go(50, told=50)
    odd = {"version": "3", "prediction": 7, "probabilities": {"x": 1.0}}
    story.write("shadow", **{"0" * 24: odd})
    story.write("predictions", **{"0" * 24: odd | {"inputs": {"a": None}}})
    story.write("feedback", **{"0" * 24: {"truth": 7}})
    contract = Bundle(challenged.bundle).contract
    truth, ours, theirs, groups = evidence.compared(story.folder, contract, 2, 1)
    assert len(truth) == 50
    assert ours.scored.shape == theirs.scored.shape == (50, 2)
    assert groups is None
    right = ((ours.values == truth).mean(), (theirs.values == truth).mean())
    assert right == pytest.approx((0.9, 0.9), abs=0.15)
    assert evidence.counted(story.folder / "shadow", 3) == (1, 0)
