"""The use case: asked in a terminal, through a pipe, by options; kept, gated, on the card."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from select import select
from signal import SIGINT
from typing import TYPE_CHECKING

import pytest
import yaml
from copies import client, environment, ops, set_params
from my_model.ops import cli
from my_model.ops.project import Project
from my_model.ops.settings import Settings
from my_model.ops.use_case.wizard import answers
from overlay import ANSWERS, overlay, tools, under_test

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPED = {
    "use_case": "Answer the mail: 5 2 5; Route the mail: 5 4 2",
    "decides": "A clerk reads what is in her queue",
    "affected": "Customers",
    "replaces": "A clerk who forwards every mail",
    "limits": "To judge a customer",
    "costs": "malignant as benign: 10",
    "minimum_score": "0.8",
    "groups": 'large: "mean radius" > 15',
    "owner": "@ada, head@example.org",
    "risk": "limited",
    "retention": "the log for 90 days",
}
KEPT = TYPED | {
    "use_case": "Route the mail: 5 4 2; Answer the mail: 5 2 5",
    "costs": "malignant as benign: 10.0",
}


COMMAND = [str(tools() / "ops"), "use-case"]
REVIEWED = ("/docs/use-case.md", "/params.yaml", "/src/*/ml/")


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """What the wizard reads and writes, in the current folder."""
    project = Project(tmp_path)
    for name in ("pyproject.toml", "dvc.yaml", "params.yaml", "CODEOWNERS", "docs/use-case.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((under_test() / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    return project


def said(project: Project) -> dict[str, str | None]:
    return answers(project, Settings.load(project.params))


def variables(project: Project, root: Path) -> Mapping[str, str]:
    """Let processes import the package of a render."""
    return environment(project) | {"PYTHONPATH": str(root / "src")}


def piped(project: Project, text: str, root: Path) -> list[str]:
    """Type some lines, and give those that were said."""
    done = subprocess.run(
        COMMAND,
        cwd=project.root,
        env=variables(project, root),
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("sample", ["breast-cancer", "none"])
def test_each_answer_goes_to_its_one_place_also_before_there_is_data(
    begun: Project, sample: str
) -> None:
    root = under_test() if sample == "breast-cancer" else overlay({**ANSWERS, "sample": sample})
    body = begun.use_case.read_text().partition("\n---\n")[2]
    lines = piped(begun, "\n".join([*TYPED.values(), ""]), root)
    assert not any("Not answered" in line for line in lines)
    assert ("     here: benign and malignant" in lines) == (sample == "breast-cancer")
    assert any(line.startswith("     here: mean radius, ") for line in lines) == (sample != "none")
    assert said(begun) == KEPT
    head, _, rest = begun.use_case.read_text().partition("\n---\n")
    assert rest == body
    assert "# whom it concerns" in head
    assert not {"costs", "minimum_score", "groups"} & yaml.safe_load(head).keys()
    params = yaml.safe_load(begun.params.read_text())
    assert params["train"]["costs"] == {"malignant": {"benign": 10.0}}
    assert params["gates"]["minimum_score"] == 0.8
    assert params["gates"]["groups"] == {"large": '"mean radius" > 15'}
    assert "# for one row" in begun.params.read_text()
    owners = (begun.root / "CODEOWNERS").read_text().splitlines()
    assert owners[-3:] == [f"{path} @ada head@example.org" for path in REVIEWED]


def test_use_cases_are_ranked_by_value_data_and_effort(begun: Project) -> None:
    lines = piped(begun, TYPED["use_case"] + "\n", under_test())
    first, second = (next(it for it in lines if it.startswith(its)) for its in ("Route", "Answer"))
    assert (first.split()[-1], second.split()[-1]) == ("10.0", "2.0")
    assert lines.index(first) < lines.index(second)
    piped(begun, "Route the mail\n", under_test())
    assert said(begun)["use_case"] == "Route the mail"


def test_answers_are_taken_as_people_type_them(begun: Project) -> None:
    typed = {"use-case": "Mail: where does it belong?", "minimum-score": "85%", "risk": "Limited"}
    for name, text in typed.items():
        assert cli.main(["use-case", f"--{name}", text]) == 0
    kept = said(begun)
    assert (kept["use_case"], kept["minimum_score"]) == ("Mail: where does it belong?", "0.85")
    assert kept["risk"] == "Limited"
    pasted = "A paragraph,\n\nwith: # more - than\n---\none line"
    for text in ("no", "12:30", "~", "2030-01-01", "Größe: 😀", 'it\'s "so"', pasted):
        assert cli.main(["use-case", "--decides", text, "--limits", text]) == 0
        assert (said(begun)["decides"], said(begun)["limits"]) == (text, text)
    assert cli.main(["use-case", "--use-case", "Mail until 10:30 or so"]) == 0
    assert cli.main(["use-case", "--groups", "no: large; yes: small", "--owner", "@ada"]) == 2
    groups = {"no": '"mean radius" > 15', "on": '"mean radius" < 9'}
    typed = "; ".join(f"{name}: {its}" for name, its in groups.items())
    assert cli.main(["use-case", "--groups", typed]) == 0
    assert Settings.load(begun.params).gates.groups == groups


def test_what_is_not_answered_is_told_and_may_come_by_options(begun: Project) -> None:
    lines = piped(begun, "\n" * 4, under_test())
    assert lines[-2] == f"Not answered: {', '.join([*TYPED][:-1])} and retention."
    for name, text in TYPED.items():
        assert cli.main(["use-case", f"--{name.replace('_', '-')}", text]) == 0
    before = begun.use_case.read_bytes(), begun.params.read_bytes()
    assert said(begun) == KEPT
    piped(begun, "\n" * len(TYPED), under_test())
    assert (begun.use_case.read_bytes(), begun.params.read_bytes()) == before
    assert cli.main(["use-case", "--owner", "@eve", "--groups", "none", "--costs", "none"]) == 0
    assert (begun.root / "CODEOWNERS").read_text().count("@eve") == 3
    assert "@ada" not in (begun.root / "CODEOWNERS").read_text()
    assert (said(begun)["groups"], said(begun)["costs"]) == ("none", "none")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("use_case", "Mail: 6 1 1", "'Mail: 6 1 1' is no answer to use_case; one is"),
        ("costs", "malignant: 3", "is no answer to costs; one is 'fraud as other: 20;"),
        ("costs", "malign as benign: 3", "params.yaml: train.costs names malign"),
        ("costs", "malignant as benign: -3", "train.costs will not do: expected float >= 0"),
        ("costs", "malignant as benign: inf", "is no answer to costs"),
        ("minimum_score", "nan", "'nan' is no answer to minimum_score"),
        ("decides", " ", "' ' is no answer to decides; one is 'A clerk, by what"),
        ("minimum_score", "high", "'high' is no answer to minimum_score; one is '0.8'."),
        ("groups", "women", "is no answer to groups"),
        ("groups", "women: sex = 'f'", 'unable to find column "sex"'),
        ("owner", "Ada", "'Ada' is no answer to owner"),
        ("risk", "huge", "'huge' is no answer to risk; one is 'limited'."),
    ],
)
def test_a_mistake_is_one_sentence_and_changes_nothing(
    begun: Project, capfd: pytest.CaptureFixture[str], name: str, text: str, sentence: str
) -> None:
    before = {path: path.read_bytes() for path in begun.root.rglob("*") if path.is_file()}
    assert cli.main(["use-case", f"--{name.replace('_', '-')}", text]) == 2
    told = capfd.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1
    assert {path: path.read_bytes() for path in begun.root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        (b"---\nowner: [\n---\n", "docs/use-case.md must begin with YAML"),
        (b"---\n\towner: a\n---\n", "docs/use-case.md must begin with YAML"),
        (b"---\n- owner\n---\n", "docs/use-case.md must begin with YAML"),
        (b"---\nowner ada\n---\n", "docs/use-case.md must begin with YAML"),
        (b"---\nowner: ada\n", "docs/use-case.md must begin with YAML"),
        (b"---\nowner: J\xf6rg\n---\n", "docs/use-case.md must begin with YAML"),
        (b"---\nowner: a\nowner: b\n---\n", 'found duplicate key "owner"'),
    ],
)
def test_a_page_that_is_broken_is_told(
    begun: Project, capfd: pytest.CaptureFixture[str], page: bytes, sentence: str
) -> None:
    begun.use_case.write_bytes(page)
    assert cli.main(["use-case", "--risk", "high"]) == 2
    told = capfd.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1
    assert begun.use_case.read_bytes() == page
    begun.use_case.unlink()
    assert cli.main(["use-case", "--risk", "high"]) == 0
    assert begun.use_case.read_text() == "---\nrisk: high\n---\n"


@pytest.mark.parametrize(
    "page",
    [
        b"\xef\xbb\xbf---\nowner: a\n---\nbody\n",
        b"---\r\nowner: a\r\n---\r\nbody\r\n",
        b"---  \nowner: a\n---\t\nbody\n",
    ],
)
def test_a_page_is_read_as_editors_leave_it(begun: Project, page: bytes) -> None:
    begun.use_case.write_bytes(page)
    assert said(begun)["owner"] == "a"
    assert cli.main(["use-case", "--risk", "high", "--limits", "none"]) == 0
    assert begun.use_case.read_text() == "---\nowner: a\nlimits: none\nrisk: high\n---\nbody\n"
    begun.use_case.write_text("---\nowner: ''\nrisk:\n---\n")
    assert (said(begun)["owner"], said(begun)["risk"]) == (None, None)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such terminals")
def test_in_a_terminal_a_mistake_is_asked_again_and_an_interrupt_loses_nothing(
    begun: Project,
) -> None:
    """Run as people run it: what is forked from a server has signals of its own."""
    original = tools() / "original" / "ops"
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [original if original.exists() else tools() / "ops", "use-case"],
        cwd=begun.root,
        env=variables(begun, under_test()),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = ""

    def until(text: str) -> None:
        nonlocal seen
        while text not in seen:
            assert select([ours], [], [], 60)[0], seen
            seen += os.read(ours, 4096).decode()
        seen = seen.partition(text)[2]

    def type_in(text: str) -> None:
        os.write(ours, f"{text}\n".encode())

    try:
        until("1/11 ")
        until("[unanswered] ")
        type_in("Mail: 9 9 9")
        until("is no answer to use_case")
        until("[unanswered] ")
        type_in("Route the mail")
        until("2/11 ")
        until("[unanswered] ")
        for _ in range(60):  # Python may hear it just before it begins to read
            process.send_signal(SIGINT)
            if select([ours], [], [], 1)[0]:
                break
        until("Every answer so far is kept; the same command goes on.")
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert said(begun)["use_case"] == "Route the mail"


def test_a_model_may_be_refused_until_it_is_answered_and_its_card_tells_all(whole: Project) -> None:
    set_params(whole, "gates", use_case=True)
    set_params(whole, "train", costs={})
    manifest = whole.bundle / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")  # the registry knows this model by its bytes
    told = ops(whole, "register", code=3)
    assert "use case: use_case, decides, " in told
    assert "are not answered: run `uv run ops use-case`." in told
    run = client(whole).get_model_version(whole.name, "2").run_id
    card = client(whole).download_artifacts(run, "reports/cards/model.md", str(whole.root))
    text = Path(card).read_text()
    assert "| Who is affected | **not answered** |" in text
    assert "| What wrong answers cost | none |" in text
    ops(whole, "use-case", *(f"--{name.replace('_', '-')}={its}" for name, its in TYPED.items()))
    assert "Version 2 (" in ops(whole, "register")
