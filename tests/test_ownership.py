"""Every rendered file has the owner that ownership.yml says, and an update keeps to it."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest
from copier import Settings, run_copy, run_recopy
from ownership import ANCHOR, owner, patterns
from render import ROOT, Template, all_pairs, choices, closed, configuration, run, working_tree
from test_update import begin, update

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAIRS = list(all_pairs({name: choices(name) for name in closed()}))
OURS, THEIRS = "a line of the template", "a line of the people's own"
RECORD = ".copier-answers.yml"  # Copier writes it, and nobody else


def names(project: Path) -> set[str]:
    """Every path of a render."""
    found = {path for path in project.rglob("*") if path.is_file()}
    relative = {path.relative_to(project).as_posix() for path in found}
    return {name for name in relative if not name.startswith(".git/")} - {RECORD}


def test_what_is_yours_is_what_an_update_leaves_out() -> None:
    lines = [line for line in configuration()["_exclude"] if "_copier_operation" in line]
    excluded = re.findall(r"'(/[^']+)'", "\n".join(lines))
    assert excluded == configuration()["_skip_if_exists"] == patterns()["yours"]


@pytest.mark.parametrize("again", [run_copy, run_recopy])
def test_a_render_over_a_project_keeps_what_is_yours(
    template: Template, tmp_path: Path, again: Callable[..., object]
) -> None:
    """As `copier copy --overwrite` and `copier recopy` do; what is kept current comes anew."""
    project = template.render(tmp_path / "project", {"serving": False})
    for name in ("params.yaml", "src/my_model/ml/model.py", "dvc.yaml"):
        (project / name).write_text("# ours\n")
    source = [str(template.source)] if again is run_copy else []
    again(*source, project, overwrite=True, defaults=True, quiet=True, settings=Settings())
    assert (project / "params.yaml").read_text() == "# ours\n"
    assert (project / "src/my_model/ml/model.py").read_text() == "# ours\n"
    assert (project / "dvc.yaml").read_text() != "# ours\n"


def test_the_project_knows_what_is_its_peoples_own() -> None:
    """`ops template-check` leaves it alone."""
    (module,) = ROOT.glob("template/src/*/ops/template.py")
    found = re.search(r"^YOURS = (\(.*?\n\))$", module.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    rendered = [it.removeprefix("/") for it in patterns()["yours"]]
    assert list(ast.literal_eval(found[1])) == rendered


def test_no_option_owns_a_file_of_yours(rendered: Callable[..., Path]) -> None:
    """An update excludes such files, so one that came or went with an option never would.

    The data of a sample may: which one it is, is fixed once a project is generated.
    """
    trees = [
        {name for name in names(rendered(**answers)) if owner(name) == "yours"}
        - {"data/catalogue.csv"}
        for answers in PAIRS
    ]
    assert trees[0]
    assert all(tree == trees[0] for tree in trees)


def test_every_pattern_names_something(rendered: Callable[..., Path]) -> None:
    whole = [{"ci": ci} for ci in choices("ci")]  # with all that depends on two answers at once
    every = set.union(*(names(rendered(**answers)) for answers in [*PAIRS, *whole]))
    every |= {"docs/notes.md"}
    for its in patterns().values():
        for pattern in its:
            if not pattern.startswith("!"):
                assert any(shares(pattern, name) for name in every), pattern


def shares(pattern: str, name: str) -> bool:
    """Whether a pattern covers a path."""
    glob = re.escape(pattern.removeprefix("/")).replace(r"\*", "[^/]*")
    return bool(re.fullmatch(glob, name) or re.match(f"{glob}/", name))


@pytest.mark.parametrize("answers", PAIRS, ids=lambda its: "-".join(map(str, its.values())))
def test_what_is_shared_has_a_line_that_parts_it(
    answers: dict[str, object], rendered: Callable[..., Path]
) -> None:
    project = rendered(**answers)
    files = {name for name in names(project) if not name.endswith(".md")}  # a page may show one
    parted = {name for name in files if anchors(lines(project / name))}
    assert {name for name in names(project) if owner(name) == "shared"} == parted


def test_both_documents_name_every_pattern() -> None:
    for page in ("docs/ownership.md", "template/docs/ops/ownership.md"):
        told = set(re.findall(r"`([^`]+)`", (ROOT / page).read_text()))
        yours = {re.sub(r"/\*\Z", "/", it.removeprefix("/")) for it in patterns()["yours"]}
        assert yours - {"!/docs/ops", "docs/"} <= told, page


def lines(path: Path) -> list[str]:
    """The lines of a file."""
    return path.read_text(encoding="utf-8").splitlines()


def anchors(text: list[str]) -> list[int]:
    """The places of the lines that part the template's from the people's, the last one first."""
    found = [place for place, line in enumerate(text) if re.match(rf"\s*# {ANCHOR}", line)]
    return found[::-1]


@pytest.mark.parametrize("ci", choices("ci"))
def test_an_update_keeps_to_the_owner_of_every_file(ci: str, tmp_path: Path) -> None:
    """Everybody writes into every file: the template on top, the people below."""
    template = Template.of(working_tree(), tmp_path / "template").release("v9999.0.0")
    project = template.render(tmp_path / "project", {"ci": ci})
    begin(project)
    for name in names(project):
        path = project / name
        written = lines(path)
        for place in anchors(written) or [len(written)]:
            written.insert(place + 1, THEIRS)
        path.write_text("\n".join([*written, ""]), encoding="utf-8")
    run("git", "commit", "--quiet", "--all", "--message", "Our own", cwd=project)
    before = {name: (project / name).read_text(encoding="utf-8") for name in names(project)}

    for folder in ("template", "samples"):
        for path in (template.source / folder).rglob("*"):
            if path.is_file():
                path.write_text(f"{OURS}\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    template.release("v9999.1.0")
    update(project)

    conflicts = set(run("git", "diff", "--name-only", "--diff-filter=U", cwd=project).split())
    after = {name: (project / name).read_text(encoding="utf-8") for name in names(project)}
    assert after.keys() == before.keys()
    for name, text in after.items():
        assert text.count(THEIRS) == before[name].count(THEIRS), f"{name}: lines are lost"
        match owner(name):
            case "yours":
                assert text == before[name], f"{name} is the people's own"
            case "shared":
                assert name not in conflicts, f"{name} conflicts"
                assert text == f"{OURS}\n{before[name]}", name
            case "managed":
                assert OURS in text, f"{name} does not get what is new"
