"""`ops history`: every version with what was measured of it, and every change of the champion."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..project import Project
from ..wording import number, shortened, table
from .tracking import Promotion, Store, Version, connected

VERSIONS = (
    "version", "created (UTC)", "status", "model", "score", "baseline", "commit", "train",
    "holdout", "gates",
)  # fmt: skip
PROMOTIONS = ("when (UTC)", "kind", "version", "from", "by", "evidence", "why")


def run(project: Project, *, as_json: bool = False) -> None:
    """Print every version and every change of the champion, as tables or as JSON."""
    with connected(project) as store:
        versions, aliases, log = store.versions(), store.aliases(), store.promotions()
        if as_json:
            told = {
                "versions": [described(store, version, aliases) for version in versions],
                "promotions": [asdict(event) for event in log],
            }
            print(json.dumps(told, indent=2, ensure_ascii=False))
        elif not versions:
            print("Nothing is registered yet: run `make train`.")
        else:
            print(table(VERSIONS, [_row(version, aliases) for version in versions]))
            if log:
                print(f"\n{table(PROMOTIONS, [_event(event) for event in log])}")


def _row(version: Version, aliases: Mapping[str, int]) -> tuple[str, ...]:
    tags = version.tags
    asked = [gate for gate in version.gates if not gate.get("skipped")]
    failed = [gate["name"] for gate in asked if not gate["passed"]]
    passed = f"{len(asked) - len(failed)}/{len(asked)}" if asked else "-"
    status = "rolled back" if version.rolled_back else version.status or "-"
    return (
        str(version.number),
        f"{version.created:%Y-%m-%d %H:%M}",
        ", ".join(_names(version, aliases)) or status,
        tags.get("model", "-"),
        f"{tags.get('score', '')} {tags.get('value', '')}".strip() or "-",
        tags.get("baseline", "-"),
        tags.get("git.commit", "-")[:7] + ("+" if tags.get("git.dirty") == "true" else ""),
        tags.get("dvc.train", "-")[:7],
        tags.get("dvc.holdout", "-")[:7],
        f"{passed}, not {', '.join(failed)}" if failed else passed,
    )


def _event(event: Promotion) -> tuple[str, ...]:
    return (
        event.at[:16].replace("T", " "),
        event.kind,
        str(event.version),
        str(event.before or "-"),
        shortened(event.by, 16),
        _scores(event.evidence),
        event.why,
    )


def _scores(evidence: Mapping[str, Any]) -> str:
    """The scores that spoke for a promotion, in a few words."""
    if not evidence:
        return "-"
    value, theirs = evidence.get("value"), (evidence.get("champion") or {}).get("value")
    said = f"{evidence.get('score', '')} {'-' if value is None else number(value)}"
    return said if theirs is None else f"{said} against {number(theirs)}"


def described(store: Store, version: Version, aliases: Mapping[str, int]) -> dict[str, Any]:
    """All that is known of a version, as JSON-able data."""
    tags = version.tags
    return {
        "version": version.number,
        "created": version.created.isoformat(),
        "aliases": _names(version, aliases),
        "status": version.status or None,
        "rolled_back": tags.get("rolled_back"),
        "model": tags.get("model"),
        "score": tags.get("score"),
        "metrics": store.known(version).metrics,
        "gates": version.gates,
        "reasons": tags.get("reasons") or None,
        "commit": tags.get("git.commit"),
        "dirty": tags.get("git.dirty"),
        "contract": tags.get("contract"),
        "data": {name: tags.get(f"dvc.{name}") for name in ("train", "holdout", "bundle")},
        "bundle": version.digest or None,
    }


def _names(version: Version, aliases: Mapping[str, int]) -> list[str]:
    return sorted(alias for alias, number in aliases.items() if number == version.number)
