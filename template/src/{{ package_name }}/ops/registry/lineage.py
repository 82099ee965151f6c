"""Where a bundle comes from: the commit, what the sources had besides, the data, the contract."""

from pathlib import Path
from tempfile import TemporaryDirectory

from .. import git
from ..bundle import UNKNOWN, Bundle
from ..project import Project

PRODUCED = ("dvc.lock", "reports")
"""What a training itself writes among the committed files."""

SOURCES = ("src", "data", "params.yaml", "dvc.yaml", "pyproject.toml", "uv.lock", ".dvc/config")
"""What decides what a training makes, as far as git may know it."""


def lineage(project: Project, bundle: Bundle) -> dict[str, str]:
    """The tags that say where a bundle comes from; "none" for what is not known."""
    import yaml

    commit = git.commit(project.root)
    lock = project.root / "dvc.lock"
    stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"] if lock.exists() else {}
    hashes = {
        out["path"]: out.get("md5", UNKNOWN)
        for stage in stages.values()
        for out in stage.get("outs", ())
    }
    outputs = {"train": project.train, "holdout": project.holdout, "bundle": project.bundle}
    return {
        "git.commit": commit or UNKNOWN,
        "git.dirty": UNKNOWN if commit is None else str(_dirty(project.root)).lower(),
        "contract": bundle.fingerprint,
        **{
            f"dvc.{name}": hashes.get(path.relative_to(project.root).as_posix(), UNKNOWN)
            for name, path in outputs.items()
        },
    }


def changes(root: Path) -> bytes | None:
    """What the sources have that the last commit has not, as a patch; None if that is nothing.

    New files count. Git's own index and objects stay as they are.
    """
    objects = git.output(root, "rev-parse", "--git-path", "objects")
    if objects is None or git.commit(root) is None:
        return None
    present = [name for name in SOURCES if (root / name).exists()]
    patched = ("diff-index", "--cached", "--binary", "--no-ext-diff", "--relative")
    patch: bytes | None = b""
    with TemporaryDirectory() as folder:
        aside = {
            "GIT_INDEX_FILE": str(Path(folder, "index")),
            "GIT_OBJECT_DIRECTORY": folder,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str((root / objects).resolve()),
        }
        for arguments in (
            ("read-tree", "HEAD"),
            ("add", "--all", "--", *present),
            (*patched, "HEAD", "--", *SOURCES),
        ):
            patch = git.raw(root, *arguments, variables=aside)
            if patch is None:
                return None
    return patch or None


def _dirty(root: Path) -> bool:
    """Whether the project holds changes that no commit has, besides what a training produces."""
    others = [f":(exclude){name}" for name in PRODUCED]
    return bool(git.output(root, "status", "--porcelain", "--", ".", *others))
