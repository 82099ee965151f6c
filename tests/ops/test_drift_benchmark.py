"""What `make bench ARGS=drift` puts on the page; the others need environments of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.detectors.by_ops import alarms
from benchmarks.detectors.trial import KINDS, trial
from benchmarks.drift import Comparison, Trial, found
from my_model.ops.monitoring import multivariate
from streams import CHANGES

if TYPE_CHECKING:
    import pytest

SIZES = {"rows": 200, "history": 10, "windows": 1, "since": 0}


def test_monitoring_is_put_through_a_stream_until_it_finds_the_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(multivariate, "compare", lambda *_: "")  # it has tests, and takes seconds
    rules = ("`ops monitor`", "`ops monitor`, `cycle: year`")
    for change in (None, "unit changed"):
        told = trial(alarms, "seasonal", change, 1, **SIZES)
        assert told.alarms == {rule: [change is not None] for rule in rules}


def test_the_table_tells_what_was_found_and_when() -> None:
    told = [[False, True], [False] * 8]
    assert found(told) == "50%, 2.0"
    assert found(told[1:]) == "0%"
    trials = [
        Trial(kind, change, seed, {"this": told[seed], "other": told[1]})
        for kind in KINDS
        for change in (None, *CHANGES)
        for seed in (0, 1)
    ]
    page = Comparison("Drift", 2, trials).markdown()
    assert page.count("| calm windows that alarm | 25.0% | 0.0% |") == len(KINDS)
    assert page.count("| column permuted | 50%, 2.0 | 0% |") == len(KINDS)
