"""Array columns: images, embeddings, histories; from the contract to a bundle."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from importlib import import_module
from io import StringIO
from typing import TYPE_CHECKING, Any

import dataframely as dy
import mlflow
import numpy as np
import onnx
import polars as pl
import pytest
from copies import BEGUN, module
from my_model.ml import source
from my_model.ops import contract as contracts
from my_model.ops import mlflow_model
from my_model.ops.bundle import NUMBERS, Bundle
from my_model.ops.errors import UserError
from my_model.ops.evaluation.distributions import NOW, Texts, Vectors, distribution
from my_model.ops.monitoring.reference import Reference
from my_model.ops.monitoring.run import look
from my_model.ops.pipeline import evaluate, ingest, split, train, validate
from my_model.ops.pipeline.hashing import row_keys
from my_model.ops.pipeline.parsing import parse
from my_model.ops.pipeline.validate import check
from my_model.ops.project import Project
from my_model.ops.retraining import examination
from my_model.ops.sampling import sample
from my_model.ops.scoring import unfit
from my_model.ops.serving.requests import Reader, Refusal
from my_model.ops.settings import Monitoring, Settings
from overlay import under_test
from small import judged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from my_model.ops.monitoring.checks import Finding
    from my_model.ops.monitoring.report import Report

SCHEMA = """\
import dataframely as dy


class Row(dy.Schema):
    image = dy.Array(dy.UInt8(max=16), 3, nullable=True)
    history = dy.List(dy.String(nullable=True), max_length=4, nullable=True)
    flags = dy.List(dy.Bool(), min_length=1, max_length=2)
    scores = dy.List(dy.Float32(min=0, nullable=True), max_length=2, nullable=True)
    y = dy.Enum(["no", "yes"], metadata={"target": True})
"""


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("dy.List(dy.Float64())", "may be of any length; say how many items it has at most"),
        ("dy.Array(dy.Float64(), (8, 8))", "has 2 dimensions; declare one of 64 items"),
        ("dy.List(dy.List(dy.Float64(), max_length=2), max_length=2)", "as array; an array holds"),
        ("dy.List(dy.Date(), max_length=2)", "holds Date as time; an array holds numbers"),
        ("dy.Array(dy.Float64(), 2, metadata={'group': True})", "is group, and an array can be"),
        ("dy.Array(dy.Float64(), 2, metadata={'text': True})", "is marked as text"),
        ("dy.Array(dy.String(metadata={'text': True}), 2)", "as text; an array holds"),
    ],
)
def test_an_array_that_no_model_can_take_is_refused_in_a_sentence(
    declared: str, said: str, schema: Callable[[str], type[dy.Schema]]
) -> None:
    row = schema(SCHEMA.replace("dy.Array(dy.UInt8(max=16), 3, nullable=True)", declared))
    with pytest.raises(UserError, match=r"^ml/schema\.py: image") as refused:
        contracts.compile_schema(row)
    assert said in str(refused.value)


def test_items_become_a_row_of_numbers_or_of_texts(
    schema: Callable[[str], type[dy.Schema]],
) -> None:
    schema(SCHEMA)
    contract = contracts.load()
    assert contracts.Contract.from_dict(json.loads(json.dumps(contract.to_dict()))) == contract
    rows = pl.LazyFrame(
        {
            "image": [[1, 2, 3], None],
            "history": [["a", None, "b"], []],
            "flags": [[True], [False, True]],
            "scores": [[0.5, None], None],
        }
    )
    arrays = contract.arrays(parse(rows, labelled=False).rows.collect())
    empty = np.nan
    np.testing.assert_array_equal(arrays["image"], [[1, 2, 3], [empty] * 3])
    np.testing.assert_array_equal(arrays["flags"], [[1, empty], [0, 1]])
    np.testing.assert_array_equal(arrays["scores"], [[0.5, empty], [empty, empty]])
    assert arrays["history"].tolist() == [["a", "", "b", ""], [""] * 4]
    assert {name: its.dtype.kind for name, its in arrays.items()} == dict(
        zip(arrays, "fOff", strict=True)
    )
    unfolded = contracts.unfolded(arrays)
    assert [*unfolded][:4] == ["image[0]", "image[1]", "image[2]", "history[0]"]
    assert contracts.kinds(unfolded, ())["history[0]"] == "category"


GOOD: dict[str, Any] = {
    "image": [1, 2, 3],
    "history": ["a", None],
    "flags": [True],
    "scores": [0.5],
    "y": "yes",
}


@pytest.mark.parametrize("spelt", ["lists", "JSON"])
@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("image", [1, 2], "image|dtype"),
        ("image", [1, 2, 300], "image|dtype"),
        ("image", [1, 2, 17], "image|inner_max"),
        ("image", [1, 2, None], "image|inner_nullability"),
        ("history", ["a"] * 5, "history|max_length"),
        ("flags", None, "flags|nullability"),
        ("flags", [], "flags|min_length"),
        ("scores", [0.5, -1.0], "scores|inner_min"),
        ("scores", [1e39], "scores|inner_inf"),
        ("scores", [float("nan")], None),
        ("image", None, None),
        ("history", [], None),
    ],
)
def test_a_row_whose_array_breaks_the_contract_is_set_aside_as_it_came(
    name: str,
    value: Any,
    rule: str | None,
    spelt: str,
    schema: Callable[[str], type[dy.Schema]],
) -> None:
    schema(SCHEMA)
    row = {key: [its] for key, its in (GOOD | {name: value}).items()}
    types = {
        "image": pl.List(pl.Int64),
        "history": pl.List(pl.String),
        "scores": pl.List(pl.Float64),
    }
    frame = pl.DataFrame(row, schema_overrides=types | {"flags": pl.List(pl.Boolean)})
    if spelt == "JSON":
        if isinstance(value, list) and value != value[:0] and value[0] != value[0]:
            return  # JSON has no NaN
        texts = {
            key: None if its is None else json.dumps(its)
            for key, its in (GOOD | {name: value}).items()
        }
        frame = pl.DataFrame(texts | {"y": "yes"}, schema=dict.fromkeys(texts, pl.String))
    checked = check(parse(frame.lazy()).rows.collect())
    assert [*checked.counts] == ([rule] if rule else [])
    if spelt == "JSON":
        assert refused(GOOD | {name: value}) == ([rule] if rule else [])
    if rule and value not in (None, [1e39]):  # which no float32 holds
        assert json.loads(checked.bad[name].item()) == value


def refused(row: dict[str, Any]) -> list[str]:
    """The rules that the service says a row breaks."""
    told = {name: value for name, value in row.items() if name != "y"}
    try:
        Reader(contracts.load()).read(json.dumps(told).encode())
    except Refusal as refusal:
        return [f"{field}|{rule}" for field, rule in refusal.counts]
    return []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("image", [1, "2", 3], "image[1] must be a whole number from 0 to 255, and not text."),
        ("image", [1, 2, 3.5], "image[2] must be a whole number from 0 to 255."),
        ("image", [1, 2, None], "image[2] must not be missing."),
        ("image", [1, 17, 18], "image[1] must be 16 or less."),
        ("image", [1, 2], "image must be a list of 3 items, each a whole number from 0 to 255."),
        ("image", "1, 2, 3", "image must be a list of 3 items, each a whole number from 0 to 255."),
        ("history", ["a"] * 5, "history must be at most 4 items long."),
        ("history", ["a", ["b"]], "history[1] must be text."),
        ("flags", [], "flags must be at least 1 items long."),
        ("flags", [True, 1], "flags[1] must be true or false."),
        ("scores", [1e39], "scores[0] must be from -3.4e+38 to 3.4e+38."),
    ],
)
def test_the_service_says_which_item_is_wrong(
    name: str, value: Any, said: str, schema: Callable[[str], type[dy.Schema]]
) -> None:
    schema(SCHEMA)
    told = {key: its for key, its in (GOOD | {name: value}).items() if key != "y"}
    with pytest.raises(Refusal) as refusal:
        Reader(contracts.load()).read(json.dumps(told).encode())
    (violation,) = refusal.value.violations
    assert (violation.field, violation.message) == (name, said)


def test_the_service_makes_the_arrays_that_training_makes(
    schema: Callable[[str], type[dy.Schema]],
) -> None:
    schema(SCHEMA)
    contract = contracts.load()
    reader, rows = Reader(contract), sample(30, seed=1).drop("y")
    body = "[" + ",".join(rows.write_ndjson().splitlines()) + "]"
    made, wanted = reader.arrays(reader.read(body.encode()).records), contract.arrays(rows)
    assert [*made] == [*wanted]
    for name, values in wanted.items():
        np.testing.assert_array_equal(made[name], values)
    whole = json.dumps({**GOOD, "image": [1.0, 2.0, 3.0], "y": 0}).encode()
    assert reader.read(whole).records[0][0] == [1, 2, 3]
    (one,) = reader.schema()["properties"]["image"]["anyOf"][:1]
    assert (one["type"], one["minItems"], one["maxItems"]) == ("array", 3, 3)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (pl.Series([[[1], [2]]]), "turn it into lists of UInt8"),
        (pl.Series([{"a": 1}]), "turn it into lists of UInt8"),
        (pl.Series([1.0]), "turn it into lists of UInt8"),
    ],
)
def test_a_source_that_holds_no_lists_is_refused(
    given: pl.Series, said: str, schema: Callable[[str], type[dy.Schema]]
) -> None:
    schema(SCHEMA)
    frame = pl.DataFrame({**{key: [its] for key, its in GOOD.items()}, "image": given})
    with pytest.raises(UserError, match=said):
        parse(frame.lazy())


def test_text_that_is_no_list_is_kept_for_a_person_to_see(
    schema: Callable[[str], type[dy.Schema]],
) -> None:
    schema(SCHEMA)
    texts = ["[1, 2", '["a", 2, 3]', "7", '{"a": 1}', "[NaN, 1, 2]", ""]
    rows = pl.LazyFrame({"image": texts, **{k: [v] * 6 for k, v in GOOD.items() if k != "image"}})
    checked = check(parse(rows).rows.collect())
    assert checked.counts == {"image|dtype": 5}
    assert checked.bad["image"].to_list() == texts[:5]
    assert checked.good["image"].to_list() == [None]


def test_json_may_write_codes_as_numbers_and_gaps_as_python_does(
    schema: Callable[[str], type[dy.Schema]],
) -> None:
    contract = contracts.compile_schema(schema(SCHEMA))
    given = {**GOOD, "history": '[7, "a", null]', "scores": "[NaN, 0.5]"}
    checked = check(
        parse(pl.LazyFrame({name: [its] for name, its in given.items()})).rows.collect()
    )
    assert checked.counts == {}
    arrays = contract.arrays(checked.good)
    assert arrays["history"].tolist() == [["7", "a", "", ""]]
    np.testing.assert_array_equal(arrays["scores"], [[np.nan, 0.5]])


def test_the_hash_of_a_row_with_arrays_is_written_down() -> None:
    rows = pl.LazyFrame({"h": pl.Series([["a", None], [], None, ["a"]], dtype=pl.List(pl.String))})
    keys = [f"{key:016x}" for key in row_keys(rows, ["h"]).tolist()]
    assert keys == [
        "05e3957ae9de2488",
        "3f8e7cc4cdbad43e",
        "e8483888cf729108",
        "b415d4163f03a4bb",
    ]
    fixed = rows.select(pl.lit([1, 2], pl.List(pl.Int64)).alias("h"))
    same = fixed.select(pl.col("h").cast(pl.Array(pl.Int64, 2)))
    assert row_keys(fixed, ["h"]).tolist() == row_keys(same, ["h"]).tolist()


def test_rows_are_made_from_the_contract(schema: Callable[[str], type[dy.Schema]]) -> None:
    schema(SCHEMA)
    rows = sample(40, seed=0)
    assert len(rows) == 40
    assert rows["image"].null_count()
    assert {*rows["history"].list.len().drop_nulls()} == {0, 1, 2, 3, 4}


ROWS = 240


def bought(rows: int, seed: int = 0) -> pl.DataFrame:
    """Who buys tea, or has a dark corner: `y`; a twentieth have no history, some no image."""
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 17, (rows, 3))
    names = np.array(["tea", "milk", "bread"])
    lists = [names[draw.integers(0, 3, draw.integers(0, 5))].tolist() for _ in range(rows)]
    truth = ["yes" if images[n, 0] > 8 or "tea" in lists[n][:1] else "no" for n in range(rows)]
    frame = {
        "image": [None if n % 30 == 0 else image for n, image in enumerate(images.tolist())],
        "history": [None if n % 20 == 0 else its for n, its in enumerate(lists)],
        "flags": [[True]] * rows,
        "scores": [[1.0, None]] * (rows - 1) + [[2.0]],
        "y": truth,
    }
    return pl.DataFrame(frame)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of images and histories, from rows to a bundle."""
    root = tmp_path_factory.mktemp("arrays")
    for name in ("pyproject.toml", "dvc.yaml"):
        shutil.copyfile(under_test() / name, root / name)
    params = (under_test() / "params.yaml").read_text()
    (root / "params.yaml").write_text(params.replace("model: auto", "model: linear"))
    (root / "data").mkdir()
    project = Project(root)
    with pytest.MonkeyPatch.context() as patch:
        row = module(SCHEMA, root, patch).Row
        patch.setattr(contracts, "schema", lambda: row)
        patch.setattr(source, "load", lambda _: bought(ROWS).lazy())
        for stage in (ingest, validate, split, train, evaluate):
            stage.run(project)
    return project


def test_a_model_of_arrays_is_trained_and_explained_column_by_column(made: Project) -> None:
    bundle = Bundle(made.bundle)
    assert bundle.manifest["features"] == [
        {"name": "image", "kind": "number", "items": 3},
        {"name": "history", "kind": "category", "items": 4},
    ]
    assert all(gate["passed"] for gate in bundle.manifest["gates"])
    takers = {it.op_type for it in onnx.load(bundle.model).graph.node if NUMBERS in it.input}
    assert takers == {"Gather"}  # a Split would cost one row a moment for each item
    importance = json.loads((made.reports / "findings" / "importance.json").read_text())
    assert {record["column"] for record in importance} == {"image", "history", "flags", "scores"}
    card = (made.reports / "cards" / "data.md").read_text()
    assert "| Array of UInt8 |" in card
    assert "| 3 items, each ≤ 16 |" in card
    assert " items on average" in card


def test_a_bundle_knows_by_golden_rows_whether_code_makes_its_arrays(made: Project) -> None:
    bundle = Bundle(made.bundle)
    assert bundle.obstacle() is None
    assert len(bundle.manifest["example"]["image"]) == 3
    bundle.features = lambda columns, _: {**columns, "image": columns["image"][:, :2]}
    assert bundle.obstacle() == "ml/features.py does not make its number image"
    bundle.features = lambda columns, _: {**columns, "image": columns["image"][:, ::-1]}
    assert "its answers to the golden rows are off" in str(bundle.obstacle())


def test_rows_of_another_length_do_not_fit_a_bundle(
    made: Project, schema: Callable[[str], type[dy.Schema]]
) -> None:
    schema(SCHEMA)
    assert unfit(Bundle(made.bundle), contracts.load()) is None
    schema(SCHEMA.replace("max_length=4", "max_length=9"))
    said = "it needs the column history as array of 4 items, each a category"
    assert unfit(Bundle(made.bundle), contracts.load()) == said


def test_a_window_is_counted_by_what_sums_arrays_up(made: Project) -> None:
    bundle = Bundle(made.bundle)
    seen = bundle.manifest["profile"]
    windows = {
        name: distribution(seen["columns"][name], seen["rows"]) for name in ("image", "history")
    }
    for column in bundle.contract.features[:2]:
        windows[column.name].add(bundle.contract.arrays(bought(60))[column.name])
    image, history = windows["image"], windows["history"]
    assert isinstance(image, Vectors)
    assert isinstance(history, Texts)
    assert [image.missing[NOW], history.missing[NOW]] == [2, history.lengths.missing[NOW]]
    assert image.summaries["mean"].means == pytest.approx([8, 8], abs=1)
    assert {*history.words} == {"tea", "milk", "bread"}
    assert [part.shape[0] for part in image.parts] == [2] * len(image.parts)


def logged(served: Path, rows: pl.DataFrame, bundle: Bundle, day: int) -> None:
    """Rows as the service logs them, one a second."""
    answers = bundle.predict(bundle.contract.arrays(rows))
    assert answers.probabilities is not None
    lines = []
    for place, row in enumerate(rows.drop("y").iter_rows(named=True)):
        shares = dict(zip(("no", "yes"), answers.probabilities[place].tolist(), strict=True))
        lines.append(
            {
                "id": f"{day:012x}{place:012x}",
                "time": (BEGUN + timedelta(days=day, seconds=place)).isoformat(),
                "version": bundle.origin.version,
                "inputs": row,
                "prediction": ("no", "yes")[answers.values[place]],
                "probabilities": shares,
            }
        )
    folder = served / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{BEGUN + timedelta(days=day):%Y%m%dT%H%M%S.%fZ}-{day:08x}.jsonl"
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))


def looked(project: Project, served: Path, *days: pl.DataFrame) -> tuple[Report, list[Finding]]:
    """What `ops monitor` finds in the newest of some days."""
    bundle = Bundle(project.bundle)
    for day, rows in enumerate(days):
        logged(served, rows, bundle, day)
    reference = Reference(bundle, bundle.origin.version, (project.train, project.holdout))
    settings = Settings(monitoring=Monitoring(window="1d"))
    report = look(served, reference, settings, BEGUN + timedelta(days=len(days)))
    return report, report.verdicts[len(days) - 1].came


def test_monitoring_finds_nothing_in_arrays_that_are_as_before(
    made: Project, tmp_path: Path
) -> None:
    report, found = looked(made, tmp_path, bought(200, seed=5))
    assert found == []
    assert "Columns taken together: " in report.together


def test_monitoring_finds_what_moved_in_arrays(made: Project, tmp_path: Path) -> None:
    rows = bought(200, seed=5)
    image = pl.col("image").list.eval(pl.element() / 16)  # another unit
    history = pl.col("history").list.eval(pl.element().replace("tea", "coffee"))
    report, found = looked(made, tmp_path, rows.with_columns(image, history))
    said = "\n".join(finding.sentence for finding in found)
    assert "The norm of image moved" in said
    assert "New are coffee" in said
    assert "history has other items (PSI" in said
    assert report.outcome.decision == "alert"
    assert report.outcome.action.startswith("Look upstream: image is 1/16")
    assert report.verdicts[0].columns["history"]["unknown"] > 0.1


def test_columns_taken_together_tell_of_items_by_their_array(made: Project, tmp_path: Path) -> None:
    rows = bought(600, seed=5)
    turned = rows.with_columns(pl.col("image").list.eval(pl.element().sort()))
    _, found = looked(made, tmp_path, turned)
    columns = [(finding.check, finding.column) for finding in found if finding.column]
    assert columns == [("multivariate", "image")]  # neither norm nor mean has moved
    assert found[-1].sentence.partition("most of all by ")[2].startswith("image")


@pytest.mark.parametrize("text", [False, True])
def test_pandas_brings_arrays_as_lists_or_as_json(*, made: Project, text: bool) -> None:
    pandas: Any = import_module("pandas")
    bundle, rows = Bundle(made.bundle), bought(20).drop("y")
    given = {name: rows[name].to_list() for name in rows.columns}
    if text:
        given = {k: [None if v is None else json.dumps(v) for v in its] for k, its in given.items()}
    said = mlflow_model.Model(bundle).predict(pandas.DataFrame(given))
    wanted = bundle.predict(bundle.contract.arrays(rows))
    np.testing.assert_allclose(said["probability_yes"], wanted.probabilities[:, 1], atol=1e-6)
    for wrong in ([1, 2], [1, 2, 3, 4], 3.0, "3", '{"a": 1}'):
        with pytest.raises(UserError, match="image must have 3 items"):
            mlflow_model.Model(bundle).predict(pandas.DataFrame(given | {"image": [wrong] * 20}))


class Seen(dy.Schema):
    """An image and a history at some moment, and what came of it."""

    seen = dy.Datetime(metadata={"event_time": True})
    image = dy.Array(dy.Float64(nullable=True), 3, nullable=True)
    history = dy.List(dy.String(nullable=True), max_length=4, nullable=True)
    y = dy.Enum(["no", "yes"], metadata={"target": True})


@pytest.mark.filterwarnings("ignore:.*Any type hint")
def test_arrays_come_with_the_time_of_their_row_to_mlflow_and_to_the_service(
    tmp_path: Path,
) -> None:
    """As lists and times, in another time zone, as texts of a file, and as JSON of a caller."""
    moments = [BEGUN.replace(tzinfo=None) + timedelta(hours=7 * place) for place in range(ROWS)]
    rows = bought(ROWS).with_columns(pl.Series("seen", moments))
    rows = rows.select("seen", "image", "history", pl.col("y").cast(pl.Enum(["no", "yes"])))
    with judged(tmp_path, Seen, rows[:180], rows[180:], {"model": "linear"}) as project:
        bundle, asked = Bundle(project.bundle), rows[180:].drop("y")
        wanted = bundle.predict(bundle.contract.arrays(asked)).scored[:, 1]
        reader = Reader(bundle.contract)
        body = "[" + ",".join(asked.write_ndjson().splitlines()) + "]"
        read = reader.arrays(reader.read(body.encode()).records)
        np.testing.assert_allclose(bundle.predict(read).scored[:, 1], wanted)
        loaded = mlflow.pyfunc.load_model(str(project.bundle))
    pandas: Any = import_module("pandas")
    frame = pandas.DataFrame({name: asked[name].to_list() for name in asked.columns})
    texts = frame.map(lambda it: json.dumps(it) if isinstance(it, list) else it)
    texts["seen"] = texts["seen"].map(lambda it: it.isoformat())
    abroad = frame.assign(seen=frame["seen"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"))
    vectors = frame.assign(image=frame["image"].map(np.array, na_action="ignore"))
    for given in (frame, abroad, texts, texts.head(1), vectors, pandas.read_json(StringIO(body))):
        said = loaded.predict(given)["probability_yes"]
        np.testing.assert_allclose(said, wanted[: len(given)], atol=1e-6)


def test_a_second_opinion_on_labels_learns_from_arrays(made: Project) -> None:
    bundle, rows = Bundle(made.bundle), bought(300, seed=9)
    truth, arrays = bundle.contract.labels(rows), bundle.contract.arrays(rows)
    inputs, said = bundle.inputs(arrays), bundle.predict(arrays)
    assert said.probabilities is not None
    inputs += [*said.probabilities.T]
    keys = pl.Series("__labelled_by", ["a", "b", "c"] * 100)
    opinion = examination._second_opinion(made, bundle, inputs, truth, keys)
    assert (opinion == truth).mean() > 0.9
