"""`ops evidence VERSION`: what is known of a version, in one folder for whoever examines it.

Nothing is written for it: it holds what trainings, people and monitoring have left. With a key
there is a signed archive too, by OpenSSH, whose signatures anybody can verify.
"""

import shutil
import tarfile
from dataclasses import asdict
from pathlib import Path

from .. import command, git
from ..bundle import MANIFEST
from ..files import read_json, replacing, sha256, write_json, write_text
from ..project import Project
from ..scorecard import scorecard
from .champion import kept, named
from .history import described
from .tracking import CHANGES, CODE, FOLDER, connected

NAMESPACE = "evidence"
"""What a signature is for, so that none can stand in for another."""

SUMS = "SHA256SUMS"


def run(project: Project, name: str, key: str = "") -> None:
    """Write `build/evidence/VERSION/`, and if there is a key an archive of it with its signature.

    A UserError if there is no such version, its files are gone, or ssh-keygen refuses the key.
    """
    root = project.root
    with connected(project) as store:
        version = named(store, name)
        folder = root / "build" / "evidence" / str(version.number)
        with replacing(folder) as aside:
            with store.artifact(version, "", "artifacts") as source:
                shutil.copytree(source, aside)
            parts = ["reports", CODE, *([CHANGES] if "git.changes" in version.tags else [])]
            gone = {part: "" for part in parts if not (aside / part).is_dir()}
            gone |= {
                name.removeprefix("artifacts/"): told["at"]
                for told in read_json(project.forgotten, [])
                for text in told["texts"]
                if (name := text.partition(f"{version.run}/")[2])
            }
            write_json(aside / "missing.json", gone)
            if f"{FOLDER}/{MANIFEST}" not in gone:
                kept(store, version, aside / FOLDER)
            write_json(aside / "version.json", described(store, version, store.aliases()))
            write_json(aside / "parameters.json", store.known(version).params)
            write_json(aside / "promotions.json", [asdict(its) for its in store.promotions()])
            write_json(aside / "scorecard.json", [its._asdict() for its in scorecard(project)])
            commit = version.tags.get("git.commit", "")
            for page in ("uv.lock", "pyproject.toml", "docs/use-case.md"):
                if content := git.content(root, page, commit):
                    (aside / Path(page).name).write_bytes(content)
            deployed = ("log", "--patch", "--date=iso", "--", "deploy/state")
            write_text(aside / "deployments.txt", git.output(root, *deployed) or "")
            texts = [project.served / "monitoring" / it for it in ("monitoring.json", "summary.md")]
            texts += [root / "build" / "sbom.json", project.forgotten]
            for path in texts:
                if path.exists():
                    shutil.copy(path, aside)
            files = sorted(path for path in aside.rglob("*") if path.is_file())
            sums = [f"{sha256(path)}  {path.relative_to(aside).as_posix()}\n" for path in files]
            write_text(aside / SUMS, "".join(sums))
    said = f"{SUMS} names them, and missing.json {len(gone)} that are gone"
    print(f"{folder.relative_to(root)} holds {len(files)} files; {said}.")
    if key:
        _sign(folder, key)


def _sign(folder: Path, key: str) -> None:
    """Put a folder into an archive, and a signature beside it."""
    archive = folder.with_name(f"{folder.name}.tar.gz")
    with replacing(archive) as aside, tarfile.open(aside, "w:gz") as tar:
        tar.add(folder, folder.name)
    archive.with_name(f"{archive.name}.sig").unlink(missing_ok=True)
    path = str(Path(key).expanduser().resolve())
    command.output(folder, "ssh-keygen", "-Y", "sign", "-f", path, "-n", NAMESPACE, str(archive))
    print(f"{archive.name} and {archive.name}.sig lie beside it, signed by {key}.")
