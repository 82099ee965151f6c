"""What people do to their projects: one developer who has done all of it, by script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from render import run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    # From a file to what a person makes of it.
    Edit = Callable[[str], str]

ANCHOR = "# project-specific"


def change(old: str, new: str) -> Edit:
    """Change something, once."""

    def edit(text: str) -> str:
        assert old in text, old
        return text.replace(old, new, 1)

    return edit


def append(addition: str) -> Edit:
    """Write something below everything."""
    return lambda text: text + addition


def below(anchor: str, addition: str) -> Edit:
    """Write something below the first line of the template's that parts a file, after a place."""

    def edit(text: str) -> str:
        start = text.index(ANCHOR, text.index(anchor))
        end = text.index("\n", start) + 1
        return text[:end] + addition + text[end:]

    return edit


def both(*edits: Edit) -> Edit:
    """Make several changes of a file."""

    def edit(text: str) -> str:
        for one in edits:
            text = one(text)
        return text

    return edit


# Into files that are kept current, wherever a release has them.
EDITS: Mapping[str, Edit] = {
    "pyproject.toml": both(
        below("\ndependencies = [", '  "humanize>=4,<5",\n'),
        below("\ndev = [", '  "pytest-timeout>=2,<3",\n'),
        append('\n[tool.ours]\nteam = "ours"\n'),
    ),
    "Makefile": append("\nours: ## what only we do\n\t@echo ours\n"),
    ".gitignore": append("/our-exports/\n"),
    ".pre-commit-config.yaml": append(
        "      - id: ours\n"
        "        name: our hook\n"
        "        language: system\n"
        '        entry: "true"\n'
    ),
    ".github/workflows/ci.yml": append(
        "  ours:\n"
        "    runs-on: ubuntu-latest\n"
        "    timeout-minutes: 5\n"
        "    permissions: {}\n"
        "    steps:\n"
        "      - run: echo ours\n"
    ),
    ".gitlab-ci.yml": append("\nours:\n  script:\n    - echo ours\n"),
    "CODEOWNERS": append("/our-tools/ @ours\n"),
    "Dockerfile": change("FROM ${PYTHON}\n", "FROM ${PYTHON}\nENV TZ=Europe/Berlin\n"),
    "docs/ops/pipeline.md": change(
        "# Pipeline\n", "# Pipeline\n\nOur pipeline runs on the machine under Ada's desk.\n"
    ),
    "src/my_model/ops/pipeline/train.py": change("FEW_ROWS = 20_000\n", "FEW_ROWS = 50_000\n"),
    # These two a later release moved, and took away.
    "src/my_model/ops/tracking.py": change("PATIENCE = 5.0\n", "PATIENCE = 9.0\n"),
    "src/my_model/ops/registry.py": append("\n\nOURS = True\n"),
}

# Into them as well, where the template's own lines are.
AMONG: Mapping[str, Edit] = {
    "pyproject.toml": change(
        '  "onnxruntime>=1.23,<2",\n', '  "onnxruntime>=1.23,<2",\n  "humanize>=4,<5",\n'
    ),
    ".gitignore": change("/models/\n", "/models/\n/our-exports/\n"),
    "Makefile": change("\ntrain:", "\nours:\n\t@echo ours\n\ntrain:"),
}

# Into their own.
OURS: Mapping[str, Edit] = {
    "params.yaml": change("baseline_gain: 0.02", "baseline_gain: 0.03"),
    "src/my_model/ml/features.py": append(
        '\n\ndef known(values: NDArray[Any]) -> NDArray[Any]:\n    """Say which are there."""\n'
        "    return ~np.isnan(values)\n"
    ),
    "src/my_model/ml/model.py": change("max_iter=1000", "max_iter=2000"),
    "README.md": append("\nAsk Ada.\n"),
}
NEW = {
    "src/our_tools/__init__.py": (
        '"""Our other package."""\n\nfrom humanize import intcomma\n\n__all__ = ["intcomma"]\n'
    ),
    # Before there was one of the template's.
    "Dockerfile": "FROM python:3.12-slim\nCOPY . .\nENV TZ=Europe/Berlin\n",
    "uv.lock": 'version = 1\nrequires-python = ">=3.11"\n',
}
GONE = (".devcontainer/devcontainer.json", ".github/ISSUE_TEMPLATE/bug.yml")
NOTEBOOK = "notebooks/explore.ipynb"


def develop(project: Path, edits: Mapping[str, Edit] = EDITS) -> None:
    """Do all of it, and commit."""
    for name, edit in {**edits, **OURS}.items():
        path = project / name
        if path.is_file():
            path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")
    for name, text in NEW.items():
        path = project / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists():  # where `make setup` ran, the lock is there
            path.write_text(text, encoding="utf-8")
    (project / NOTEBOOK).rename(project / "notebooks" / "what-we-saw.ipynb")
    for name in GONE:
        (project / name).unlink(missing_ok=True)
    run("git", "add", "--all", cwd=project)
    run("git", "commit", "--quiet", "--no-verify", "--message", "Our own", cwd=project)


def resolve(
    project: Path, edits: Mapping[str, Edit] = EDITS, moved: Mapping[str, str] | None = None
) -> None:
    """Resolve conflicts as a person would: take what is new, and say again what is one's own.

    Args:
        project: which.
        edits: what people had made of its files, by path.
        moved: where the files are that had another path when people edited them.
    """
    again = {(moved or {}).get(name, name): edit for name, edit in {**EDITS, **edits}.items()}
    names = run("git", "diff", "--name-only", "--diff-filter=U", "--relative", cwd=project).split()
    for name in names:
        run("git", "checkout", "--quiet", "--theirs", "--", name, cwd=project)
        path = project / name
        path.write_text(again[name](path.read_text(encoding="utf-8")), encoding="utf-8")
    run("git", "add", "--all", cwd=project)
