"""`ops register`, `ops promote`, `ops rollback`: versions are entered, and one becomes champion."""

import hashlib
import json
from collections.abc import Mapping
from math import nan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from msgspec import to_builtins

from .. import costs, git, user_code
from ..bundle import UNKNOWN, Bundle
from ..errors import Refused, UserError
from ..evaluation import cards, diagnostics, shadow
from ..evaluation.gates import Gate, answered
from ..files import flat, read_json, replacing, write_files
from ..pipeline import labelled
from ..project import Project
from ..settings import Settings
from ..use_case.wizard import answers
from ..wording import number
from .champion import before, current, follow_challenger, in_office, kept, named, note, now
from .comparison import REGRESSION, judge
from .lineage import changes, lineage
from .tracking import (
    ACCEPTED,
    AUTOMATIC,
    CHALLENGER,
    CHAMPION,
    CHANGES,
    CODE,
    FOLDER,
    PATCH,
    PENDING,
    REFUSED,
    ROLLED_BACK,
    Promotion,
    Store,
    Version,
    connected,
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
        champion = current(store)
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
            verdict = _verdict(store, settings, bundle, champion)
            if version:
                version = store.tag(version, **verdict)
            else:
                version = _enter(store, settings, bundle, verdict)
        if version.status == REFUSED:
            raise Refused(f"{_title(version, store)} is not promoted.\n{version.tags['reasons']}")
        unknown = _unknown(store, version, champion)
        why = AUTOMATIC if settings.registry.promote == "auto" else ""
        why = why if champion else "the first champion"
        why = "" if propose or unknown else why
        shown = _shown(store, settings, version, champion) if why else None
        store.alias(CHALLENGER, version.number)
        if shown and not shown.passed:
            print(f"waits    {shown.name}: {shown.reason}")
        elif why:
            _crown(store, version, why, _evidence(version, shown))
        follow_challenger(store)
        store.tag(version, status=ACCEPTED)
        office = store.aliases().get(CHAMPION) == version.number
        by_hand = f"ops promote{' --reason TEXT' if unknown else ''}` makes it the champion"
        hint = "ops history` lists them all" if office else by_hand
        print(f"{_title(version, store)} is registered; `uv run {hint}.")


def promote(
    project: Project, name: str | None = None, reason: str = "", *, trained: bool = False
) -> None:
    """Make a version the champion: the challenger, unless another one is named.

    Args:
        project: whose registry it is.
        name: the number of the version, or an alias.
        reason: why, for the log.
        trained: take the version that holds `models/bundle`, the last training's.

    Raises:
        Refused: if a gate refused that version, or it has not shown in the shadow what is asked.
        UserError: if there is no such version, or it was not compared and no reason is given.
    """
    with connected(project) as store:
        champion = in_office(store)
        if trained:
            version = store.find(Bundle(project.bundle).digest)
            if version is None:
                raise UserError(
                    "The model in models/bundle is not registered: run `uv run ops register`."
                )
        else:
            version = named(store, name or CHALLENGER)
        if version.status == REFUSED:
            raise Refused(
                f"Version {version.number} was refused, and is never promoted.\n"
                f"{version.tags.get('reasons', '')}"
            )
        if not reason and (unknown := _unknown(store, version, champion)):
            raise UserError(
                f"Version {version.number} was not compared. {unknown} Say why it shall serve: "
                f"`uv run ops promote {version.number} --reason TEXT`."
            )
        shown = _shown(store, Settings.load(project.params), version, champion)
        if shown and not shown.passed:
            raise Refused(
                f"Version {version.number} is not promoted.\n{shown.name}: {shown.reason}"
            )
        why = reason or "promoted by hand"
        _crown(store, version, why, _evidence(version, shown))
        follow_challenger(store)
        if version.status == PENDING:
            store.tag(version, status=ACCEPTED)
        if version.rolled_back:
            store.tag(version, rolled_back=None)
        since = "was already" if champion and champion.number == version.number else "is now"
        print(f"Version {version.number} {since} the champion; its bundle is in models/champion.")


def rollback(project: Project, reason: str = "") -> None:
    """Let the champion be what it was before the last promotion; again, and it was before that.

    The version that goes is marked, and no training brings it back by itself.

    Raises:
        UserError: if there is no champion, or none before it.
    """
    with connected(project) as store:
        champion = in_office(store)
        if champion is None:
            raise UserError("There is no champion yet: run `make train`.")
        log = store.promotions()
        version = before(store, log)
        if version is None:
            raise UserError(
                f"There is no champion before version {champion.number}; "
                "`uv run ops promote VERSION` takes any other version."
            )
        promoted = (event.at for event in reversed(log) if event.version == champion.number)
        evidence = {
            **_exchanged(_evidence(champion), champion.number, version.number),
            "returns_to": version.number,
            "undoes": next(promoted, None),
        }
        why = reason or "rolled back by hand"
        _crown(store, version, why, evidence, undone=champion)
        follow_challenger(store)
        print(
            f"Version {version.number} is the champion again, and version {champion.number} is "
            "rolled back; the bundle is in models/champion."
        )
        since, until = (f"{its.created:{labelled.TAKEN_IN}}" for its in (version, champion))
        names = sorted(path.stem for path in project.labelled.glob("*.parquet.dvc"))
        if learnt := " ".join(f"--file {name}" for name in names if since < name < until):
            print(f"Version {champion.number} had learnt from more labels. If they were wrong:")
            print(f"`uv run ops labels exclude {learnt} --reason TEXT`")


def _verdict(
    store: Store, settings: Settings, bundle: Bundle, champion: Version | None
) -> dict[str, str]:
    """Ask the gates, and give the tags that say what these and evaluation's made of a bundle."""
    asked, evidence = judge(store, settings, bundle, champion)
    if settings.gates.use_case:
        asked.append(answered(answers(store.project, settings)))
    for gate in asked:
        verdict = "skipped" if gate.skipped else "passed " if gate.passed else "REFUSED"
        print(f"{verdict}  {gate.name}: {gate.reason}")
    gates = [*(Gate(**gate) for gate in bundle.manifest["gates"]), *asked]
    failed = [gate for gate in gates if not gate.passed]
    return {
        "evidence": json.dumps(evidence),
        "gates": json.dumps([gate.to_dict() for gate in gates], ensure_ascii=False),
        "reasons": "\n".join(f"{gate.name}: {gate.reason}" for gate in failed),
        "status": REFUSED if failed else PENDING,
    }


def _enter(store: Store, settings: Settings, bundle: Bundle, verdict: Mapping[str, str]) -> Version:
    """Write the run of a bundle, and its version."""
    project, manifest = store.project, bundle.manifest
    score = manifest["score"]
    tags = {
        **lineage(project, bundle),
        "model": manifest["model"]["kind"],
        "score": score,
        "value": number(manifest["metrics"].get(score, nan)),
        "baseline": number(manifest["baseline"].get(score, nan)),
    }
    mlflow_own = {"mlflow.user": git.person(project.root)}
    if tags["git.commit"] != UNKNOWN:
        mlflow_own["mlflow.source.git.commit"] = tags["git.commit"]
    measured = {f"gate.{gate['name']}": gate["value"] for gate in json.loads(verdict["gates"])}
    made: dict[str, Mapping[str, Any]] = {CODE: user_code.modules()}
    if (project.reports / "cards" / "model.md").exists():
        said = answers(project, settings)
        made["reports/cards"] = cards.told(project.name, project.reports, said)
    if patch := changes(project.root):
        made[CHANGES] = {PATCH: patch}
        tags["git.changes"] = hashlib.sha256(patch).hexdigest()
    with TemporaryDirectory() as aside:
        folders = {FOLDER: bundle.folder, "reports": project.reports}
        for name, files in made.items():
            folders[name] = Path(aside, name)
            write_files(folders[name], files)
        run = store.log(
            ("bundle", bundle.digest),
            tags["model"],
            tags=tags | mlflow_own,
            params={
                name.replace(".sections.", "."): value
                for name, value in flat({**to_builtins(settings), "model": manifest["model"]})
            },
            metrics={
                **manifest["metrics"],
                **{f"baseline.{name}": value for name, value in manifest["baseline"].items()},
                **{name: value for name, value in measured.items() if value is not None},
                **costs.spent(project),
            },
            folders=folders,
        )
    validation = project.reports / "findings" / "validation.json"
    if settings.registry.nested_runs and validation.exists():
        for model, folds in diagnostics.folds(read_json(validation)).items():
            chosen = model == tags["model"]
            own = manifest["model"]["parameters"] if chosen else settings.train.sections.get(model)
            store.nest(run, model, own or {}, score, folds, chosen=chosen)
    description = f"{tags['model']}: {score} {tags['value']} (trivial baseline {tags['baseline']})"
    return store.create(run, description, {"bundle": bundle.digest, **tags, **verdict})


def _unknown(store: Store, version: Version, champion: Version | None) -> str:
    """Why a version was not compared with its champion; empty if it was, or has been champion."""
    theirs = _evidence(version)["champion"]
    office = champion is None or champion.number == version.number
    if office or theirs is None or theirs["value"] is not None or _proven(store, version):
        return ""
    return "".join(gate["reason"] for gate in version.gates if gate["name"] == REGRESSION)


def _proven(store: Store, version: Version) -> bool:
    """Whether a version has been champion."""
    return any(event.version == version.number for event in store.promotions())


def _shown(
    store: Store, settings: Settings, version: Version, champion: Version | None
) -> Gate | None:
    """What a version has shown in the shadow; None if nobody asks, or it has been champion."""
    if champion is None or _proven(store, version) or not settings.registry.shadow_rows:
        return None
    bundle = Bundle(kept(store, version))
    return shadow.gate(store.project, settings, bundle, version.number, champion.number)


def _crown(
    store: Store,
    version: Version,
    why: str,
    evidence: Mapping[str, Any],
    undone: Version | None = None,
) -> None:
    """Move the aliases and the log to a new champion, then put its bundle in place."""
    aliases, who = store.aliases(), git.person(store.project.root)
    former = aliases.get(CHAMPION)
    kind: Literal["promotion", "rollback"] = "rollback" if undone else "promotion"
    with replacing(store.project.champion) as folder:
        store.fetch(version, folder)  # before anything is changed: its files may be gone
        event = Promotion(now(), version.number, former, who, why, kind, evidence)
        if former != version.number:
            if undone:
                store.tag(undone, **{ROLLED_BACK: now()})
            store.alias(CHAMPION, version.number)
            note(store, event)
        elif event.by_person and not store.promotions()[-1].by_person:  # it is confirmed
            note(store, event)
        if aliases.get(CHALLENGER) == version.number:
            store.alias(CHALLENGER, None)


def _evidence(version: Version, shown: Gate | None = None) -> dict[str, Any]:
    """What spoke for a version when it was judged, and in the shadow; early releases told less."""
    gates = {
        gate["name"]: "skipped" if gate.get("skipped") else "passed" if gate["passed"] else "failed"
        for gate in version.gates
    }
    told: dict[str, Any] = {"score": version.tags.get("score"), "value": None, "champion": None}
    told |= json.loads(version.tags.get("evidence", "{}"))
    told |= {"holdout": version.tags.get("dvc.holdout", UNKNOWN), "gates": gates}
    if shown:
        gates[shown.name] = "passed" if shown.passed else "failed"
        told["shadow"] = shown.reason
    return told


def _exchanged(evidence: dict[str, Any], gone: int, version: int) -> dict[str, Any]:
    """What is known of two versions when one gives way to the other that it had replaced."""
    theirs = evidence["champion"] or {}
    own, other = evidence["value"], theirs.get("value")
    if theirs.get("version") != version:
        own, other = None, None
    return {**evidence, "value": other, "champion": {"version": gone, "value": own}}


def _title(version: Version, store: Store) -> str:
    names = [alias for alias, number in store.aliases().items() if number == version.number]
    return f"Version {version.number} ({', '.join(sorted(names)) or version.status})"
