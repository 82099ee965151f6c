"""Array columns: images, embeddings, histories; from the contract to a bundle."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from copies import module
from my_model.ml import source
from my_model.ops import contract as contracts
from my_model.ops.bundle import Bundle
from my_model.ops.errors import UserError
from my_model.ops.evaluation.distributions import NOW, Texts, Vectors, distribution
from my_model.ops.pipeline import evaluate, ingest, split, train, validate
from my_model.ops.pipeline.hashing import row_keys
from my_model.ops.pipeline.parsing import parse
from my_model.ops.pipeline.validate import check
from my_model.ops.project import Project
from my_model.ops.sampling import sample
from my_model.ops.scoring import unfit
from overlay import under_test

if TYPE_CHECKING:
    from collections.abc import Callable

    import dataframely as dy

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
    if rule and value not in (None, [1e39]):  # which no float32 holds
        assert json.loads(checked.bad[name].item()) == value


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
