"""How numbers and names read in sentences, reports and pictures."""

import math
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from unicodedata import normalize

WIDTH, NARROW = 120, 20  # columns of a terminal, and what the last cell of a line has at least
MOST_LISTED = 12  # names in one sentence


def number(value: float) -> str:
    """A number as a reader wants it: three decimals, or fewer digits if it is large or tiny."""
    if not math.isfinite(value):
        return "undefined"
    if 0 < abs(value) < 0.001:
        return f"{value:.1e}"
    if abs(value) < 1000:
        return f"{value:.3f}"
    return f"{value:,.0f}" if abs(value) < 1e12 else f"{value:.4g}"


def share(value: float) -> str:
    """A share as a percentage."""
    return f"{value:.1%}" if math.isfinite(value) else "an undefined share"


def rounded(value: float | None) -> float | None:
    """Six significant digits, or None for what is not a finite number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def one_line(text: str) -> str:
    """Text without line breaks and control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def typed(text: str) -> str:
    """Text as one word of a command, on one line: a shell reads it back as it is."""
    if text.isprintable():
        return shlex.quote(text)
    letters = (it if it.isalnum() else f"\\U{ord(it):08x}" for it in text)
    return f"$'{''.join(letters)}'"


def shortened(text: str, longest: int) -> str:
    """Text on one line, cut in its middle: names often differ at their ends."""
    line = one_line(text)
    if len(line) <= longest:
        return line
    head, tail = longest // 2, longest - longest // 2 - 1
    return f"{line[:head].rstrip()}…{line[-tail:].lstrip()}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: "a, b and c", or the first ones and how many more."""
    *shown, last = names[:MOST_LISTED]
    if len(names) > MOST_LISTED:
        return f"{', '.join((*shown, last))} and {len(names) - MOST_LISTED} more"
    return f"{', '.join(shown)} and {last}" if shown else last


def closest(name: str, names: Iterable[str], most: int = 1, cutoff: float = 0.7) -> list[str]:
    """Those of some names that another may stand for, however written, the closest first."""
    folded = {normalize("NFKC", its).casefold(): its for its in names}
    close = get_close_matches(normalize("NFKC", name.strip()).casefold(), folded, most, cutoff)
    return [folded[its] for its in close]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align text in columns under their heads; the last one is wrapped to end at `WIDTH`."""
    *widths, last = (max(map(len, column)) for column in zip(heads, *rows, strict=True))
    before = sum(widths) + 2 * len(widths)
    room = max(NARROW, min(last, WIDTH - before))
    lines = []
    for *cells, text in (heads, *rows):
        start = "".join(f"{cell:<{width}}  " for cell, width in zip(cells, widths, strict=True))
        rest = f"\n{' ' * before}".join(textwrap.wrap(one_line(text), room))
        lines.append(f"{start}{rest}".rstrip())
    return "\n".join(lines)
