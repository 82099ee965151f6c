"""The faults of `make mutants` can still be put in."""

from __future__ import annotations

import pytest
from mutants import MUTANTS, Mutant
from render import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_what_a_fault_changes_stands_once(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.old) == 1
