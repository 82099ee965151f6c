"""How long it takes to render a project, and to update one."""

from __future__ import annotations

import json
import shutil
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from render import Template, working_tree
from render import run as call

from .measuring import Section, compare, measure, rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .measuring import Cost

TOOLS = Path(sys.executable).parent
OLD, NEW = "v1.0.0", "v1.1.0"
CHANGED = ".editorconfig"  # plain in both
LINE = b"a line of a plain file, which nothing has to be filled into\n"

QUESTION = "_subdirectory: template\nname: {type: str, default: plain}\n"
ANSWERS = "{{ _copier_conf.answers_file }}.jinja"

TEXT = """\
The default project has {files} files of {kilobytes} kB. The plain trees have as many, of the same
sizes, and nothing to fill in; the update is to a release that changes one line. Cookiecutter has
no update.\
"""


def run(folder: Path, runs: int) -> Section:
    """Compare this template with Copier and Cookiecutter on a plain tree of the same size."""
    place = folder / "rendering"
    shutil.rmtree(place, ignore_errors=True)
    ours = Template.of(working_tree(), place / "template").release(OLD)
    rendered = ours.render(place / "rendered", {})
    paths = [path for path in rendered.rglob("*") if path.is_file()]
    sizes = {path.relative_to(rendered): path.stat().st_size for path in paths}

    plain = plain_template(sizes, place / "copier")
    baked = place / "cookiecutter"
    plant(sizes, baked / "{{cookiecutter.name}}")
    (baked / "cookiecutter.json").write_text(json.dumps({"name": "plain"}))
    settings = place / "cookiecutter.yaml"
    settings.write_text(f"replay_dir: {place}/replay\ncookiecutters_dir: {place}/cookiecutters\n")

    copy = ("copier", "copy", "--defaults", "--quiet")
    bake = ("cookiecutter", "--no-input", "--config-file", settings, baked, "--output-dir")
    renders = compare(
        {
            "`copier copy` of a plain tree": partial(render, place, *copy, plain.source),
            "`cookiecutter` of a plain tree": partial(render, place, *bake),
            "`copier copy` of this template": partial(render, place, *copy, ours.source),
        },
        runs,
    )
    plain_project = committed(plain, place / "plain-project")
    our_project = committed(ours, place / "our-project")
    for template in (plain, ours):
        change(template)
    updates = compare(
        {
            "`copier update` of a plain tree": partial(update, place, plain_project),
            "`copier update` of this template": partial(update, place, our_project),
        },
        runs,
    )
    text = TEXT.format(files=len(sizes), kilobytes=round(sum(sizes.values()) / 1000))
    table = [*rows(renders), *rows(updates)]
    return Section("Rendering and updating", text, runs, table)


def plain_template(sizes: Mapping[Path, int], source: Path) -> Template:
    """A template that renders files of these sizes, and the answers file."""
    plant(sizes, source / "template")
    (source / "copier.yml").write_text(QUESTION)
    (source / "template" / ".copier-answers.yml").unlink(missing_ok=True)
    (source / "template" / ANSWERS).write_text("{{ _copier_answers | to_nice_yaml }}")
    return Template(source).release(OLD)


def plant(sizes: Mapping[Path, int], root: Path) -> None:
    """Write files of these sizes."""
    for path, size in sizes.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes((LINE * (size // len(LINE) + 1))[:size])


def committed(template: Template, project: Path) -> Path:
    """A project of the template's release, under git."""
    template.render(project, {})
    return Template(project).release(OLD).source


def change(template: Template) -> None:
    """Release the template anew, with one line more."""
    with (template.source / "template" / CHANGED).open("a") as file:
        file.write("# a line that is new\n")
    call("git", "commit", "--quiet", "--all", "--message", "A new line", cwd=template.source)
    call("git", "tag", NEW, cwd=template.source)


def render(place: Path, *command: str | Path) -> Cost:
    """Render to a folder that is not there yet, which the command names last."""
    with TemporaryDirectory(dir=place) as folder:
        return measure(TOOLS / command[0], *command[1:], Path(folder, "project"), cwd=place)


def update(place: Path, project: Path) -> Cost:
    """Update a copy of a project.

    Raises:
        SystemExit: if the new line did not arrive.
    """
    with TemporaryDirectory(dir=place) as folder:
        copied = shutil.copytree(project, Path(folder, "project"))
        cost = measure(TOOLS / "copier", "update", "--defaults", "--quiet", cwd=copied)
        if "a line that is new" not in (copied / CHANGED).read_text():
            sys.exit(f"{project.name} was not updated.")
    return cost
