"""The command line: what is there, from where it works, and how it fails."""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from inspect import Parameter, signature
from pathlib import Path
from pkgutil import resolve_name

import pytest
import yaml
from my_model.ops import cli
from my_model.ops.cli import STAGES, main
from my_model.ops.errors import UserError
from my_model.ops.project import Project
from my_model.ops.settings import Settings
from overlay import under_test

ROOT = under_test()

VERBS = (
    *("setup", "doctor", "data", "stage", "tune"),
    *("register", "promote", "history", "score", "report"),
)


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    menu = capsys.readouterr().out
    for verb in VERBS:
        assert f"\n    {verb} " in menu, verb


@pytest.mark.parametrize("verb", [*VERBS, "data use"])
def test_each_verb_explains_itself(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*verb.split(), "--help"])
    assert capsys.readouterr().out.startswith(f"usage: ops {verb}")


def verbs(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers that lead to a function."""
    for action in vars(parser)["_actions"]:
        for inner in (action.choices or {}).values() if action.nargs == argparse.PARSER else ():
            yield from verbs(inner)
    if parser.get_default("does"):
        yield parser


@pytest.mark.parametrize("verb", [*verbs(cli.parser())], ids=lambda verb: verb.prog)
def test_each_verb_gives_its_function_what_it_needs(verb: argparse.ArgumentParser) -> None:
    asked = signature(resolve_name(f"{cli.__package__}.{verb.get_default('does')}")).parameters
    needed = {name for name, it in asked.items() if it.default is Parameter.empty}
    given = {action.dest for action in vars(verb)["_actions"]} - {
        "help",
        "debug",
        argparse.SUPPRESS,
    }
    assert needed <= given | {"project", "host", "options"}
    assert "options" in asked or given <= asked.keys()


@pytest.mark.parametrize(
    "arguments", [[], ["trian"], ["stage", "deploy"], ["data", "use", "x.csv"]]
)
def test_a_wrong_command_exits_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)


def test_a_mistake_is_one_sentence_and_exits_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["history"]) == 2
    output = capsys.readouterr()
    assert output.err == (
        f"ops history: {tmp_path} is not inside a project; change to the project's folder first.\n"
    )
    assert not output.out
    with pytest.raises(UserError):
        main(["history", "--debug"])


def test_a_fault_is_named_and_exits_with_1(
    empty: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    empty.params.unlink()
    empty.params.mkdir()
    assert main(["stage", "validate"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("ops stage: IsADirectoryError: ")
    assert message.endswith("With --debug it shows where.\n")
    with pytest.raises(IsADirectoryError):
        main(["stage", "validate", "--debug"])


def test_it_works_from_any_folder_of_the_project(
    empty: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deep = empty.root / "some folder" / "deeper"
    deep.mkdir(parents=True)
    assert Project.find(deep) == empty
    empty.params.write_text("sead: 1", encoding="utf-8")
    monkeypatch.chdir(deep)
    assert main(["stage", "validate"]) == 2
    assert "unknown key sead" in capsys.readouterr().err


def test_dvc_runs_each_stage_with_parameters_that_exist() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert [stage["cmd"] for stage in stages.values()] == [f"ops stage {name}" for name in STAGES]
    tracked = {name for stage in stages.values() for name in stage.get("params", ())}
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert tracked <= parameters.keys() & set(Settings.__struct_fields__)


@pytest.mark.parametrize("room", ["cli", "bundle", "serving.server"])
def test_what_must_be_quick_imports_little(room: str) -> None:
    module = cli.__name__.replace("cli", room)
    imported = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert module in imported
    assert not {"polars", "dataframely", "sklearn", "mlflow", "matplotlib"} & set(imported)
