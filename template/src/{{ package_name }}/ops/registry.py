"""The registry beside the pipeline: which models there were, which one is champion, and why.

The alias `champion` in MLflow is what counts. `models/champion` is a copy of that version for
everything that scores, and the log of promotions tells how it came there. The alias moves first
and the folder follows, so a crash in between leaves the former champion in service, whole; the
next command that opens the registry makes folder and log agree with the alias.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from math import nan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from msgspec import to_builtins

from . import git, wording
from .bundle import UNKNOWN, Bundle, Origin, sign
from .errors import Refused, UserError
from .evaluation import gates as rules
from .evaluation import shadow
from .evaluation.gates import Gate
from .files import remove, replacing
from .judging import Judgement, judge
from .project import Project
from .settings import Settings
from .tracking import (
    ACCEPTED,
    CHALLENGER,
    CHAMPION,
    CHANGES,
    FOLDER,
    PATCH,
    PENDING,
    PREVIOUS,
    REFUSED,
    ROLLED_BACK,
    Promotion,
    Store,
    Version,
    connected,
    succession,
)


def register(project: Project, *, propose: bool = False) -> None:
    """Register the bundle of the last training, and promote it if its gates and settings say so.

    The same bundle is registered once. One that was refused is judged again, for the champion,
    the limits or the machine may have changed since; its version keeps its number.

    Args:
        project: whose bundle it is.
        propose: let an accepted version be challenger and no more, whatever the settings say.

    Raises:
        Refused: if a gate says no, and the version is registered as refused; or if this very
            model was rolled back.
        UserError: if there is no bundle, or the registry cannot be reached.
    """
    bundle = Bundle(project.bundle)
    settings = Settings.load(project.params)
    with connected(project) as store:
        champion = current(project, store)
        version = store.find(bundle.digest)
        if version and version.rolled_back:
            raise Refused(
                f"{_title(version, store)} is this very model, and was rolled back: "
                f"only `uv run ops promote {version.number}` brings it back."
            )
        tried = settings.registry.shadow_rows > 0 and store.aliases().get(CHALLENGER)
        if version and version.status == ACCEPTED and tried != version.number:
            print(f"{_title(version, store)} is this very model: nothing to register.")
            return
        if version is None or version.status == REFUSED:
            found = judge(project, settings, bundle, champion)
            for gate in found.gates:
                print(f"{'passed ' if gate.passed else 'REFUSED'}  {gate.name}: {gate.reason}")
            version = _enter(project, store, settings, bundle, version, found)
        if version.status == REFUSED:
            raise Refused(f"{_title(version, store)} is not promoted.\n{version.tags['reasons']}")
        promotes = _promotes(store, settings, propose)
        shown = _shown(project, store, settings, version) if promotes else None
        if shown and not shown.passed:
            print(f"waits    {shown.name}: {shown.reason}")
            promotes = ""
        _place(project, store, version, shown, promotes=promotes)
        champion_now = store.aliases().get(CHAMPION) == version.number
        hint = (
            "ops history` lists them all" if champion_now else "ops promote` makes it the champion"
        )
        print(f"{_title(version, store)} is registered; `uv run {hint}.")


def promote(
    project: Project, number: str | None = None, reason: str = "", *, trained: bool = False
) -> None:
    """Make a version the champion: the challenger, unless one is named.

    Args:
        project: whose registry it is.
        number: of the version.
        reason: why, for the log.
        trained: take the version that holds `models/bundle`, the last training's.

    Raises:
        Refused: if a gate refused that version, or it has not shown in the shadow what is asked.
        UserError: if there is no such version.
    """
    with connected(project) as store:
        _witness(store)
        version = _holder(project, store) if trained else _wanted(store, number)
        if version.status == REFUSED:
            raise Refused(
                f"Version {version.number} was refused, and is never promoted.\n"
                f"{version.tags.get('reasons', '')}"
            )
        shown = _shown(project, store, Settings.load(project.params), version)
        if shown and not shown.passed:
            raise Refused(
                f"Version {version.number} is not promoted.\n{shown.name}: {shown.reason}"
            )
        before = store.aliases().get(CHAMPION)
        evidence = _spoken(version, shown)
        _crown(project, store, version, "promotion", reason or "promoted by hand", evidence)
        if version.status == PENDING:
            store.tag(version.number, {"status": ACCEPTED})
        if version.rolled_back:
            store.untag(version.number, ROLLED_BACK)
        since = "was already" if before == version.number else "is now"
        print(f"Version {version.number} {since} the champion; its bundle is in models/champion.")


def rollback(project: Project, reason: str = "") -> None:
    """Let the champion be what it was before the last promotion; again, and it was before that.

    The version that goes is marked, and no training brings it back by itself.

    Raises:
        UserError: if there is no champion, or none before it.
    """
    with connected(project) as store:
        champion = _witness(store)
        if champion is None:
            raise UserError("There is no champion yet: run `make train`.")
        log = store.promotions()
        version = _previous(store, log)
        if version is None:
            raise UserError(
                f"There is no champion before version {champion.number}; "
                "`uv run ops promote VERSION` takes any other version."
            )
        evidence = _undone(log, champion, version)
        _crown(project, store, version, "rollback", reason or "rolled back by hand", evidence)
        print(
            f"Version {version.number} is the champion again, and version {champion.number} is "
            "rolled back; the bundle is in models/champion."
        )


def current(project: Project, store: Store) -> Version | None:
    """The champion, after folder and log were made to agree with its alias."""
    version = _witness(store)
    if version is not None:
        _keep(store, version, project.champion)
    return version


def located(project: Project, name: str) -> Path:
    """The folder of a bundle.

    Args:
        project: whose registry is asked, unless a folder is named.
        name: a folder, or else an alias or the number of a version, whatever its status. The
            champion lies in `models/champion` and gives way there to the next one; any other
            version lies in `models/versions/<number>`, and stays.

    Raises:
        UserError: if there is nothing of that name, or its files are not what was registered.
    """
    folder = Path(name)
    if folder.is_dir() or folder.name != name:
        return folder
    with connected(project) as store:
        if name == CHAMPION:
            if current(project, store) is None:
                raise UserError("There is no champion yet: run `make train`.")
            return project.champion
        version = named(store, name)
        folder = project.versions / str(version.number)
        _keep(store, version, folder)
    return folder


def named(store: Store, name: str) -> Version:
    """The version that an alias or a number names, and that holds a bundle.

    Raises:
        UserError: if there is none.
    """
    versions, aliases = _registered(store), store.aliases()
    version = versions.get(aliases.get(name) or _number(name))
    if version is None:
        known = ", ".join([*sorted(aliases), *map(str, versions)])
        raise UserError(f"There is no folder, alias or version {name}; there are {known}.")
    _check_bundle(version)
    return version


def _enter(
    project: Project,
    store: Store,
    settings: Settings,
    bundle: Bundle,
    known: Version | None,
    found: Judgement,
) -> Version:
    """Write the run and the version, or the new verdict on a version that was refused before."""
    verdict = [*(Gate(**gate) for gate in bundle.manifest["gates"]), *found.gates]
    failed = rules.refusals(verdict)
    judged = {
        "evidence": json.dumps(found.evidence),
        "gates": json.dumps([gate.to_dict() for gate in verdict], ensure_ascii=False),
        "reasons": "\n".join(f"{gate.name}: {gate.reason}" for gate in failed),
        "status": REFUSED if failed else PENDING,
    }
    if known:
        store.tag(known.number, judged)
        return Version(known.number, known.run, known.created, {**known.tags, **judged})
    manifest = bundle.manifest
    score = manifest["score"]
    tags = {
        **lineage(project, bundle),
        "model": manifest["model"]["kind"],
        "score": score,
        "value": wording.number(manifest["metrics"].get(score, nan)),
        "baseline": wording.number(manifest["baseline"].get(score, nan)),
    }
    commit = tags["git.commit"]
    mlflow_own = {"mlflow.user": git.person(project.root)}
    if commit != "none":
        mlflow_own["mlflow.source.git.commit"] = commit
    with TemporaryDirectory() as aside:
        folders = {FOLDER: bundle.folder, "reports": project.reports}
        if changes := git.changes(project.root):
            Path(aside, PATCH).write_bytes(changes)
            folders[CHANGES] = Path(aside)
            tags["git.changes"] = hashlib.sha256(changes).hexdigest()
        run = store.log(
            bundle.digest,
            tags["model"],
            tags=tags | mlflow_own,
            params=dict(_flat(to_builtins(settings))),
            metrics=_numbers(manifest, verdict),
            folders=folders,
        )
    description = f"{tags['model']}: {score} {tags['value']} (trivial baseline {tags['baseline']})"
    return store.create(run, description, {"bundle": bundle.digest, **tags, **judged})


def lineage(project: Project, bundle: Bundle) -> dict[str, str]:
    """Where a bundle comes from: commit, data and contract; "none" for what is not known."""
    import yaml

    commit = git.commit(project.root)
    lock = project.root / "dvc.lock"
    stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"] if lock.exists() else {}
    hashes = {
        out["path"]: out.get("md5", "none")
        for stage in stages.values()
        for out in stage.get("outs", ())
    }
    outputs = {"train": project.train, "holdout": project.holdout, "bundle": project.bundle}
    return {
        "git.commit": commit or "none",
        "git.dirty": "none" if commit is None else str(git.dirty(project.root)).lower(),
        "contract": bundle.fingerprint,
        **{
            f"dvc.{name}": hashes.get(path.relative_to(project.root).as_posix(), "none")
            for name, path in outputs.items()
        },
    }


def _promotes(store: Store, settings: Settings, propose: bool) -> str:
    """Why an accepted version becomes champion at once; empty if it waits for a person."""
    if propose:
        return ""
    if store.aliases().get(CHAMPION) is None:
        return "the first champion"
    automatic = settings.registry.promote == "auto"
    return "passed every gate (registry.promote is auto)" if automatic else ""


def _shown(project: Project, store: Store, settings: Settings, version: Version) -> Gate | None:
    """What a version has shown in the shadow; None if nobody asks, or it has been champion."""
    champion = store.aliases().get(CHAMPION)
    proven = any(event.version == version.number for event in store.promotions())
    if champion is None or proven or not settings.registry.shadow_rows:
        return None
    folder = project.versions / str(version.number)
    _keep(store, version, folder)
    return shadow.gate(project, settings, Bundle(folder), version.number, champion)


def _place(
    project: Project, store: Store, version: Version, shown: Gate | None, *, promotes: str
) -> None:
    """Give an accepted version its aliases."""
    store.alias(CHALLENGER, version.number)
    if promotes:
        _crown(project, store, version, "promotion", promotes, _spoken(version, shown))
    else:
        _challenge(project, store)
    store.tag(version.number, {"status": ACCEPTED})


def _challenge(project: Project, store: Store) -> None:
    """Let `models/challenger` hold what the alias names, or nothing: a shadow may follow it."""
    number = store.aliases().get(CHALLENGER)
    version = None if number is None else store.version(number)
    if version is None:
        remove(project.challenger)
    else:
        _keep(store, version, project.challenger)


def _crown(
    project: Project,
    store: Store,
    version: Version,
    kind: Literal["promotion", "rollback"],
    why: str,
    evidence: Mapping[str, Any],
) -> None:
    """Move the aliases and the log to a new champion, then put its bundle in place."""
    aliases = store.aliases()
    before = aliases.get(CHAMPION)
    with replacing(project.champion) as folder:
        if _digest(project.bundle) == version.digest:
            shutil.copytree(project.bundle, folder)
        else:
            store.fetch(version, folder)
        sign(folder, _origin(version))
        if before != version.number:
            if kind == "rollback" and before is not None:
                store.tag(before, {ROLLED_BACK: _now()})
            store.alias(CHAMPION, version.number)
            who = git.person(project.root)
            _note(store, Promotion(_now(), version.number, before, who, why, kind, evidence))
        if aliases.get(CHALLENGER) == version.number:
            store.drop(CHALLENGER)
    _challenge(project, store)


def _note(store: Store, event: Promotion) -> None:
    """Let the alias `previous` name what a rollback returns to now, and append to the log."""
    previous = _previous(store, [*store.promotions(), event])
    if previous is not None:
        store.alias(PREVIOUS, previous.number)
    elif PREVIOUS in store.aliases():
        store.drop(PREVIOUS)
    store.record(event)


def _previous(store: Store, log: Sequence[Promotion]) -> Version | None:
    """What a rollback returns to: the last champion before this one that can serve again."""
    *line, champion = succession(log)
    for number in reversed(line):
        version = store.version(number) if number != champion else None
        if version and version.digest and not version.rolled_back and version.status != REFUSED:
            return version
    return None


def _spoken(version: Version, shown: Gate | None = None) -> dict[str, Any]:
    """What spoke for a version when it was judged; an earlier release told less of it.

    `shown` is what it has shown in the shadow since, if that was asked.
    """
    tags = version.tags
    gates = {
        gate["name"]: "skipped" if gate.get("skipped") else "passed" if gate["passed"] else "failed"
        for gate in json.loads(tags.get("gates", "[]"))
    }
    if shown:
        gates[shown.name] = "passed" if shown.passed else "failed"
    found = json.loads(tags.get("evidence", "{}"))
    measured = found or {"score": tags.get("score"), "value": None, "champion": None}
    said = {"shadow": shown.reason} if shown else {}
    return {**measured, "holdout": tags.get("dvc.holdout", UNKNOWN), "gates": gates, **said}


def _undone(log: Sequence[Promotion], gone: Version, version: Version) -> dict[str, Any]:
    """What is known of two versions when one gives way to the other that it had replaced."""
    told = _spoken(gone)
    theirs = told["champion"] or {}
    known = theirs.get("version") == version.number
    return {
        **told,
        "value": theirs.get("value") if known else None,
        "champion": {"version": gone.number, "value": told["value"] if known else None},
        "returns_to": version.number,
        "undoes": next((event.at for event in reversed(log) if event.version == gone.number), None),
    }


def _witness(store: Store) -> Version | None:
    """The champion, noted in the log if its alias moved without a word there."""
    number = store.aliases().get(CHAMPION)
    if number is None:
        return None
    last = next((event.version for event in reversed(store.promotions())), None)
    if last != number:
        why = "the alias was moved elsewhere, or a promotion was cut short"
        _note(store, Promotion(_now(), number, last, "unknown", why, "found"))
    return store.version(number)


def _holder(project: Project, store: Store) -> Version:
    """The version that holds the bundle of the last training.

    Raises:
        UserError: if there is no bundle, or it was not registered.
    """
    version = store.find(Bundle(project.bundle).digest)
    if version is None:
        raise UserError("The model in models/bundle is not registered: run `uv run ops register`.")
    return version


def _wanted(store: Store, name: str | None) -> Version:
    """The version that a person wants to promote.

    Raises:
        UserError: if there is none, or it holds no bundle.
    """
    versions = _registered(store)
    known = ", ".join(map(str, versions))
    number = store.aliases().get(CHALLENGER) if name is None else _number(name)
    if name is None and number is None:
        raise UserError(f"There is no challenger; name a version to promote: {known}.")
    version = versions.get(number)
    if version is None:
        raise UserError(f"There is no version {name}; there are {known}.")
    _check_bundle(version)
    return version


def _registered(store: Store) -> dict[int | None, Version]:
    """Every version by its number; there is one at least."""
    versions: dict[int | None, Version] = {version.number: version for version in store.versions()}
    if not versions:
        raise UserError("Nothing is registered yet: run `make train`.")
    return versions


def _check_bundle(version: Version) -> None:
    if not version.digest:
        raise UserError(
            f"Version {version.number} was not registered by `ops register`; it has no bundle."
        )


def _keep(store: Store, version: Version, folder: Path) -> None:
    """Let a folder hold the bundle of a version, and say so beside it."""
    if _digest(folder) != version.digest:
        with replacing(folder) as aside:
            store.fetch(version, aside)
            sign(aside, _origin(version))
    elif Bundle(folder).origin != _origin(version):
        sign(folder, _origin(version))


def _origin(version: Version) -> Origin:
    tags = version.tags
    commit, data = (tags.get(key, UNKNOWN) for key in ("git.commit", "dvc.train"))
    created = version.created.isoformat(timespec="seconds")
    return Origin(str(version.number), commit, data, created)


def _number(name: str) -> int | None:
    digits = name.removeprefix("v")
    return int(digits) if digits.isdecimal() else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _title(version: Version, store: Store) -> str:
    names = [alias for alias, number in store.aliases().items() if number == version.number]
    return f"Version {version.number} ({', '.join(sorted(names)) or version.status})"


def _digest(folder: Path) -> str | None:
    """The digest of the bundle in a folder; None if there is no whole one."""
    try:
        return Bundle(folder).digest
    except (UserError, OSError):
        return None


def _flat(values: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values under dotted names."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", value


def _numbers(manifest: Mapping[str, Any], verdict: Sequence[Gate]) -> dict[str, float]:
    """The metrics of a run: scores, the trivial baseline's, and what the gates measured."""
    return {
        **manifest["metrics"],
        **{f"baseline.{name}": value for name, value in manifest["baseline"].items()},
        **{f"gate.{gate.name}": gate.value for gate in verdict if gate.value is not None},
    }
