"""What a release asks of projects beyond a merge: of files that moved, went or came, and choices.

Copier's merge drops what people wrote into a file that the template renames or deletes, resets a
stored answer whose choice is gone, and brings no file that is to be people's own, for it leaves
those alone. hooks/migrate.py does justice to all of it: see docs/develop.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Migration:
    """What one release asks for.

    Paths are those of a project, with `*` for the folder of its package: `src/*/ops/cli.py`.

    Attributes:
        moved: files by their old path, with the new one.
        removed: files that are no longer rendered.
        seeds: files of people's own, from now on: plain ones, which come where there is none.
        answers: by question, the choices that are gone, each with the one that replaces it.
    """

    moved: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()
    answers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


# `git diff --name-status --find-renames --diff-filter=RD v0.4.0 -- template` names what goes.
MIGRATIONS: dict[str, Migration] = {
    "0.5.0": Migration(
        moved={
            "src/*/ops/data/use.py": "src/*/ops/data/adopt.py",
            "src/*/ops/data/parts.py": "src/*/ops/data/tidying.py",
            "src/*/ops/evaluation/findings.py": "src/*/ops/evaluation/diagnostics.py",
            "src/*/ops/judging.py": "src/*/ops/registry/comparison.py",
            "src/*/ops/monitoring/log.py": "src/*/ops/prediction_log.py",
            "src/*/ops/history.py": "src/*/ops/registry/history.py",
            "src/*/ops/reproduce.py": "src/*/ops/registry/reproduction.py",
            "src/*/ops/tracking.py": "src/*/ops/registry/tracking.py",
            "src/*/ops/scoring.py": "src/*/ops/scoring/rows.py",
            "src/*/ops/serving/truth.py": "src/*/ops/serving/feedback.py",
            "src/*/ops/serving/run.py": "src/*/ops/serving/server.py",
        },
        removed=(
            "src/*/ops/bulk/__init__.py",
            "src/*/ops/bulk/parts.py",
            "src/*/ops/bulk/score.py",
            "src/*/ops/data/guessing.py",
            "src/*/ops/data/inference.py",
            "src/*/ops/data/writing.py",
            "src/*/ops/evaluation/document.py",
            "src/*/ops/evaluation/interval.py",
            "src/*/ops/hosting/rest.py",
            "src/*/ops/monitoring/exposition.py",
            "src/*/ops/monitoring/page.py",
            "src/*/ops/monitoring/pictures.py",
            "src/*/ops/monitoring/statistics.py",
            "src/*/ops/monitoring/survey.py",
            "src/*/ops/monitoring/tally.py",
            "src/*/ops/monitoring/window.py",
            "src/*/ops/registry.py",
            "src/*/ops/retraining/github.py",
            "src/*/ops/retraining/gitlab.py",
            "src/*/ops/retraining/rest.py",
            "src/*/ops/rules/__init__.py",
            "src/*/ops/rules/evaluation.py",
            "src/*/ops/rules/patterns.py",
            "src/*/ops/rules/translation.py",
            "src/*/ops/serving/examples.py",
            "src/*/ops/serving/following.py",
            "src/*/ops/serving/guard.py",
            "src/*/ops/serving/places.py",
            "src/*/ops/serving/predictions.py",
            "src/*/ops/serving/remote.py",
            "src/*/ops/serving/rows.py",
            "src/*/ops/serving/source.py",
            "src/*/ops/serving/textfile.py",
            "tests/ops/monitoring/test_monitoring.py",
            "tests/ops/serving/test_predictions.py",
            "tests/ops/serving/test_rows.py",
            "tests/ops/serving/test_source.py",
            "tests/ops/serving/test_textfile.py",
            "tests/ops/serving/test_truth.py",
            "tests/ops/test_bundle.py",
            "tests/ops/test_cli.py",
            "tests/ops/test_contract.py",
            "tests/ops/test_pipeline.py",
            "tests/ops/test_registry.py",
            "tests/ops/test_score.py",
            "tests/ops/test_settings.py",
        ),
        seeds=("docs/use-case.md", "src/*/ml/metrics.py"),
    ),
}
