"""The registry beside the pipeline: which models there were, which one is champion, and why.

The alias `champion` in MLflow is what counts. `models/champion` is a copy of that version for
everything that scores, and the log of promotions tells how it came there. The alias moves first
and the folder follows, so a crash in between leaves the former champion in service, whole; the
next command that opens the registry makes folder and log agree with the alias.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from math import nan
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from . import git
from .bundle import UNKNOWN, Bundle, Origin, sign
from .errors import Refused, UserError
from .evaluation import gates as rules
from .evaluation import metrics
from .evaluation.gates import Gate
from .files import replacing
from .project import Project
from .scoring import predict, unfit
from .settings import Settings
from .tracking import (
    ACCEPTED,
    CHALLENGER,
    CHAMPION,
    FOLDER,
    PENDING,
    PREVIOUS,
    REFUSED,
    Promotion,
    Store,
    Version,
    connected,
)

SINGLE_ROWS = 100
"""How many rows are scored one by one to measure the latency of a row."""


def register(project: Project) -> None:
    """Register the bundle of the last training, and promote it if its gates and settings say so.

    The same bundle is registered once. One that was refused is judged again, for the champion,
    the limits or the machine may have changed since; its version keeps its number.

    Raises:
        Refused: if a gate says no; the version is registered as refused.
        UserError: if there is no bundle, or the registry cannot be reached.
    """
    bundle = Bundle(project.bundle)
    settings = Settings.load(project.params)
    with connected(project) as store:
        champion = current(project, store)
        version = store.find(bundle.digest)
        if version and version.status == ACCEPTED:
            print(f"{_title(version, store)} is this very model: nothing to register.")
            return
        if version is None or version.status == REFUSED:
            found = judge(project, settings, bundle, champion)
            for gate in found:
                print(f"{'passed ' if gate.passed else 'REFUSED'}  {gate.name}: {gate.reason}")
            verdict = [*(Gate(**gate) for gate in bundle.manifest["gates"]), *found]
            version = _enter(project, store, settings, bundle, version, verdict)
        if version.status == REFUSED:
            raise Refused(f"{_title(version, store)} is not promoted.\n{version.tags['reasons']}")
        _place(project, store, settings, version)
        champion_now = store.aliases().get(CHAMPION) == version.number
        hint = (
            "ops history` lists them all" if champion_now else "ops promote` makes it the champion"
        )
        print(f"{_title(version, store)} is registered; `uv run {hint}.")


def promote(project: Project, number: str | None = None, reason: str = "") -> None:
    """Make a version the champion: the challenger, unless one is named.

    Raises:
        Refused: if a gate refused that version.
        UserError: if there is no such version.
    """
    with connected(project) as store:
        _witness(store)
        version = _wanted(store, number)
        if version.status == REFUSED:
            raise Refused(
                f"Version {version.number} was refused, and is never promoted.\n"
                f"{version.tags.get('reasons', '')}"
            )
        before = store.aliases().get(CHAMPION)
        _crown(project, store, version, reason or "promoted by hand")
        if version.status == PENDING:
            store.tag(version.number, {"status": ACCEPTED})
        since = "was already" if before == version.number else "is now"
        print(f"Version {version.number} {since} the champion; its bundle is in models/champion.")


def history(project: Project) -> None:
    """Print every version, and every promotion."""
    with connected(project) as store:
        versions = store.versions()
        if not versions:
            print("Nothing is registered yet: run `make train`.")
            return
        aliases = store.aliases()
        print(table(VERSIONS, [_row(version, aliases) for version in versions]))
        events = [
            (
                event.at[:16].replace("T", " "),
                str(event.version),
                str(event.before or "-"),
                event.by,
                event.why,
            )
            for event in store.promotions()
        ]
        if events:
            print(f"\n{table(PROMOTIONS, events)}")


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
        versions, aliases = _registered(store), store.aliases()
        version = versions.get(aliases.get(name) or _number(name))
        if version is None:
            known = ", ".join([*sorted(aliases), *map(str, versions)])
            raise UserError(f"There is no folder, alias or version {name}; there are {known}.")
        _check_bundle(version)
        folder = project.versions / str(version.number)
        _keep(store, version, folder)
    return folder


def judge(
    project: Project, settings: Settings, bundle: Bundle, champion: Version | None
) -> list[Gate]:
    """Apply the gates that need a champion or a clock; `models/champion` holds the champion."""
    import polars as pl

    if not project.holdout.exists():
        raise UserError("data/holdout.parquet is not here: run `make pull` or `make train`.")
    contract = bundle.contract
    frame = pl.read_parquet(project.holdout)
    limits = settings.gates
    columns = contract.arrays(frame)
    taken = rules.latency(latency(bundle, columns), limits.latency_milliseconds)
    if champion is None:
        return [Gate.skip("champion regression", "There is no champion yet."), taken]
    other = Bundle(project.champion)
    if obstacle := incomparable(other, bundle):
        reason = f"Version {champion.number}, the champion, is not comparable: {obstacle}."
        return [Gate.skip("champion regression", reason), taken]
    group = contract.with_role("group")
    regression = rules.regression(
        metrics.find(bundle.manifest["score"]),
        contract.labels(frame),
        metrics.answers_of(predict(bundle, columns)),
        metrics.answers_of(predict(other, other.contract.arrays(frame))),
        limits.regression,
        settings.seed,
        None if group is None else frame[group.name].cast(pl.String).fill_null("").to_numpy(),
    )
    return [regression, taken]


def incomparable(champion: Bundle, challenger: Bundle) -> str | None:
    """Why the champion cannot be measured on the challenger's holdout; None if it can."""
    theirs, contract = champion.contract, challenger.contract
    if theirs.target.name != contract.target.name:
        return f"it predicts {theirs.target.name}"
    if (theirs.task, theirs.classes) != (contract.task, contract.classes):
        return f"it tells other values of {theirs.target.name} apart"
    if champion.manifest["data"]["split"] != challenger.manifest["data"]["split"]:
        return "rows were held out by another rule, so it has learnt from some that judge now"
    return unfit(champion, contract)


def latency(bundle: Bundle, columns: Mapping[str, Any]) -> float:
    """The median time in milliseconds in which one row is scored, alone."""
    rows = len(next(iter(columns.values())))

    def once(position: int) -> float:
        row = {name: values[position : position + 1] for name, values in columns.items()}
        start = perf_counter()
        bundle.predict(row)
        return 1000 * (perf_counter() - start)

    once(0)
    return median(once(turn % rows) for turn in range(SINGLE_ROWS))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align text in columns under their heads."""
    lines = [heads, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


VERSIONS = (
    "version", "created (UTC)", "status", "model", "score", "baseline", "commit", "data", "refused by"
)  # fmt: skip
PROMOTIONS = ("promoted (UTC)", "version", "from", "by", "why")


def _row(version: Version, aliases: Mapping[str, int]) -> tuple[str, ...]:
    names = [alias for alias, number in aliases.items() if number == version.number]
    tags = version.tags
    return (
        str(version.number),
        f"{version.created:%Y-%m-%d %H:%M}",
        ", ".join(sorted(names)) or version.status or "-",
        tags.get("model", "-"),
        f"{tags.get('score', '')} {tags.get('value', '')}".strip() or "-",
        tags.get("baseline", "-"),
        tags.get("git.commit", "-")[:7] + ("+" if tags.get("git.dirty") == "true" else ""),
        tags.get("dvc.train", "-")[:7],
        ", ".join(g["name"] for g in json.loads(tags.get("gates", "[]")) if not g["passed"]) or "-",
    )


def _enter(
    project: Project,
    store: Store,
    settings: Settings,
    bundle: Bundle,
    known: Version | None,
    verdict: Sequence[Gate],
) -> Version:
    """Write the run and the version, or the new verdict on a version that was refused before."""
    failed = rules.refusals(verdict)
    judged = {
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
        "value": rules.number(manifest["metrics"].get(score, nan)),
        "baseline": rules.number(manifest["baseline"].get(score, nan)),
    }
    commit = tags["git.commit"]
    mlflow_own = {"mlflow.user": git.person(project.root)}
    if commit != "none":
        mlflow_own["mlflow.source.git.commit"] = commit
    run = store.log(
        bundle.digest,
        tags["model"],
        tags=tags | mlflow_own,
        params=dict(_flat(asdict(settings))),
        metrics=_numbers(manifest, verdict),
        folders={FOLDER: bundle.folder, "reports": project.reports},
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
        "contract": bundle.contract.fingerprint,
        **{
            f"dvc.{name}": hashes.get(path.relative_to(project.root).as_posix(), "none")
            for name, path in outputs.items()
        },
    }


def _place(project: Project, store: Store, settings: Settings, version: Version) -> None:
    """Give an accepted version its aliases."""
    first = store.aliases().get(CHAMPION) is None
    store.alias(CHALLENGER, version.number)
    if first or settings.registry.promote == "auto":
        why = "the first champion" if first else "passed every gate (registry.promote is auto)"
        _crown(project, store, version, why)
    store.tag(version.number, {"status": ACCEPTED})


def _crown(project: Project, store: Store, version: Version, why: str) -> None:
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
            if before is not None:
                store.alias(PREVIOUS, before)
            store.alias(CHAMPION, version.number)
            store.record(_event(version.number, before, git.person(project.root), why))
        if aliases.get(CHALLENGER) == version.number:
            store.drop(CHALLENGER)


def _witness(store: Store) -> Version | None:
    """The champion, noted in the log if its alias moved without a word there."""
    number = store.aliases().get(CHAMPION)
    if number is None:
        return None
    last = next((event.version for event in reversed(store.promotions())), None)
    if last != number:
        why = "the alias was moved elsewhere, or a promotion was cut short"
        store.record(_event(number, last, "unknown", why))
    return store.version(number)


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
    return Origin(str(version.number), commit, data)


def _number(name: str) -> int | None:
    digits = name.removeprefix("v")
    return int(digits) if digits.isdecimal() else None


def _event(number: int, before: int | None, by: str, why: str) -> Promotion:
    return Promotion(datetime.now(UTC).isoformat(timespec="microseconds"), number, before, by, why)


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
