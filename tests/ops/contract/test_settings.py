"""`params.yaml`: what it may hold, and what is said of the rest."""

from pathlib import Path

import pytest
from my_model.ops.errors import UserError
from my_model.ops.settings import Settings


def load(folder: Path, text: str) -> Settings:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return Settings.load(path)


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    assert load(tmp_path, "") == Settings()
    assert load(tmp_path, "seed: 3\nsplit: {folds: 4}").split.holdout == Settings().split.holdout


def test_what_is_there_counts(tmp_path: Path) -> None:
    settings = load(
        tmp_path, "seed: 3\ngates: {slice: 1, minimum_score: null}\ntrain: {linear: {a: b}}"
    )
    assert settings.seed == 3
    assert (settings.gates.slice, settings.gates.minimum_score) == (1.0, None)
    assert settings.train.sections == {"linear": {"a": "b"}}
    assert load(tmp_path, "train: {half_life: none}").train.half_life == "none"
    assert load(tmp_path, "train: {half_life: 30}").train.half_life == 30.0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sead: 1", "unknown key sead; did you mean seed?"),
        ("split: {holdouts: 0.2}", "unknown key split.holdouts; did you mean holdout?"),
        ("seed: yes", "seed is True: expected int, got bool"),
        ("seed: 1.5", "seed is 1.5: expected int, got float"),
        ("split: {holdout: a fifth}", "split.holdout is 'a fifth': expected float, got str"),
        ("train: {model: grove}", "train.model is 'grove': expected auto, blend, linear, boosting"),
        ("train: {bosting: {max_iter: 3}}", r"train\.bosting; did you mean boosting\?"),
        ("train: {scor: r2}", r"unknown key train\.scor; did you mean score\?"),
        ("train: {half_life: soon}", "is 'soon': expected auto, none or a number"),
        ("train: {half_life: 0}", "train.half_life is 0: expected float > 0"),
        ("train: {linear: 3}", "train.linear must be a section with keys"),
        ("registry: {shadow_rows: -1}", "registry.shadow_rows is -1: expected int >= 0"),
        (
            "monitoring: {columns: {a: {psi: 1}}}",
            "monitoring.columns holds a check that is none: 'psi'",
        ),
        ("monitoring: {columns: {a: 1}}", "a value of monitoring.columns will not do: expected"),
        ("monitoring: {accepted: {a: {reason: b}}}", "a value of monitoring.accepted will not do"),
        ("split: 0.2", "split must be a section with keys"),
        ("5: 3", "a key in the file is no text: write it in quotes"),
        ("train: {linear: {1: 2}}", "a key in train.linear is no text"),
        ("- seed", "the file must be a section with keys"),
        ("seed: [1", "params.yaml is not valid YAML: mend it in .* line"),
    ],
)
def test_a_mistake_is_named_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load(tmp_path, text)


def test_a_file_that_is_gone_can_be_restored(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params\.yaml is missing; .* `git restore params\.yaml`"):
        Settings.load(tmp_path / "params.yaml")
