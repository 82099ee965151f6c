"""Regular expressions as polars means them, matched without polars in time linear in the text.

Python's own `re` differs in what letters, digits and line ends are, and takes exponentially long
for some patterns, which nobody may choose who sends a row. So a pattern is parsed once, where
polars is at hand to say which characters each of its parts stands for, and becomes nested tuples
of JSON values; a small automaton, built as far as texts need it, follows those.
"""

import re
from bisect import bisect_right
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

Tree = tuple[Any, ...]
"""An operation and its operands; a set of characters is text such as `30-39 5f`, in hexadecimal."""

MOST_POSITIONS = 5_000
"""A pattern with more positions, where repetitions are written out, is not taken."""

MOST_STATES = 2_000
"""As many states of an automaton are kept at most."""

LAST = 0x10FFFF
NEWLINE = "a"


class Unsupported(Exception):
    """A pattern cannot be matched as polars would; says why."""


# ------------------------------------------------------------------------------------- parsing


def parse(pattern: str) -> Tree:
    """Parse a pattern; raises `Unsupported` where its meaning cannot be kept."""
    import polars as pl

    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.PolarsError as error:
        raise Unsupported(f"{pattern} is no valid pattern") from error
    parser = _Parser(pattern)
    tree = parser.choice(frozenset())
    if parser.place < len(pattern):
        parser.fail()
    Pattern(tree)
    return tree


class _Parser:
    """Reads a pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.place = 0

    def fail(self) -> NoReturn:
        raise Unsupported(
            f"only polars knows what character {self.place + 1} of {self.pattern} means"
        )

    def _take(self, expression: str) -> re.Match[str] | None:
        found = re.compile(expression, re.DOTALL).match(self.pattern, self.place)
        if found:
            self.place = found.end()
        return found

    def choice(self, flags: frozenset[str]) -> Tree:
        """Parse alternatives up to a closing parenthesis or the end."""
        branches: list[Tree] = []
        while True:
            parts: list[Tree] = []
            while self.place < len(self.pattern) and self.pattern[self.place] not in "|)":
                if found := self._take(r"\(\?([a-zA-Z-]+)\)"):
                    flags = self._flags(flags, found[1])
                else:
                    parts.append(self._repeated(flags))
            branches.append(("sequence", *parts))
            if not self._take(r"\|"):
                return branches[0] if len(branches) == 1 else ("choice", *branches)

    def _flags(self, flags: frozenset[str], change: str) -> frozenset[str]:
        on, _, off = change.partition("-")
        if not set(on + off) <= set("imsU"):
            self.fail()
        return flags.union(on).difference(off)

    def _repeated(self, flags: frozenset[str]) -> Tree:
        part = self._atom(flags)
        while found := self._take(r"(?:([*+?])|\{([0-9]+)(,?)([0-9]*)\})\??"):
            sign, low, comma, high = found.groups()
            if sign:
                bounds = {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
            else:
                most = int(high) if high else None
                bounds = (int(low), most if comma else int(low))
            part = ("repeat", *bounds, part)
        return part

    def _atom(self, flags: frozenset[str]) -> Tree:
        if self._take(r"\((?!\?)|\(\?P?<[^>]+>"):
            return self._group(flags)
        if found := self._take(r"\(\?([a-zA-Z-]*):"):
            return self._group(self._flags(flags, found[1]))
        if self._take(r"\^"):
            return ("line_start",) if "m" in flags else ("start",)
        if self._take(r"\$"):
            return ("line_end",) if "m" in flags else ("end",)
        if found := self._take(r"\\([AzbB])(?!\{)"):
            if found[1] in "Az":
                return ("start",) if found[1] == "A" else ("end",)
            return ("border" if found[1] == "b" else "no_border", characters(r"\w", ""))
        if found := self._take(
            r"\\[pP](?:\{[^}]*\}|.)|\\[xuU]\{[0-9A-Fa-f]+\}|\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}"
            r"|\\U[0-9A-Fa-f]{8}|\\[dDwWsSnrtfva]|\\[^0-9A-Za-z<>]|[^\\\[\](){}*+?|^$]"
        ):
            return ("set", characters(found[0], _spelt(flags)))
        if self._take(r"\["):
            return ("set", characters("[" + self._class(), _spelt(flags)))
        self.fail()

    def _group(self, flags: frozenset[str]) -> Tree:
        part = self.choice(flags)
        if not self._take(r"\)"):
            self.fail()
        return part

    def _class(self) -> str:
        """Take what stands in brackets, further brackets among it, up to the closing one."""
        start, depth = self.place, 1
        self._take(r"\^?\]?")
        while depth:
            if self._take(r"\["):
                self._take(r"\^?\]?")
                depth += 1
            elif self._take(r"\]"):
                depth -= 1
            elif not self._take(r"\\.|[^\[\]\\]"):
                self.fail()
        return self.pattern[start : self.place]


def _spelt(flags: frozenset[str]) -> str:
    """The flags that change which characters a part stands for."""
    return "".join(sorted(flags & {"i", "s"}))


@lru_cache(maxsize=1_000)
def characters(part: str, flags: str) -> str:
    """Which characters a part of a pattern stands for, as polars says."""
    if not flags and re.fullmatch(r"[0-9A-Za-z_ @:/,;#%&=<>!'\"~`-]", part):
        return f"{ord(part):x}"
    if not flags and re.fullmatch(r"\[(?:[0-9A-Za-z_](?:-[0-9A-Za-z])?)+\]", part):
        spans = re.findall(r"(.)(?:-(.))?", part[1:-1])
        held = np.zeros(LAST + 1, bool)
        for low, high in spans:
            held[ord(low) : ord(high or low) + 1] = True
        return _written(np.flatnonzero(held))
    codes, letters = _everything()
    found = letters.str.contains(f"^(?{flags}:{part})$" if flags else f"^(?:{part})$")
    return _written(codes[found.to_numpy()])


@lru_cache(maxsize=1)
def _everything() -> tuple[NDArray[np.uint32], "pl.Series"]:
    """All code points that stand for a character, and the characters."""
    import polars as pl

    codes = np.delete(np.arange(LAST + 1, dtype="<u4"), np.s_[0xD800:0xE000])
    return codes, pl.Series(list(codes.tobytes().decode("utf-32-le")))


def _written(codes: NDArray[Any]) -> str:
    """Ascending code points as ranges in hexadecimal."""
    ranges = np.split(codes, np.flatnonzero(np.diff(codes) > 1) + 1) if len(codes) else []
    return " ".join(
        f"{span[0]:x}" if len(span) == 1 else f"{span[0]:x}-{span[-1]:x}" for span in ranges
    )


# ------------------------------------------------------------------------------------ matching


class _State:
    """Where in a pattern one can be, and what came before."""

    __slots__ = ("before", "ends", "moves", "positions")

    def __init__(self, positions: frozenset[int], before: int) -> None:
        self.positions = positions
        self.before = before
        self.moves: dict[int, _State | None] = {}
        self.ends: bool | None = None


EDGE, NEW_LINE, WORD, OTHER = range(4)
"""What stands before or after a place in a text."""

BEGIN, FOUND = 0, 1


class Pattern:
    """An automaton that finds a pattern in texts."""

    def __init__(self, tree: Tree) -> None:
        """Write a tree's positions out; raises `Unsupported` if there are too many."""
        self._sets: list[list[tuple[int, int]]] = []
        self._edges: list[list[tuple[str | int | None, int]]] = [[], []]
        self._words: list[tuple[int, int]] = []
        self._connect(tree, BEGIN, FOUND)
        every = [*self._sets, self._words, _spans(NEWLINE)]
        self._cuts = sorted(
            {cut for spans in every for low, high in spans for cut in (low, high + 1)}
        )
        self._classes: dict[str, int] = {}
        self._members: dict[int, frozenset[int]] = {}
        self._states: dict[tuple[frozenset[int], int], _State] = {}
        self._first = self._state(frozenset({BEGIN}), EDGE)

    def found_in(self, text: str) -> bool:
        """Whether some part of a text matches."""
        state, classes = self._first, self._classes
        for character in text:
            kind = classes.get(character)
            if kind is None:
                kind = self._class(character)
            try:
                following = state.moves[kind]
            except KeyError:
                following = self._move(state, kind)
            if following is None:
                return True
            state = following
        if state.ends is None:
            state.ends = FOUND in self._reached(state, EDGE)
        return state.ends

    def shortest(self) -> str | None:
        """A shortest text that is found; None if there is none that is not long."""
        waiting, seen = deque([(self._first, "")]), {self._first.positions}
        while waiting and len(seen) < MOST_STATES:
            state, text = waiting.popleft()
            if self.found_in(text):
                return text
            for kind, cut in enumerate(self._cuts[:-1], 1):
                following = self._move(state, kind)
                if following is None or following.positions in seen or 0xD800 <= cut < 0xE000:
                    continue
                seen.add(following.positions)
                waiting.append((following, text + chr(cut)))
        return None

    def _class(self, character: str) -> int:
        """Which of the classes that the pattern tells apart a character belongs to."""
        kind = bisect_right(self._cuts, ord(character))
        if len(self._classes) < MOST_STATES:
            self._classes[character] = kind
        return kind

    def _contains(self, spans: list[tuple[int, int]], kind: int) -> bool:
        if not kind or kind == len(self._cuts):
            return False
        return any(low <= self._cuts[kind - 1] <= high for low, high in spans)

    def _taken(self, kind: int) -> frozenset[int]:
        """The sets that characters of a class are in."""
        if kind not in self._members:
            sets = enumerate(self._sets)
            self._members[kind] = frozenset(n for n, spans in sets if self._contains(spans, kind))
        return self._members[kind]

    def _side(self, kind: int) -> int:
        if self._contains(_spans(NEWLINE), kind):
            return NEW_LINE
        return WORD if self._contains(self._words, kind) else OTHER

    def _state(self, positions: frozenset[int], before: int) -> _State:
        if len(self._states) >= MOST_STATES:
            self._states.clear()
            self._first.moves.clear()
        return self._states.setdefault((positions, before), _State(positions, before))

    def _move(self, state: _State, kind: int) -> _State | None:
        """The state after one more character; None where a match ends before it."""
        side = self._side(kind)
        reached = self._reached(state, side)
        following: _State | None = None
        if FOUND not in reached:
            taken = self._taken(kind)
            targets = {
                target
                for position in reached
                for label, target in self._edges[position]
                if label in taken
            }
            following = self._state(frozenset(targets | {BEGIN}), side)
        state.moves[kind] = following
        return following

    def _reached(self, state: _State, after: int) -> set[int]:
        """Where one can be without taking a character, given what comes next."""
        before = state.before
        border = (before == WORD) != (after == WORD)
        holds = {
            None: True,
            "start": before == EDGE,
            "end": after == EDGE,
            "line_start": before in (EDGE, NEW_LINE),
            "line_end": after in (EDGE, NEW_LINE),
            "border": border,
            "no_border": not border,
        }
        reached, waiting = set(state.positions), list(state.positions)
        while waiting:
            for label, target in self._edges[waiting.pop()]:
                if not isinstance(label, int) and holds[label] and target not in reached:
                    reached.add(target)
                    waiting.append(target)
        return reached

    def _connect(self, tree: Tree, start: int, end: int) -> None:
        """Write out what leads from one position to another."""
        name, *parts = tree
        if name == "sequence":
            for part in parts[:-1]:
                middle = self._position()
                self._connect(part, start, middle)
                start = middle
            if parts:
                self._connect(parts[-1], start, end)
            else:
                self._edges[start].append((None, end))
        elif name == "choice":
            for part in parts:
                self._connect(part, start, end)
        elif name == "repeat":
            low, high, part = parts
            self._repeat(low, high, part, start, end)
        elif name == "set":
            self._edges[start].append((len(self._sets), end))
            self._sets.append(_spans(*parts))
        else:
            self._edges[start].append((name, end))
            if parts:
                self._words = _spans(*parts)

    def _repeat(self, low: int, high: int | None, part: Tree, start: int, end: int) -> None:
        for _ in range(low):
            middle = self._position()
            self._connect(part, start, middle)
            start = middle
        if high is None:
            loop = self._position()
            self._edges[start].append((None, loop))
            self._connect(part, loop, loop)
            start = loop
        for _ in range(low, high or low):
            self._edges[start].append((None, end))
            middle = self._position()
            self._connect(part, start, middle)
            start = middle
        self._edges[start].append((None, end))

    def _position(self) -> int:
        if len(self._edges) >= MOST_POSITIONS:
            raise Unsupported(f"its pattern has more than {MOST_POSITIONS} places")
        self._edges.append([])
        return len(self._edges) - 1


def _spans(written: str) -> list[tuple[int, int]]:
    """The ranges that `_written` wrote."""
    pairs = (span.partition("-") for span in written.split())
    return [(int(low, 16), int(high or low, 16)) for low, _, high in pairs]
