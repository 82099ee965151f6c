"""How numbers and names read."""

from __future__ import annotations

import math
import subprocess

import pytest
from my_model.ops import wording


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (0, "0.000"),
        (-0.25, "-0.250"),
        (0.0004, "4.0e-04"),
        (999.9996, "1000.000"),
        (1234567.8, "1,234,568"),
        (2e15, "2e+15"),
        (math.nan, "undefined"),
        (math.inf, "undefined"),
    ],
)
def test_a_number_reads_well(value: float, read: str) -> None:
    assert wording.number(value) == read


@pytest.mark.parametrize(
    ("names", "read"),
    [
        (["a"], "a"),
        (["a", "b", "c"], "a, b and c"),
        ([*"abcdefghijkl"], "a, b, c, d, e, f, g, h, i, j, k and l"),
        ([*"abcdefghijklmn"], "a, b, c, d, e, f, g, h, i, j, k, l and 2 more"),
    ],
)
def test_names_are_listed_in_a_sentence(names: list[str], read: str) -> None:
    assert wording.listed(names) == read


def test_what_is_undefined_is_not_rounded() -> None:
    assert wording.rounded(1 / 3) == 0.333333
    assert wording.rounded(math.nan) is None
    assert wording.rounded(None) is None
    assert wording.share(math.nan) == "an undefined share"


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "",
        "two words",
        "it's",
        'say "yes"',
        "$HOME `pwd` !!",
        "a\nb",
        "é\x1b[31m's\t\\",
        "-x",
    ],
)
def test_what_is_typed_is_read_back_by_a_shell(text: str) -> None:
    command = f"printf %s {wording.typed(text)}"
    assert command.isprintable()
    done = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True)
    assert done.stdout == text


def test_a_long_name_keeps_both_ends_on_one_line() -> None:
    assert wording.shortened("first\tand\nlast", 20) == "first and last"
    assert wording.shortened("country = Germany, but not Berlin", 13) == "countr…Berlin"
