"""What a look at the log found, as Prometheus reads it. The rules in monitoring/ use these names.

What is not known is left out: a share of nothing is no number.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Gauge

from .decision import DECISIONS
from .report import Report

Sample = tuple[str, dict[str, str], float | None]
"""A name, its labels and its value; None if that is not known."""

GAUGES = {
    "run_timestamp_seconds": "When `ops monitor` last ended well.",
    "model_info": "The version that windows are compared with.",
    "decision": "What to do: 1 for the decision, 0 for the others.",
    "windows": "Whole windows that were judged.",
    "windows_violated": "How many of the newest windows that decide are violated.",
    "window_violated": "Whether the newest window is violated.",
    "window_rows": "Rows in the newest window.",
    "window_end_timestamp_seconds": "When the newest window ended.",
    "unreadable_lines": "Lines of the log that were not what they should be.",
    "refused_share": "The share of rows that were refused, newest window.",
    "drift_psi": "How far a column moved, newest window.",
    "missing_share": "The share of a column that is missing, newest window.",
    "out_of_range_share": "The share of a column beyond all that was seen, newest window.",
    "unknown_share": "The share of a column never seen before, newest window.",
    "prediction_psi": "How far the predictions moved, newest window.",
    "unknown_labels": "Truths with a label that the contract does not know, all windows shown.",
    "score": "The true score, newest window whose truth is known.",
    "score_low": "The lower end of its 95% interval.",
    "score_high": "The upper end of its 95% interval.",
    "score_expected": "The score on the holdout.",
    "labelled_share": "The share of rows whose truth has come, all windows shown.",
    "feedback_delay_seconds": "The median time from an answer to its truth.",
    "newest_prediction_timestamp_seconds": "When the newest row was answered.",
    "newest_feedback_timestamp_seconds": "When the newest truth came.",
}
"""Every metric, without its `monitor_`, and what it says."""

COLUMNS = {
    "psi": "drift_psi",
    "missing": "missing_share",
    "out_of_range": "out_of_range_share",
    "unknown": "unknown_share",
}


def registry(report: Report) -> CollectorRegistry:
    """All metrics, for one of `prometheus_client`'s writers."""
    registry, gauges = CollectorRegistry(), dict[str, Gauge]()
    for name, labels, value in samples(report):
        if value is None:
            continue
        if name not in gauges:
            gauges[name] = Gauge(f"monitor_{name}", GAUGES[name], list(labels), registry=registry)
        (gauges[name].labels(**labels) if labels else gauges[name]).set(value)
    return registry


def samples(report: Report) -> Iterator[Sample]:
    """Every value with its name and labels."""
    outcome, log = report.outcome, report.log
    yield "run_timestamp_seconds", {}, report.at.timestamp()
    yield "model_info", {"version": report.reference.version}, 1
    for decision in DECISIONS:
        yield "decision", {"decision": decision}, decision == outcome.decision
    yield "windows", {}, len(report.judged)
    yield "windows_violated", {}, outcome.violated
    yield "window_violated", {}, outcome.newest
    yield "unreadable_lines", {}, log.unreadable
    yield "unknown_labels", {}, report.unknown_labels.total()
    yield "labelled_share", {}, report.labelled
    yield "feedback_delay_seconds", {}, report.delay
    yield "newest_prediction_timestamp_seconds", {}, _seconds(log.newest_prediction)
    yield "newest_feedback_timestamp_seconds", {}, _seconds(log.newest_feedback)
    if report.judged:
        newest = report.judged[-1]
        window = newest.window
        yield "window_rows", {}, window.rows
        yield "window_end_timestamp_seconds", {}, _seconds(window.end)
        yield "refused_share", {}, window.refused / (window.rows + window.refused)
        yield "prediction_psi", {}, newest.predictions
        for column, measured in newest.columns.items():
            for kind, value in measured.items():
                yield COLUMNS[kind], {"column": column}, value
    for scored in next((v.scores for v in reversed(report.judged) if v.scores), ()):
        labels = {"score": scored.score.name}
        yield "score", labels, scored.value
        yield "score_low", labels, scored.low
        yield "score_high", labels, scored.high
        yield "score_expected", labels, scored.expected.value if scored.expected else None


def _seconds(micros: int | None) -> float | None:
    return None if micros is None else micros / 1_000_000
