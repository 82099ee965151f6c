"""`ops labels`: which labels were taken in, and which of them are not to be learnt."""

import argparse
from pathlib import Path

import polars as pl
import yaml
from msgspec import to_builtins

from .. import git
from ..errors import UserError
from ..files import write_text
from ..pipeline import labelled
from ..pipeline.labelled import EXCLUDED, EXCLUSIONS, FILE, KEY, LABELLED, Exclusion
from ..project import Project
from ..wording import WIDTH, shortened


def run(project: Project, options: argparse.Namespace) -> None:
    """Add what `options` name to the list, if they exclude, and say how things stand; see `cli`."""
    if options.action == "exclude":
        options.file = [Path(name).name.removesuffix(".dvc") for name in options.file]
        given, fields = vars(options), Exclusion.__struct_fields__
        one = {name: given[name] for name in fields if given.get(name)}
        if "reason" not in one or len(one) < 2:
            raise UserError("Say why, --reason, and which: --id, --file, --key, --since, --until.")
        path, one["by"] = project.labelled / EXCLUSIONS, git.person(project.root)
        text = f"{path.read_text(encoding='utf-8')}\n" if path.exists() else ""
        text += yaml.safe_dump([one], sort_keys=False, allow_unicode=True)
        labelled.exclusions(project, text)
        write_text(path, text)
        print(f"data/labelled/{EXCLUSIONS} is for git; `uv run ops retrain` learns without.")
    rows = labelled.scan(project)
    if rows is None:
        return print("No labels were taken in yet.")
    told, out = pl.col(LABELLED).dt.to_string("%Y-%m-%d %H:%M"), pl.col(EXCLUDED).sum()
    files = rows.group_by(FILE, KEY).agg(pl.len(), told.min(), told.max().alias("until"), out)
    for file, key, count, first, last, left in files.sort(FILE, KEY).collect().iter_rows():
        by = f" by {key}" if key else ""
        print(f"{file}: {count:,} labels told{by} from {first} to {last} (UTC), {left:,} excluded")
    for entry in labelled.exclusions(project):
        count = rows.select(entry.fits().sum()).collect().item()
        print(f"excluded, {count:,} of these: {shortened(str(to_builtins(entry)), WIDTH)}")
